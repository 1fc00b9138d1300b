"""Intervals against closed forms, normal theory and simulated coverage."""

import math
import time

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from distill.evaluation import bootstrap_seeds, gap_recovered, wilson
from distill.evaluation import intervals as module
from distill.metrics import Metric, accuracy, macro_f1


def right_answers(right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[..., n] right or wrong to accuracy's [..., n, 2]."""
    return np.stack([right, np.ones_like(right)], axis=-1).astype(np.float64)


def mean_of(column: int) -> Metric:
    return Metric("mean", "mean", accuracy.statistics, lambda rows: float(rows[:, column].mean()), additive=False)


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        (15, 148, 0.0624, 0.1605),  # Newcombe 1998, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_bounds(correct: int, total: int, low: float, high: float) -> None:
    interval = wilson(correct, total)
    assert (interval.value, interval.low, interval.high) == pytest.approx((correct / total, low, high), abs=6e-5)
    peer = binomtest(correct, total).proportion_ci(method="wilson")
    assert (interval.low, interval.high) == pytest.approx((peer.low, peer.high), abs=1e-12)


def test_wilson_bounds_solve_the_score_equation() -> None:
    z = 2.5758293035489004
    interval = wilson(90, 100, confidence=0.99)
    for bound in (interval.low, interval.high):
        assert abs(0.9 - bound) == pytest.approx(z * math.sqrt(bound * (1 - bound) / 100))
    assert "99 % Wilson" in interval.method


def test_wilson_at_the_ends_stays_within_zero_and_one() -> None:
    for n in (1, 3, 7, 1_902):
        assert wilson(0, n).low == 0.0
        assert wilson(n, n).high == 1.0
        assert wilson(n, n).low == pytest.approx(n / (n + 1.959963984540054**2))


@pytest.mark.parametrize(("correct", "total", "confidence"), [(1, 0, 0.95), (3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)])
def test_wilson_refuses_impossible_counts(correct: int, total: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        wilson(correct, total, confidence)


def test_one_seed_interval_has_the_width_of_normal_theory() -> None:
    right = np.random.default_rng(0).random((1, 1_500)) < 0.8
    interval = bootstrap_seeds(accuracy, right_answers(right))
    share = right.mean()
    standard_error = math.sqrt(share * (1 - share) / 1_500)
    assert interval.value == pytest.approx(share)
    assert interval.low == pytest.approx(share - 1.96 * standard_error, abs=0.15 * standard_error)
    assert interval.high == pytest.approx(share + 1.96 * standard_error, abs=0.15 * standard_error)
    assert interval.method == "percentile bootstrap over 1,500 texts, 2,000 resamples"


def test_interval_spans_variance_of_texts_and_of_seeds() -> None:
    # seeds that differ a lot over many equal texts: the bootstrap variance of their mean is population variance / S
    seeds = 40
    scores = np.random.default_rng(0).normal(0.7, 0.05, seeds)
    statistics = np.stack([np.broadcast_to(scores[:, None], (seeds, 50)), np.ones((seeds, 50))], axis=-1)
    interval = bootstrap_seeds(accuracy, statistics)
    assert interval.value == pytest.approx(scores.mean())
    assert (interval.high - interval.low) / 3.92 == pytest.approx(scores.std() / math.sqrt(seeds), rel=0.1)
    assert interval.method == "percentile bootstrap over 40 seeds x 50 texts, 2,000 resamples"


def test_identical_seeds_share_their_texts_and_narrow_nothing() -> None:
    right = np.random.default_rng(0).random((1, 800)) < 0.8
    one = bootstrap_seeds(accuracy, right_answers(right))
    five = bootstrap_seeds(accuracy, right_answers(np.repeat(right, 5, axis=0)))
    assert (five.low, five.high) == pytest.approx((one.low, one.high), abs=1e-12)


def test_additive_metrics_get_the_interval_of_resampling_rows() -> None:
    statistics = right_answers(np.random.default_rng(0).random((3, 200)) < [[0.7], [0.8], [0.75]])
    by_weights = bootstrap_seeds(accuracy, statistics, resamples=300)
    by_rows = bootstrap_seeds(mean_of(0), statistics, resamples=300)
    assert (by_weights.value, by_weights.low, by_weights.high) == pytest.approx(
        (by_rows.value, by_rows.low, by_rows.high)
    )


def test_resamples_in_several_parts_are_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = right_answers(np.random.default_rng(0).random((2, 100)) < 0.7)
    whole = bootstrap_seeds(accuracy, statistics)
    monkeypatch.setattr(module, "CHUNK", 700)
    parts = bootstrap_seeds(accuracy, statistics)
    assert (parts.value, parts.low, parts.high) == (whole.value, whole.low, whole.high)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    trials = 300
    covered = 0
    for trial in range(trials):
        shift = rng.normal(0, 0.01, (3, 1))
        difficulty = rng.random(400)
        right = (difficulty < 0.75 + shift) ^ (rng.random((3, 400)) < 0.04)
        truth = 0.75 * 0.96 + 0.25 * 0.04
        interval = bootstrap_seeds(accuracy, right_answers(right), resamples=400, seed=trial)
        covered += interval.low <= truth <= interval.high
    assert 0.90 <= covered / trials <= 0.99


def test_same_seed_same_interval() -> None:
    statistics = right_answers(np.random.default_rng(0).random((2, 300)) < 0.7)
    assert bootstrap_seeds(accuracy, statistics) == bootstrap_seeds(accuracy, statistics)
    assert bootstrap_seeds(accuracy, statistics) != bootstrap_seeds(accuracy, statistics, seed=1)


@pytest.mark.parametrize("right", [True, False])
def test_all_equal_or_a_single_text_gives_an_interval_without_width(right: bool) -> None:
    for shape in [(3, 20), (1, 1)]:
        interval = bootstrap_seeds(accuracy, right_answers(np.full(shape, right)))
        assert (interval.value, interval.low, interval.high) == (right, right, right)


def test_nan_and_wrong_shapes_are_refused() -> None:
    statistics = right_answers(np.ones((2, 5), dtype=bool))
    with pytest.raises(ValueError, match=r"\[seeds, texts, K\]"):
        bootstrap_seeds(accuracy, statistics[0])
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_seeds(accuracy, statistics[:, :0])
    with pytest.raises(ValueError, match="broken is NaN"):
        bootstrap_seeds(Metric("broken", "broken", accuracy.statistics, lambda rows: math.nan), statistics)
    statistics[1, 2, 0] = np.nan
    with pytest.raises(ValueError, match="statistics hold NaN"):
        bootstrap_seeds(accuracy, statistics)
    with pytest.raises(ValueError, match="statistics hold NaN"):
        gap_recovered(accuracy, statistics, np.zeros((5, 2)), np.ones((5, 2)))


def test_gap_recovered_is_the_share_and_its_interval_that_of_the_delta_method() -> None:
    rng = np.random.default_rng(0)
    n = 4_000
    difficulty = rng.random(n)
    linear, arm, teacher = (difficulty < share for share in (0.70, 0.82, 0.90))
    gap = gap_recovered(accuracy, right_answers(arm[None]), right_answers(linear), right_answers(teacher))
    assert gap is not None
    share = (arm.mean() - linear.mean()) / (teacher.mean() - linear.mean())
    assert gap.value == pytest.approx(share)
    # ratio of means of a = arm - linear and b = teacher - linear: var = mean((a - share b)^2) / (n mean(b)^2)
    a, b = arm.astype(float) - linear, teacher.astype(float) - linear
    standard_error = math.sqrt(np.square(a - share * b).mean() / n) / b.mean()
    assert (gap.high - gap.low) / 3.92 == pytest.approx(standard_error, rel=0.1)


def test_gap_of_linear_itself_is_nothing_and_of_the_teacher_is_whole() -> None:
    rng = np.random.default_rng(0)
    linear, teacher = right_answers(rng.random(500) < 0.6), right_answers(rng.random(500) < 0.9)
    none, whole = (gap_recovered(accuracy, arm[None], linear, teacher) for arm in (linear, teacher))
    assert none is not None
    assert whole is not None
    assert (none.value, none.low, none.high) == (0, 0, 0)
    assert (whole.value, whole.low, whole.high) == pytest.approx((1, 1, 1))


def test_there_is_no_gap_where_the_teacher_is_not_above_linear() -> None:
    same = right_answers(np.random.default_rng(0).random(100) < 0.6)
    assert gap_recovered(accuracy, same[None], same, same) is None
    assert gap_recovered(accuracy, same[None], same, same * [0.5, 1]) is None


def test_a_gap_that_the_texts_do_not_settle_has_no_bounds() -> None:
    linear = np.zeros(30, dtype=bool)
    linear[:15] = True
    teacher = np.roll(linear, 10)
    teacher[0] = True  # one text better than linear, ten differ either way
    gap = gap_recovered(accuracy, right_answers(teacher[None]), right_answers(linear), right_answers(teacher))
    assert gap is not None
    assert (gap.value, gap.low, gap.high) == (1.0, -math.inf, math.inf)


def test_gap_refuses_other_texts() -> None:
    rows = right_answers(np.ones(5, dtype=bool))
    with pytest.raises(ValueError, match="equal"):
        gap_recovered(accuracy, rows[None], rows[:4], rows)


def test_five_seeds_of_two_thousand_texts_take_well_under_a_second() -> None:
    rng = np.random.default_rng(0)
    metric = macro_f1(4)
    gold = rng.integers(0, 4, 2_000).tolist()
    statistics = np.stack([metric.statistics(rng.integers(0, 4, 2_000).tolist(), gold) for _ in range(5)])
    start = time.process_time()
    bootstrap_seeds(metric, statistics)
    assert time.process_time() - start < 2  # about 0.3 s; loose for a busy machine
