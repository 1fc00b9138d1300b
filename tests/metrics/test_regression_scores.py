"""Correlations against scipy and against numpy."""

import warnings
from typing import Any

import numpy as np
import pytest
from scipy.stats import pearsonr, rankdata, spearmanr

from distill.metrics import Metric, pearson, spearman
from distill.metrics.regression import average_ranks


def noisy(n: int, seed: int) -> tuple[Any, Any]:
    """Predictions and gold, [n] each."""
    rng = np.random.default_rng(seed)
    gold = rng.normal(size=n)
    return 0.7 * gold + rng.normal(size=n), gold


@pytest.mark.parametrize(("n", "seed"), [(3, 0), (30, 1), (1379, 2)])
def test_correlations_are_those_of_scipy(n: int, seed: int) -> None:
    predictions, gold = noisy(n, seed)
    assert pearson.score(predictions, gold) == pytest.approx(pearsonr(predictions, gold)[0], abs=1e-12)
    assert spearman.score(predictions, gold) == pytest.approx(spearmanr(predictions, gold)[0], abs=1e-12)


@pytest.mark.parametrize("decimals", [0, 1])
def test_ties_share_their_mean_rank_as_in_scipy(decimals: int) -> None:
    predictions, gold = (np.round(values, decimals) for values in noisy(200, 3))
    assert len(np.unique(gold)) < 100
    np.testing.assert_array_equal(average_ranks(gold), rankdata(gold))
    assert spearman.score(predictions, gold) == pytest.approx(spearmanr(predictions, gold)[0], abs=1e-12)


def test_ranks_by_hand() -> None:
    assert average_ranks([30.0, 10.0, 20.0, 10.0, 30.0, 30.0]).tolist() == [5, 1.5, 3, 1.5, 5, 5]
    assert average_ranks([np.inf, -np.inf, 0.0]).tolist() == [3, 1, 2]
    assert average_ranks([7.0]).tolist() == [1]
    assert average_ranks([]).tolist() == []


def test_a_straight_line_has_1_or_minus_1_and_a_curve_only_for_ranks() -> None:
    gold: Any = np.arange(1.0, 21.0)
    for metric in (pearson, spearman):
        assert metric.score(3 * gold + 7, gold) == pytest.approx(1.0)
        assert metric.score(-gold, gold) == pytest.approx(-1.0)
        assert abs(metric.score(gold, gold)) <= 1.0
    assert spearman.score(gold**9, gold) == pytest.approx(1.0)
    assert pearson.score(gold**9, gold) < 0.9


@pytest.mark.parametrize("metric", [pearson, spearman], ids=lambda m: m.name)
@pytest.mark.parametrize("constant", [0.0, 0.1, 2.4637, -1e6 - 0.1, 1e-9, 1e12 / 3])
@pytest.mark.parametrize("n", [1, 2, 7, 1379])
def test_predictions_or_gold_that_are_all_the_same_score_zero(metric: Metric, constant: float, n: int) -> None:
    varied: Any = np.random.default_rng(0).normal(size=n) + 2.5
    same: Any = np.full(n, constant)
    drawn = np.random.default_rng(1).multinomial(n, np.ones(n) / n)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for pair in ((same, varied), (varied, same), (same, same)):
            assert metric.score(*pair) == 0.0
            rows = metric.statistics(*pair)
            assert metric.reduce(np.repeat(rows, drawn, axis=0)) == 0.0
            if metric.additive:
                assert metric.reduce((drawn @ rows)[None]) == 0.0


@pytest.mark.parametrize(
    ("offset", "scale", "tolerance"), [(1e3, 1.0, 1e-7), (1e6, 1e4, 1e-9), (1e6, 100.0, 1e-6), (1e-6, 1e-9, 1e-6)]
)
def test_pearson_of_numbers_far_from_zero(offset: float, scale: float, tolerance: float) -> None:
    for seed in range(5):
        predictions, gold = (offset + scale * values for values in noisy(1379, seed))
        expected = pearsonr(predictions, gold)[0]
        assert pearson.score(predictions, gold) == pytest.approx(expected, abs=tolerance)
        assert spearman.score(predictions, gold) == pytest.approx(spearmanr(predictions, gold)[0], abs=1e-12)


def test_pearson_statistics_are_of_one_example_each_and_additive() -> None:
    predictions, gold = noisy(60, 4)
    rows = pearson.statistics(predictions, gold)
    np.testing.assert_array_equal(rows[10:20], pearson.statistics(predictions[10:20], gold[10:20]))
    weights = np.random.default_rng(1).integers(0, 4, 60)
    expected = pearsonr(np.repeat(predictions, weights), np.repeat(gold, weights))[0]
    assert pearson.reduce((weights @ rows)[None]) == pytest.approx(expected, abs=1e-12)
    assert pearson.reduce(np.repeat(rows, weights, axis=0)) == pytest.approx(expected, abs=1e-12)
    assert pearson.additive
    assert not spearman.additive


@pytest.mark.parametrize("metric", [pearson, spearman], ids=lambda m: m.name)
@pytest.mark.parametrize(
    ("predictions", "gold", "message"),
    [
        ([1.0], [1.0, 2.0], "predictions: expected 2 finite numbers"),
        ([1.0, np.nan], [1.0, 2.0], "predictions: expected 2 finite"),
        ([1.0, 2.0], [1.0, np.inf], "gold: expected 2 finite"),
        ([[1.0], [2.0]], [1.0, 2.0], r"shape \(2, 1\)"),
        ([], [], "at least one"),
    ],
)
def test_what_are_no_numbers_is_refused(
    metric: Metric, predictions: list[float], gold: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        metric.score(predictions, gold)
