"""Scores of sets of labels against scikit-learn and against counts by hand."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from distill.metrics import Metric, micro_f1, multilabel_macro_f1, subset_accuracy


def random_sets(classes: int, n: int, seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    gold = rng.random((n, classes)) < 0.3
    predictions = gold ^ (rng.random((n, classes)) < 0.15)
    return list(predictions.astype(np.int64)), list(gold.astype(np.int64))


@pytest.mark.parametrize(("classes", "n", "seed"), [(1, 20, 0), (3, 50, 1), (28, 200, 2), (40, 3, 3), (4, 1, 4)])
def test_scores_are_those_of_sklearn(classes: int, n: int, seed: int) -> None:
    predictions, gold = random_sets(classes, n, seed)
    p, g = np.array(predictions), np.array(gold)
    f1 = {
        average: f1_score(g.ravel(), p.ravel(), zero_division=0)
        if average == "micro"
        else np.nanmean([f1_score(g[:, c], p[:, c], zero_division=np.nan) for c in range(classes)])
        for average in ("micro", "macro")
    }
    assert micro_f1(classes).score(predictions, gold) == pytest.approx(f1["micro"])
    assert multilabel_macro_f1(classes).score(predictions, gold) == pytest.approx(f1["macro"])
    assert subset_accuracy.score(predictions, gold) == pytest.approx((p == g).all(axis=1).mean())
    if classes > 1:  # sklearn takes one column for a binary task
        assert micro_f1(classes).score(predictions, gold) == pytest.approx(f1_score(g, p, average="micro"))
        macro = f1_score(g, p, average="macro", zero_division=np.nan)
        assert multilabel_macro_f1(classes).score(predictions, gold) == pytest.approx(macro)
        assert subset_accuracy.score(predictions, gold) == pytest.approx(accuracy_score(g, p))


def test_scores_by_hand() -> None:
    gold = [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    predictions = [[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    rows = [np.array(r) for r in predictions], [np.array(r) for r in gold]
    assert micro_f1(4).statistics(*rows).tolist() == [[1, 0, 1], [1, 1, 0], [0, 0, 0]]
    assert micro_f1(4).score(*rows) == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    # the fourth class is nowhere and has no F1; the third is only predicted and has 0
    assert multilabel_macro_f1(4).score(*rows) == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert subset_accuracy.score(*rows) == pytest.approx(1 / 3)


@pytest.mark.parametrize("metric", [micro_f1(5), multilabel_macro_f1(5), subset_accuracy], ids=lambda m: m.name)
def test_sums_and_repeated_rows_reduce_alike(metric: Metric) -> None:
    statistics = metric.statistics(*random_sets(5, 40, 0))
    assert metric.additive
    assert metric.reduce(statistics.sum(axis=0)[None]) == metric.reduce(statistics)
    weights = np.random.default_rng(1).integers(0, 4, 40)
    assert metric.reduce((weights @ statistics)[None]) == pytest.approx(
        metric.reduce(np.repeat(statistics, weights, axis=0))
    )


@pytest.mark.parametrize("metric", [micro_f1(3), multilabel_macro_f1(3)], ids=lambda m: m.name)
def test_no_label_anywhere_scores_zero_and_is_no_error(metric: Metric) -> None:
    none = [np.zeros(3, dtype=np.int64)] * 4
    assert metric.score(none, none) == 0.0
    assert subset_accuracy.score(none, none) == 1.0


def test_bools_and_a_whole_matrix_are_taken_too() -> None:
    predictions, gold = random_sets(4, 30, 0)
    for metric in (micro_f1(4), multilabel_macro_f1(4), subset_accuracy):
        expected = metric.score(predictions, gold)
        assert metric.score([p.astype(bool) for p in predictions], [g.astype(bool) for g in gold]) == expected
        matrices: Any = np.array(predictions), np.array(gold)
        assert metric.score(*matrices) == expected


@pytest.mark.parametrize("metric", [micro_f1(2), multilabel_macro_f1(2), subset_accuracy], ids=lambda m: m.name)
@pytest.mark.parametrize(
    ("predictions", "gold", "message"),
    [
        ([[1, 0]], [[1, 0], [0, 1]], "predictions: expected 2 arrays"),
        ([[1, 0, 0]], [[1, 0]], r"predictions: expected 1 arrays of shape \(2,\).*\(3,\)"),
        ([[0.7, 0.2]], [[1, 0]], "predictions: expected 0 or 1"),
        ([[1, 0]], [[1, np.nan]], "gold: expected 0 or 1"),
        ([[1, 0]], [[1, -100]], "gold: expected 0 or 1"),
        ([], [], "at least one"),
    ],
)
def test_what_is_no_set_of_labels_is_refused(metric: Metric, predictions: Any, gold: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric.score(predictions, gold)


def test_a_metric_without_classes_is_refused() -> None:
    for metric in (micro_f1, multilabel_macro_f1):
        with pytest.raises(ValueError, match="at least 1 is needed"):
            metric(0)
