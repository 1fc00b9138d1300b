"""Variance components against a two-way analysis of variance, closed-form t intervals and simulated power."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from distill.evaluation import components as module
from distill.evaluation.components import Components, Seeds, seed_component, text_values
from distill.metrics import Metric, accuracy, entity_f1, macro_f1, pearson, spearman


def table(seeds: int, texts: int, sizes: tuple[float, float, float], seed: int = 0) -> NDArray[np.float64]:
    """[S, n] of seed + text + residual, with these standard deviations."""
    rng = np.random.default_rng(seed)
    effects = (rng.normal(size=(seeds, 1)), rng.normal(size=texts), rng.normal(size=(seeds, texts)))
    return sum((size * effect for size, effect in zip(sizes, effects, strict=True)), np.zeros((seeds, texts)))


def components(arms: list[NDArray[np.float64]]) -> Components:
    return module.components(float(sum(arm.mean() for arm in arms)), arms, -1, 1, arms[0].shape[1])


def test_components_are_those_of_a_two_way_analysis_of_variance() -> None:
    values = table(4, 60, (0.1, 0.5, 0.3))
    # sums of squares of Searle, Casella and McCulloch 1992, table 4.9, from totals
    correction = values.sum() ** 2 / 240
    of_seeds = np.square(values.sum(axis=1)).sum() / 60 - correction
    of_texts = np.square(values.sum(axis=0)).sum() / 4 - correction
    of_both = np.square(values).sum() - correction
    mean_squares = (of_seeds / 3, of_texts / 59, (of_both - of_seeds - of_texts) / (3 * 59))
    found = components([values])
    (part,) = found.seeds
    assert found.value == pytest.approx(values.mean())
    assert part.variance == pytest.approx(mean_squares[0] / 240)
    assert found.texts == pytest.approx(mean_squares[1] / 240)
    assert part.residual == pytest.approx(mean_squares[2] / 240)
    assert (part.degrees, found.texts_degrees) == (3, 59)


def test_without_variance_of_texts_it_is_the_t_interval_over_seeds() -> None:
    scores = np.array([0.71, 0.74, 0.70, 0.76])
    found = components([np.broadcast_to(scores[:, None], (4, 30))])
    low, high = stats.t.interval(0.95, 3, loc=scores.mean(), scale=stats.sem(scores))
    assert (found.value - found.half_width(), found.value + found.half_width()) == pytest.approx((low, high))
    against = components([np.broadcast_to(scores[:, None], (4, 30)) - 0.7])
    assert against.p_value() == pytest.approx(stats.ttest_1samp(scores, 0.7).pvalue, rel=1e-3)


def test_with_one_seed_it_is_the_t_interval_over_texts() -> None:
    values = np.random.default_rng(0).normal(0.1, 0.4, (1, 40))
    found = components([values])
    low, high = stats.t.interval(0.95, 39, loc=values.mean(), scale=stats.sem(values[0]))
    assert (found.value - found.half_width(), found.value + found.half_width()) == pytest.approx((low, high))
    assert found.p_value() == pytest.approx(stats.ttest_1samp(values[0], 0).pvalue, rel=1e-3)


def test_half_widths_of_seeds_and_texts_are_added_as_squares() -> None:
    found = Components(0.0, 3e-5, 499, (Seeds(1e-4, 1e-5, 2), Seeds(4e-5, 1e-5, 4)), -1, 1, 500)
    t, u, v = (stats.t.ppf(0.975, degrees) for degrees in (499, 2, 4))
    expected = math.sqrt(u**2 * 1e-4 + v**2 * 4e-5 + t**2 * (3e-5 - 2e-5))
    assert found.half_width() == pytest.approx(expected)


def test_seeds_that_happen_to_be_alike_make_it_no_narrower_than_the_texts_do() -> None:
    values = np.random.default_rng(0).random((3, 400)) < 0.8
    values = np.stack([np.roll(values[0], s) for s in range(3)]).astype(float)  # three equal scores
    found = components([values])
    assert found.seeds[0].variance == pytest.approx(0, abs=1e-30)
    assert found.half_width() == pytest.approx(stats.t.ppf(0.975, 399) * stats.sem(values.mean(axis=0)))


def test_two_arms_of_different_seeds_share_their_texts_and_nothing_else() -> None:
    one, other = table(5, 200, (0.1, 0.5, 0.3)), -table(3, 200, (0.1, 0.5, 0.3), seed=1)
    found = components([one, other])
    assert [part.degrees for part in found.seeds] == [4, 2]
    assert found.seeds == (seed_component(one), seed_component(other))
    assert found.texts == pytest.approx(stats.sem(one.mean(axis=0) + other.mean(axis=0)) ** 2)


def test_texts_that_are_all_alike_leave_as_many_others_possible_as_could_have_been_missed() -> None:
    for value, n in ((1.0, 2), (-1.0, 7), (0.0, 2_000), (0.25, 30)):
        found = components([np.full((3, n), value)])
        share = found.half_width() / (1 + abs(value))  # of texts at the other end of -1 to 1
        assert (1 - share) ** n == pytest.approx(0.05)
        assert (found.p_value() < 0.05) == (abs(value) > found.half_width())
        assert found.smallest_shown() == math.inf
    assert components([np.full((1, 2), 1.0)]).p_value() == pytest.approx(0.25, rel=1e-2)  # (1 - 1 / 2)²


def test_seeds_that_are_right_by_turns_are_no_certainty() -> None:
    found = components([np.array([[1.0, 0.0], [0.0, 1.0]])])  # equal means of seeds, and of texts
    assert found.half_width() == pytest.approx(1.5 * (1 - 0.05**0.5))


@pytest.mark.parametrize("seed", range(40))
def test_p_value_is_below_five_percent_exactly_where_the_interval_leaves_out_zero(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = table(int(rng.integers(1, 5)), 30, (0.05, 0.2, 0.1), seed) + rng.normal(0, 0.1)
    found = components([values])
    assert (found.p_value() < 0.05) == (abs(found.value) > found.half_width())
    moved = components([values - found.value + found.half_width() * (1 + 1e-9)])
    assert moved.p_value() == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize("degrees", [2, 9])
def test_the_power_note_is_the_noncentral_t_of_seeds_alone(degrees: int) -> None:
    found = Components(0.0, 0.0, 10_000, (Seeds(1.0, 0.0, degrees),), -1, 1, 10_001)
    critical = stats.t.ppf(0.975, degrees)
    true = math.sqrt(1 / (stats.chi2.median(degrees) / degrees))  # a variance of 1 is the median of what is found
    power = stats.nct.sf(critical, degrees, found.smallest_shown() / true)
    assert power == pytest.approx(0.8, abs=0.01)


def test_the_power_note_of_texts_alone_is_that_of_the_normal_distribution() -> None:
    found = Components(0.0, 0.01**2, 10_000, (), -1, 1, 10_001)
    assert found.smallest_shown() == pytest.approx((1.96 + 0.8416) * 0.01, rel=0.01)
    assert Components(0.1, math.inf, 1, (), -1, 1, 1).smallest_shown() == math.inf


def test_a_value_of_accuracy_is_zero_or_one() -> None:
    right = np.random.default_rng(0).random((3, 50)) < 0.7
    statistics = np.stack([right, np.ones_like(right)], axis=-1).astype(float)
    assert text_values(accuracy, statistics) == pytest.approx(right.astype(float), abs=1e-12)


def test_values_of_other_metrics_are_jackknife_pseudo_values_about_the_score() -> None:
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 3, 40)
    predicted = np.where(rng.random(40) < 0.6, gold, rng.integers(0, 3, 40))
    ratings = rng.normal(size=(2, 40))
    ratings[1] += ratings[0]
    tags = [[("O", "B-A", "B-B")[g]] for g in gold], [[("O", "B-A", "B-B")[p]] for p in predicted]
    for metric, answers, truth in [
        (macro_f1(3), predicted.tolist(), gold.tolist()),
        (entity_f1, tags[1], tags[0]),
        (pearson, ratings[0].tolist(), ratings[1].tolist()),
        (spearman, ratings[0].tolist(), ratings[1].tolist()),
    ]:
        score = metric.score(answers, truth)
        left_out = np.array(
            [metric.score(answers[:i] + answers[i + 1 :], truth[:i] + truth[i + 1 :]) for i in range(40)]
        )
        pseudo = 40 * score - 39 * left_out
        (values,) = text_values(metric, metric.statistics(answers, truth)[None])
        assert values == pytest.approx(pseudo - pseudo.mean() + score, abs=1e-9)


def test_many_texts_of_a_metric_that_is_not_additive_are_left_out_in_parts() -> None:
    rng = np.random.default_rng(0)
    gold = rng.normal(size=1_000)
    rows = spearman.statistics(gold + rng.normal(size=1_000), gold)
    (values,) = text_values(spearman, rows[None])
    assert values.shape == (200,)
    without_third = spearman.reduce(np.delete(rows, np.arange(3, 1_000, 200), axis=0))
    assert values[3] - values[4] == pytest.approx(
        199 * (spearman.reduce(np.delete(rows, np.arange(4, 1_000, 200), axis=0)) - without_third)
    )
    error = math.sqrt(components([values[None]]).texts)
    drawn = [spearman.reduce(rows[rng.integers(0, 1_000, 1_000)]) for _ in range(400)]
    assert error == pytest.approx(np.std(drawn), rel=0.15)


def test_wrong_shapes_nan_and_infinite_scores_are_refused() -> None:
    rows = np.ones((2, 5, 2))
    with pytest.raises(ValueError, match=r"\[seeds, texts, K\]"):
        text_values(accuracy, rows[0])
    with pytest.raises(ValueError, match="at least one"):
        text_values(accuracy, rows[:, :0])
    with pytest.raises(ValueError, match="broken is NaN"):
        text_values(Metric("broken", "broken", accuracy.statistics, lambda _: math.nan), rows)
    with pytest.raises(ValueError, match="statistics hold NaN"):
        text_values(accuracy, rows * np.nan)


def test_a_score_without_bounds_of_texts_that_are_all_alike_has_no_interval() -> None:
    for value in (0.0, 0.25):
        found = module.components(value, [np.full((2, 30), value)], -math.inf, math.inf, 30)
        assert module.bounds(found) == (-math.inf, math.inf)
        assert found.p_value() == 1.0
        assert found.smallest_shown() == math.inf
