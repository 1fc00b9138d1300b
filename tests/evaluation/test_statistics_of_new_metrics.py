"""Bootstrap and randomisation over metrics of sets of labels, numbers and answers."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr, permutation_test, spearmanr

from distill.evaluation import bootstrap_seeds, contrast, gap_recovered, paired_difference, randomisation_test
from distill.metrics import (
    Metric,
    Statistics,
    micro_f1,
    multilabel_macro_f1,
    pearson,
    span_exact_match,
    span_f1,
    spearman,
    subset_accuracy,
)

TEXTS = 80
CORRELATIONS = [pearson, spearman]


def sets_of_labels(error: float, seed: int) -> tuple[Any, Any]:
    gold = np.random.default_rng(99).random((TEXTS, 4)) < 0.3
    return gold ^ (np.random.default_rng(seed).random(gold.shape) < error), gold


def numbers(error: float, seed: int) -> tuple[Any, Any]:
    gold = np.random.default_rng(99).normal(2.5, 1, TEXTS).round(1)
    return gold + 3 * error * np.random.default_rng(seed).normal(size=TEXTS), gold


def answers(error: float, seed: int) -> tuple[Any, Any]:
    wrong = np.random.default_rng(seed).random(TEXTS) < error
    return ["the cat" if w else f"answer {i}" for i, w in enumerate(wrong)], [[f"answer {i}"] for i in range(TEXTS)]


KINDS = [
    *((metric, sets_of_labels) for metric in (micro_f1(4), multilabel_macro_f1(4), subset_accuracy)),
    *((metric, numbers) for metric in CORRELATIONS),
    *((metric, answers) for metric in (span_exact_match, span_f1)),
]


def statistics(metric: Metric, make: Any, error: float, seeds: int = 3) -> Statistics:
    """[S, n, K]"""
    return np.stack([metric.statistics(*make(error, seed)) for seed in range(seeds)])


@pytest.mark.parametrize(("metric", "make"), KINDS, ids=[metric.name for metric, _ in KINDS])
def test_every_metric_goes_through_intervals_and_contrasts(metric: Metric, make: Any) -> None:
    good, bad = statistics(metric, make, 0.05), statistics(metric, make, 0.6)
    teacher, linear = statistics(metric, make, 0.02, seeds=1), statistics(metric, make, 0.7, seeds=1)
    estimate = bootstrap_seeds(metric, good, resamples=200)
    assert estimate.low <= estimate.value <= estimate.high
    assert estimate.value == pytest.approx(np.mean([metric.score(*make(0.05, seed)) for seed in range(3)]))
    result = contrast(metric, "soft", good, "hard", bad, primary=True, resamples=200, permutations=200)
    assert result.verdict == "soft is better than hard"
    against_one = contrast(metric, "hard", bad, "teacher", teacher, primary=True, resamples=200, permutations=200)
    assert against_one.verdict == "hard is worse than teacher"
    same = contrast(metric, "soft", good, "soft", good, primary=False, resamples=200, permutations=200)
    assert (same.difference.low, same.difference.high, same.p_value) == (0, 0, 1)
    gap = gap_recovered(metric, good, linear[0], teacher[0], resamples=200)
    assert gap is not None
    assert 0.5 < gap.value < 1.1


@pytest.mark.parametrize(("metric", "make"), KINDS, ids=[metric.name for metric, _ in KINDS])
def test_weighted_sums_give_the_interval_of_rows_drawn_again(metric: Metric, make: Any) -> None:
    by_rows = Metric(metric.name, metric.title, metric.statistics, metric.reduce, additive=False)
    rows = statistics(metric, make, 0.3)
    one, other = (bootstrap_seeds(m, rows, resamples=100) for m in (metric, by_rows))
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-9)
    worse = statistics(metric, make, 0.4)
    p = [randomisation_test(m, rows, worse, permutations=100) for m in (metric, by_rows)]
    assert p[0] == p[1]


@pytest.mark.parametrize("metric", CORRELATIONS, ids=lambda m: m.name)
def test_a_model_that_answers_all_the_same_has_a_correlation_of_zero_in_every_resample(metric: Metric) -> None:
    gold = numbers(0, 0)[1]
    constant = metric.statistics([2.4637] * TEXTS, gold)[None]
    estimate = bootstrap_seeds(metric, constant, resamples=200)
    assert (estimate.value, estimate.low, estimate.high) == (0, 0, 0)
    difference = paired_difference(metric, statistics(metric, numbers, 0.1), constant, resamples=200)
    assert difference.low > 0.5
    few = metric.statistics([1.0, 2.0], [2.0, 5.0])[None]  # half of all resamples hold one text twice
    assert bootstrap_seeds(metric, few, resamples=50).low == 0.0


@pytest.mark.parametrize(
    ("metric", "reference"), [(pearson, pearsonr), (spearman, spearmanr)], ids=["pearson", "spearman"]
)
def test_the_randomisation_test_of_a_correlation_is_that_of_scipy(metric: Metric, reference: Any) -> None:
    (one, gold), (other, _) = numbers(0.30, 0), numbers(0.42, 1)

    def difference(x: Any, y: Any) -> float:
        return float(reference(x, gold)[0] - reference(y, gold)[0])

    expected = permutation_test(
        (one, other), difference, permutation_type="samples", n_resamples=1_000, vectorized=False, rng=0
    ).pvalue
    p = randomisation_test(
        metric, metric.statistics(one, gold)[None], metric.statistics(other, gold)[None], permutations=2_000
    )
    assert 0.01 < expected < 0.99
    assert p == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 1_000))
