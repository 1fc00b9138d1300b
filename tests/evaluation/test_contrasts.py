"""Paired comparison against McNemar's test and scipy's t intervals, and what it says in words."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.stats import chi2

from distill.evaluation import Compared, contrast, paired_difference, verdict
from distill.metrics import accuracy, entity_f1, macro_f1
from distill.results import Estimate


def right_answers(right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[S, n] right or wrong to accuracy's [S, n, 2]."""
    return np.stack([right, np.ones_like(right)], axis=-1).astype(np.float64)


def discordant(only_arm: int, only_against: int, both: int = 100) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two systems of one seed: so many texts that only one of them has right."""
    arm = np.repeat([True, False, True], [only_arm, only_against, both])
    against = np.repeat([False, True, True], [only_arm, only_against, both])
    return right_answers(arm[None]), right_answers(against[None])


@pytest.mark.parametrize(("only_arm", "only_against"), [(30, 12), (20, 18), (12, 30), (60, 33)])
def test_one_training_each_on_accuracy_is_mcnemars_test(only_arm: int, only_against: int) -> None:
    arm, against = discordant(only_arm, only_against, both=5_000)
    asymptotic = chi2.sf((only_arm - only_against) ** 2 / (only_arm + only_against), 1)
    result = contrast(accuracy, Compared("soft", arm), Compared("hard", against), primary=True)
    assert result.p_value == pytest.approx(asymptotic, rel=0.02)


def test_equal_systems_have_no_difference() -> None:
    same = right_answers(np.random.default_rng(0).random((3, 50)) < 0.7)
    result = contrast(accuracy, Compared("soft", same), Compared("hard", same), primary=True)
    missed = 1 - 0.05 ** (1 / 50)
    assert (result.difference.value, result.difference.low, result.difference.high) == pytest.approx(
        (0, -missed, missed)
    )
    assert result.p_value == 1.0
    assert result.verdict == "no difference shown"
    assert result.smallest_shown is None


@pytest.mark.parametrize(("texts", "words"), [(2, "no difference shown"), (20, "soft is better than hard")])
def test_a_difference_that_is_the_same_on_every_text_is_shown_by_many_texts_alone(texts: int, words: str) -> None:
    right = right_answers(np.full((3, texts), True))
    result = contrast(accuracy, Compared("soft", right), Compared("hard", right * [0, 1]), primary=True)
    assert result.verdict == words
    assert result.p_value == pytest.approx(0.5**texts, rel=0.02)  # the signs
    assert result.test == f"paired rule of three over 3 seeds x {texts} texts"


def test_paired_interval_of_one_training_each_is_the_t_interval_over_texts() -> None:
    rng = np.random.default_rng(0)
    difficulty = rng.random(2_000)
    arm, against = difficulty[None] < 0.83, (difficulty[None] < 0.80) ^ (rng.random((1, 2_000)) < 0.02)
    difference = paired_difference(accuracy, right_answers(arm), right_answers(against))
    per_text = arm[0].astype(float) - against[0]
    low, high = stats.t.interval(0.95, 1_999, loc=per_text.mean(), scale=stats.sem(per_text))
    assert (difference.value, difference.low, difference.high) == pytest.approx((per_text.mean(), low, high))
    assert difference.method == "paired t interval over 2,000 texts"


def test_seeds_are_paired_by_index_where_counts_are_equal() -> None:
    # each seed moves both systems alike: paired, the difference does not vary at all; unpaired it varies with the seeds
    moves = np.array([0.5, 0.6, 0.7, 0.8])
    rows = np.ones((4, 30))
    arm = np.stack([(moves + 0.1)[:, None] * rows, rows], axis=-1)
    against = np.stack([moves[:, None] * rows, rows], axis=-1)
    paired = paired_difference(accuracy, arm, against)
    missed = 1 - 0.05 ** (1 / 30)
    assert (paired.low, paired.high) == pytest.approx((0.1 - 1.1 * missed, 0.1 + 1.1 * missed))
    unpaired = paired_difference(accuracy, arm, against[:3])
    assert unpaired.value == pytest.approx(0.15)
    squares = [(stats.t.ppf(0.975, len(m) - 1) * stats.sem(m)) ** 2 for m in (moves, moves[:3])]
    assert (unpaired.high - unpaired.low) / 2 == pytest.approx(math.sqrt(sum(squares)))
    assert unpaired.method == "paired t interval over 4 and 3 seeds x 30 texts"


def test_seeds_that_scatter_show_less_than_the_same_number_of_alike_ones() -> None:
    rng = np.random.default_rng(0)
    difficulty = rng.random(4_000)
    against = right_answers(np.stack([difficulty < 0.80] * 3))
    alike, scattered = (
        right_answers(np.stack([difficulty < share for share in shares]))
        for shares in ((0.82, 0.82, 0.82), (0.79, 0.82, 0.85))
    )
    shown, hidden = (
        contrast(accuracy, Compared("soft", arm), Compared("hard", against), primary=True) for arm in (alike, scattered)
    )
    assert shown.difference.value == pytest.approx(hidden.difference.value, abs=0.01)
    assert (shown.verdict, hidden.verdict) == ("soft is better than hard", "no difference shown")
    assert shown.smallest_shown is not None
    assert hidden.smallest_shown is not None
    assert shown.smallest_shown < shown.difference.value < hidden.smallest_shown


def test_contrast_of_macro_f1_and_entity_f1_takes_the_difference_of_mean_scores() -> None:
    rng = np.random.default_rng(0)
    metric = macro_f1(3)
    gold = rng.integers(0, 3, 200).tolist()
    arm, against = (
        [np.where(rng.random(200) < share, gold, rng.integers(0, 3, 200)).tolist() for _ in range(3)]
        for share in (0.9, 0.5)
    )
    sides = [
        Compared(name, np.stack([metric.statistics(p, gold) for p in system]), 500)
        for name, system in (("soft", arm), ("hard", against))
    ]
    result = contrast(metric, *sides, primary=True)
    scores = [np.mean([metric.score(p, gold) for p in system]) for system in (arm, against)]
    assert result.difference.value == pytest.approx(scores[0] - scores[1])
    assert result.verdict == "soft is better than hard"
    assert result.primary
    assert result.test == "paired t test over 3 seeds x 200 texts"
    # no entity anywhere: zero against zero
    empty = entity_f1.statistics([["O"]] * 4, [["O"]] * 4)[None]
    assert contrast(entity_f1, Compared("a", empty), Compared("b", empty), primary=False).p_value == 1.0


def test_verdict_says_better_or_worse_only_where_the_interval_leaves_out_zero() -> None:
    def said(value: float, low: float, high: float, one_each: bool = False) -> str:
        return verdict("soft", "hard", Estimate(value, low, high, ""), one_each)

    assert said(0.012, 0.003, 0.021) == "soft is better than hard"
    assert said(-0.012, -0.021, -0.003) == "soft is worse than hard"
    assert said(0.004, -0.003, 0.011) == "no difference shown"
    assert said(0.012, 0.0, 0.021) == "no difference shown"
    assert said(0.012, 0.003, 0.021, one_each=True) == "soft is better than hard in these two trainings"
    assert said(0.012, 0.0, 0.021, one_each=True) == "no difference shown between these two trainings"


def test_one_training_of_each_says_nothing_of_the_arms() -> None:
    arm, against = discordant(60, 20)
    one = contrast(accuracy, Compared("soft", arm), Compared("hard", against), primary=True)
    assert one.verdict == "soft is better than hard in these two trainings"
    three_arm, three_against = arm.repeat(3, axis=0), against.repeat(3, axis=0)
    for sides in ((three_arm, against), (arm, three_against), (three_arm, three_against)):
        soft, hard = (Compared(*side) for side in zip(("soft", "hard"), sides, strict=True))
        assert contrast(accuracy, soft, hard, primary=True).verdict == "soft is better than hard"


def test_one_text_shows_nothing() -> None:
    sides = Compared("a", np.array([[[1.0, 1.0]]])), Compared("b", np.array([[[0.0, 1.0]]]))
    result = contrast(accuracy, *sides, primary=True)
    assert (result.difference.value, result.difference.low, result.difference.high) == (1, -math.inf, math.inf)
    assert result.p_value == 1.0
    assert result.verdict.startswith("no difference shown")
    assert result.smallest_shown is None


def test_arms_of_different_budgets_get_no_verdict() -> None:
    rows = right_answers(np.ones((2, 5), dtype=bool))
    with pytest.raises(ValueError, match=r"soft\+transfer was given 1,200 steps and hard 600"):
        contrast(accuracy, Compared("soft+transfer", rows, 1_200), Compared("hard", rows, 600), primary=True)
    # a teacher has no budget
    assert contrast(accuracy, Compared("soft", rows, 600), Compared("teacher", rows), primary=False).p_value == 1.0


def test_other_texts_and_nan_are_refused() -> None:
    rows = right_answers(np.ones((1, 5), dtype=bool))
    with pytest.raises(ValueError, match="same texts"):
        paired_difference(accuracy, rows, rows[:, :4])
    with pytest.raises(ValueError, match="statistics hold NaN"):
        paired_difference(accuracy, rows, rows * np.nan)
