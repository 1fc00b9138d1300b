"""Intervals and contrasts over metrics of sets of labels, numbers and answers."""

from typing import Any

import numpy as np
import pytest

from distill.evaluation import Compared, contrast, gap_recovered, paired_difference, score_over_seeds
from distill.evaluation.components import components, text_values
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
    estimate = score_over_seeds(metric, good)
    assert estimate.low <= estimate.value <= estimate.high
    assert estimate.value == pytest.approx(np.mean([metric.score(*make(0.05, seed)) for seed in range(3)]))
    soft, hard = Compared("soft", good), Compared("hard", bad)
    result = contrast(metric, soft, hard, primary=True)
    assert result.verdict == "soft is better than hard"
    against_one = contrast(metric, hard, Compared("teacher", teacher), primary=True)
    assert against_one.verdict == "hard is worse than teacher"
    same = contrast(metric, soft, soft, primary=False)
    assert same.difference.low < same.difference.value == 0 < same.difference.high
    assert same.p_value == 1
    gap = gap_recovered(metric, good, linear[0], teacher[0])
    assert gap is not None
    assert 0.5 < gap.value < 1.1


@pytest.mark.parametrize(("metric", "make"), KINDS, ids=[metric.name for metric, _ in KINDS])
def test_leaving_out_of_sums_is_leaving_out_of_rows(metric: Metric, make: Any) -> None:
    by_rows = Metric(metric.name, metric.title, metric.statistics, metric.reduce, additive=False)
    rows = statistics(metric, make, 0.3)
    assert text_values(metric, rows) == pytest.approx(text_values(by_rows, rows), abs=1e-9)


@pytest.mark.parametrize(("metric", "make"), KINDS, ids=[metric.name for metric, _ in KINDS])
def test_the_error_over_texts_is_that_of_texts_drawn_again(metric: Metric, make: Any) -> None:
    rows = statistics(metric, make, 0.3, seeds=1)
    error = components(0.0, [text_values(metric, rows)], 0.0, 1.0, rows.shape[1]).texts ** 0.5
    rng = np.random.default_rng(0)
    drawn = [float(metric.reduce(rows[0][rng.integers(0, TEXTS, TEXTS)])) for _ in range(1_000)]
    assert error == pytest.approx(np.std(drawn), rel=0.15)


@pytest.mark.parametrize("metric", CORRELATIONS, ids=lambda m: m.name)
def test_a_model_that_answers_all_the_same_has_a_correlation_of_zero_without_any_text(metric: Metric) -> None:
    gold = numbers(0, 0)[1]
    constant = metric.statistics([2.4637] * TEXTS, gold)[None]
    estimate = score_over_seeds(metric, constant)
    assert estimate.low < estimate.value == 0 < estimate.high
    difference = paired_difference(metric, statistics(metric, numbers, 0.1), constant)
    assert difference.low > 0.5
    few = metric.statistics([1.0, 2.0], [2.0, 5.0])[None]  # without one of them there is no correlation
    assert score_over_seeds(metric, few).value == 1.0
