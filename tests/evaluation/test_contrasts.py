"""Paired comparison against exact McNemar, normal theory, and tests under a true null hypothesis."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from distill.evaluation import contrast, paired_difference, randomisation_test, verdict
from distill.evaluation import contrasts as module
from distill.metrics import Metric, accuracy, entity_f1, macro_f1
from distill.results import Estimate


def right_answers(right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[S, n] right or wrong to accuracy's [S, n, 2]."""
    return np.stack([right, np.ones_like(right)], axis=-1).astype(np.float64)


def discordant(only_arm: int, only_against: int, both: int = 100) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two systems of one seed: so many texts that only one of them has right."""
    arm = np.repeat([True, False, True], [only_arm, only_against, both])
    against = np.repeat([False, True, True], [only_arm, only_against, both])
    return right_answers(arm[None]), right_answers(against[None])


@pytest.mark.parametrize(("only_arm", "only_against"), [(12, 5), (20, 6), (5, 12), (9, 8), (3, 0)])
def test_randomisation_on_accuracy_is_mcnemars_exact_test(only_arm: int, only_against: int) -> None:
    exact = binomtest(only_arm, only_arm + only_against).pvalue
    p = randomisation_test(accuracy, *discordant(only_arm, only_against), permutations=20_000)
    assert p == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000) + 1e-4)


def test_smallest_p_value_counts_the_observed_assignment_too() -> None:
    arm, against = discordant(200, 0)
    assert randomisation_test(accuracy, arm, against, permutations=99) == 1 / 100


def test_all_seeds_of_a_text_are_exchanged_together() -> None:
    # three equal seeds are no more evidence than one
    arm, against = discordant(12, 5)
    one = randomisation_test(accuracy, arm, against)
    assert randomisation_test(accuracy, arm.repeat(3, axis=0), against.repeat(3, axis=0)) == one
    assert randomisation_test(accuracy, arm.repeat(3, axis=0), against) == one


def test_equal_systems_have_no_difference() -> None:
    same = right_answers(np.random.default_rng(0).random((3, 50)) < 0.7)
    result = contrast(accuracy, "soft", same, "hard", same, primary=True)
    assert (result.difference.value, result.difference.low, result.difference.high) == (0, 0, 0)
    assert result.p_value == 1.0
    assert result.verdict.startswith("no difference shown")


def test_p_values_under_the_null_are_as_rare_as_they_say() -> None:
    rng = np.random.default_rng(0)
    rejected = 0
    for trial in range(400):
        difficulty = rng.random(150)
        arm, against = (right_answers((difficulty < 0.7) ^ (rng.random((2, 150)) < 0.1)) for _ in range(2))
        rejected += randomisation_test(accuracy, arm, against, permutations=199, seed=trial) < 0.05
    assert 0.02 <= rejected / 400 <= 0.08


def test_exchange_for_a_metric_that_is_not_additive_is_the_same_exchange() -> None:
    by_rows = Metric("accuracy", "accuracy", accuracy.statistics, lambda r: float(r[:, 0].mean()), additive=False)
    arm, against = discordant(12, 5)
    expected = randomisation_test(accuracy, arm, against, permutations=500)
    assert randomisation_test(by_rows, arm, against, permutations=500) == expected


def test_exchanges_in_several_parts_are_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    arm, against = discordant(12, 5)
    whole = randomisation_test(accuracy, arm, against, permutations=1_000)
    monkeypatch.setattr(module, "CHUNK", 3 * arm.shape[1])
    assert randomisation_test(accuracy, arm, against, permutations=1_000) == whole


def test_paired_interval_has_the_width_of_normal_theory_for_paired_texts() -> None:
    rng = np.random.default_rng(0)
    difficulty = rng.random(2_000)
    arm, against = difficulty[None] < 0.83, (difficulty[None] < 0.80) ^ (rng.random((1, 2_000)) < 0.02)
    difference = paired_difference(accuracy, right_answers(arm), right_answers(against))
    per_text = arm[0].astype(float) - against[0]
    assert difference.value == pytest.approx(per_text.mean())
    assert (difference.high - difference.low) / 3.92 == pytest.approx(per_text.std() / math.sqrt(2_000), rel=0.08)
    assert difference.method == "paired percentile bootstrap over 2,000 texts, 2,000 resamples"


def test_seeds_are_paired_by_index_where_counts_are_equal() -> None:
    # each seed moves both systems alike: paired, the difference does not vary at all; unpaired it varies with the seeds
    moves = np.array([0.5, 0.6, 0.7, 0.8])
    rows = np.ones((4, 30))
    arm = np.stack([(moves + 0.1)[:, None] * rows, rows], axis=-1)
    against = np.stack([moves[:, None] * rows, rows], axis=-1)
    paired = paired_difference(accuracy, arm, against)
    assert (paired.low, paired.high) == pytest.approx((0.1, 0.1))
    unpaired = paired_difference(accuracy, arm, against[:3])
    assert unpaired.value == pytest.approx(0.15)
    standard_error = math.sqrt(moves.var() / 4 + moves[:3].var() / 3)
    assert (unpaired.high - unpaired.low) / 3.92 == pytest.approx(standard_error, rel=0.15)
    assert "4 and 3 seeds x 30 texts" in unpaired.method


def test_contrast_of_macro_f1_and_entity_f1_takes_the_difference_of_mean_scores() -> None:
    rng = np.random.default_rng(0)
    metric = macro_f1(3)
    gold = rng.integers(0, 3, 200).tolist()
    arm, against = (
        [np.where(rng.random(200) < share, gold, rng.integers(0, 3, 200)).tolist() for _ in range(2)]
        for share in (0.9, 0.5)
    )
    statistics = [np.stack([metric.statistics(p, gold) for p in system]) for system in (arm, against)]
    result = contrast(metric, "soft", statistics[0], "hard", statistics[1], primary=True)
    scores = [np.mean([metric.score(p, gold) for p in system]) for system in (arm, against)]
    assert result.difference.value == pytest.approx(scores[0] - scores[1])
    assert result.verdict.startswith("soft is better than hard")
    assert result.primary
    assert result.test == "paired approximate randomisation over 200 texts, 5,000 permutations"
    # no entity anywhere: zero against zero
    empty = entity_f1.statistics([["O"]] * 4, [["O"]] * 4)[None]
    assert contrast(entity_f1, "a", empty, "b", empty, primary=False).p_value == 1.0


def test_verdict_says_better_or_worse_only_where_interval_and_test_agree() -> None:
    def said(value: float, low: float, high: float, p: float) -> str:
        return verdict("soft", "hard", Estimate(value, low, high, ""), p)

    assert said(0.012, 0.003, 0.021, 0.01) == "soft is better than hard"
    assert said(-0.012, -0.021, -0.003, 0.01) == "soft is worse than hard"
    assert said(0.004, -0.003, 0.011, 0.31) == "no difference shown"
    assert said(0.012, 0.003, 0.021, 0.06).startswith("no difference shown")
    assert said(0.012, -0.001, 0.021, 0.01).startswith("no difference shown")
    assert said(0.012, 0.0, 0.021, 0.01).startswith("no difference shown")


def test_one_text_shows_nothing() -> None:
    result = contrast(accuracy, "a", np.array([[[1.0, 1.0]]]), "b", np.array([[[0.0, 1.0]]]), primary=True)
    assert result.difference.value == 1.0
    assert result.p_value == 1.0
    assert result.verdict.startswith("no difference shown")


def test_other_texts_and_nan_are_refused() -> None:
    rows = right_answers(np.ones((1, 5), dtype=bool))
    for compare in (paired_difference, randomisation_test):
        with pytest.raises(ValueError, match="same texts"):
            compare(accuracy, rows, rows[:, :4])
        with pytest.raises(ValueError, match="statistics hold NaN"):
            compare(accuracy, rows, rows * np.nan)
