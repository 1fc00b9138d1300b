"""Intervals against closed forms, scipy's t intervals and simulated coverage."""

import math
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.stats import binomtest

from distill.evaluation import gap_recovered, score_over_seeds, wilson
from distill.formatting import plus_minus
from distill.metrics import accuracy, macro_f1, pearson, spearman


def right_answers(right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[..., n] right or wrong to accuracy's [..., n, 2]."""
    return np.stack([right, np.ones_like(right)], axis=-1).astype(np.float64)


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


def test_one_seed_interval_is_the_t_interval_over_texts() -> None:
    right = np.random.default_rng(0).random((1, 1_500)) < 0.8
    interval = score_over_seeds(accuracy, right_answers(right))
    low, high = stats.t.interval(0.95, 1_499, loc=right.mean(), scale=stats.sem(right[0].astype(float)))
    assert (interval.value, interval.low, interval.high) == pytest.approx((right.mean(), low, high))
    assert interval.method == "t interval over 1,500 texts"


def test_seeds_that_differ_over_equal_texts_give_the_t_interval_over_seeds() -> None:
    scores = np.random.default_rng(0).normal(0.7, 0.05, 4)
    statistics = np.stack([np.broadcast_to(scores[:, None], (4, 50)), np.ones((4, 50))], axis=-1)
    interval = score_over_seeds(accuracy, statistics)
    low, high = stats.t.interval(0.95, 3, loc=scores.mean(), scale=stats.sem(scores))
    assert (interval.value, interval.low, interval.high) == pytest.approx((scores.mean(), low, high))
    assert interval.method == "t interval over 4 seeds x 50 texts"


def test_identical_seeds_share_their_texts_and_narrow_nothing() -> None:
    right = np.random.default_rng(0).random((1, 800)) < 0.8
    one = score_over_seeds(accuracy, right_answers(right))
    five = score_over_seeds(accuracy, right_answers(np.repeat(right, 5, axis=0)))
    assert (five.low, five.high) == pytest.approx((one.low, one.high), abs=1e-12)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    trials = 600
    truth = 0.75 * 0.96 + 0.25 * 0.04
    for spread in (0.0, 0.01, 0.05):
        covered = 0
        for _ in range(trials):
            shift = rng.normal(0, spread, (3, 1))
            difficulty = rng.random(400)
            right = (difficulty < 0.75 + shift) ^ (rng.random((3, 400)) < 0.04)
            interval = score_over_seeds(accuracy, right_answers(right))
            covered += interval.low <= truth <= interval.high
        assert 0.93 <= covered / trials <= 0.99


def test_an_interval_ends_where_scores_end() -> None:
    scores = right_answers(np.arange(60).reshape(3, 20) < [[20], [38], [60]])
    assert score_over_seeds(accuracy, scores).high == 1.0
    assert score_over_seeds(accuracy, 1 - scores + scores * [0, 1]).low == 0.0
    ratings = np.random.default_rng(0).normal(size=(2, 6))
    few = pearson.statistics(*ratings)[None]
    interval = score_over_seeds(pearson, few)
    assert -1 <= interval.low < 0 < interval.high <= 1


@pytest.mark.parametrize("texts", [2, 20, 400])
@pytest.mark.parametrize("right", [True, False])
def test_where_all_answers_are_alike_others_are_possible(right: bool, texts: int) -> None:
    interval = score_over_seeds(accuracy, right_answers(np.full((3, texts), right)))
    missed = binomtest(0, texts).proportion_ci(0.9, method="exact").high  # one-sided, of 95 %
    assert interval.value == right
    assert (interval.low, interval.high) == pytest.approx((1 - missed, 1) if right else (0, missed))
    assert interval.method == f"rule of three over 3 seeds x {texts} texts"
    assert not plus_minus(interval).endswith("± 0.0")


def test_a_correlation_without_spread_can_be_any_other_on_texts_not_seen() -> None:
    rising = np.arange(4.0)
    interval = score_over_seeds(pearson, pearson.statistics(rising, rising)[None])
    assert (interval.low, interval.high) == pytest.approx((1 - 2 * (1 - 0.05**0.25), 1))
    many = np.arange(1_000.0)  # left out in 200 parts
    interval = score_over_seeds(spearman, spearman.statistics(many, many)[None])
    assert (interval.low, interval.high) == pytest.approx((1 - 2 * (1 - 0.05**0.001), 1))


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_single_text_gives_no_interval(seeds: int) -> None:
    interval = score_over_seeds(accuracy, right_answers(np.full((seeds, 1), True)))
    assert (interval.value, interval.low, interval.high) == (1, -math.inf, math.inf)
    assert plus_minus(interval) == "100.0"


def test_nan_and_wrong_shapes_are_refused() -> None:
    statistics = right_answers(np.ones((2, 5), dtype=bool))
    with pytest.raises(ValueError, match=r"\[seeds, texts, K\]"):
        score_over_seeds(accuracy, statistics[0])
    statistics[1, 2, 0] = np.nan
    with pytest.raises(ValueError, match="statistics hold NaN"):
        score_over_seeds(accuracy, statistics)
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
    assert (gap.high - gap.low) / 3.92 == pytest.approx(standard_error, rel=0.02)


def test_gap_recovered_reckons_with_other_seeds() -> None:
    rng = np.random.default_rng(0)
    n = 50_000  # so many texts that seeds alone matter
    linear, teacher = (rng.random(n) < share for share in (0.70, 0.90))
    scores = np.array([0.78, 0.80, 0.85])
    arm = np.arange(n) < np.round(scores[:, None] * n)
    gap = gap_recovered(accuracy, right_answers(arm), right_answers(linear), right_answers(teacher))
    assert gap is not None
    width = stats.t.ppf(0.975, 2) * stats.sem(scores) / (teacher.mean() - linear.mean())
    assert (gap.high - gap.low) / 2 == pytest.approx(width, rel=0.02)
    assert gap.method == "Fieller's interval, t interval over 3 seeds x 50,000 texts"


@pytest.mark.parametrize(("gap", "spread"), [(0.2, 0.0), (0.04, 0.0), (0.1, 0.03)])
def test_gap_interval_covers_the_truth_about_as_often_as_it_says(gap: float, spread: float) -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(600):
        difficulty = rng.random(600)
        shifts = rng.normal(0, spread, (3, 1))

        def answered(share: float, shifts: Any = 0.0, difficulty: Any = difficulty) -> Any:
            flipped = rng.random((np.size(shifts), 600)) < 0.1
            return right_answers((difficulty < share + shifts) ^ flipped)

        arm = answered(0.6 + gap / 2, shifts)
        found = gap_recovered(accuracy, arm, answered(0.6)[0], answered(0.6 + gap)[0])
        covered += found is None or found.low <= 0.5 <= found.high
    assert covered / 600 >= 0.93


def test_gap_of_linear_itself_is_nothing_and_of_the_teacher_is_whole() -> None:
    rng = np.random.default_rng(0)
    linear, teacher = right_answers(rng.random(500) < 0.6), right_answers(rng.random(500) < 0.9)
    none, whole = (gap_recovered(accuracy, arm[None], linear, teacher) for arm in (linear, teacher))
    assert none is not None
    assert whole is not None
    unseen = binomtest(0, 500).proportion_ci(0.9, method="exact").high  # texts of which none was among the 500
    share = unseen / (teacher[:, 0].mean() - linear[:, 0].mean())
    assert (none.value, none.low, none.high) == pytest.approx((0, -share, share))
    assert (whole.value, whole.low, whole.high) == pytest.approx((1, 1 - share, 1 + share))
    assert whole.method == "rule of three over 500 texts"


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


def test_a_gap_that_is_the_same_on_every_text_has_no_bounds() -> None:
    teacher = right_answers(np.array([True, True]))
    gap = gap_recovered(accuracy, teacher[None], teacher * [0, 1], teacher)
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
    score_over_seeds(metric, statistics)
    assert time.process_time() - start < 1  # about 0.02 s; loose for a busy machine
