"""Metrics over sets of labels: one example is a [C] array of 0 and 1 (or bools), one entry a label."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distill.metrics.classification import mean_f1, ratio_of_sums, share
from distill.metrics.metric import Metric, Statistics, column_sums


def micro_f1(classes: int) -> Metric:
    """F1 = 2 tp / (2 tp + fp + fn) over all labels of all examples together. Statistics are [n, 3]: tp, fp, fn.

    0 where there is no label at all, neither predicted nor gold, as in scikit-learn.
    """
    return Metric("micro_f1", "micro F1", partial(_counts, _checked_classes(classes)), _f1_of_sums)


def multilabel_macro_f1(classes: int) -> Metric:
    """Unweighted mean over classes of their F1. Statistics are [n, 3 * classes]: tp, fp, fn.

    A class without gold and without prediction is left out of the mean, as :func:`distill.metrics.macro_f1` does, and
    as scikit-learn does with ``zero_division=nan``.
    """
    return Metric("macro_f1", "macro F1", partial(_counts_by_class, _checked_classes(classes)), mean_f1)


def _checked_classes(classes: int) -> int:
    if classes < 1:
        raise ValueError(f"F1 of {classes} classes: at least 1 is needed")
    return classes


def _matrices(
    predictions: Sequence[ArrayLike], gold: Sequence[ArrayLike], classes: int | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Both as [n, C]. Raises ValueError for other shapes and for values that are not 0 or 1."""
    if classes is None:
        classes = np.size(gold[0]) if len(gold) else 0
    return _matrix("predictions", predictions, len(gold), classes), _matrix("gold", gold, len(gold), classes)


def _matrix(what: str, rows: Sequence[ArrayLike], count: int, classes: int) -> NDArray[np.bool_]:
    if len(rows) != count or any(np.shape(row) != (classes,) for row in rows):
        shapes = sorted({np.shape(row) for row in rows})
        raise ValueError(f"{what}: expected {count} arrays of shape ({classes},), got {len(rows)} of shapes {shapes}")
    matrix = np.asarray(rows).reshape(count, classes)
    if not np.isin(matrix, (0, 1)).all():
        raise ValueError(f"{what}: expected 0 or 1 for each label, got other values; apply a threshold")
    return matrix.astype(bool)


def _counts_by_class(classes: int, predictions: Sequence[ArrayLike], gold: Sequence[ArrayLike]) -> Statistics:
    """[n, 3 * classes]: tp, fp, fn, each one number a class."""
    p, g = _matrices(predictions, gold, classes)
    return np.concatenate([p & g, p & ~g, ~p & g], axis=1).astype(np.float64)


def _counts(classes: int, predictions: Sequence[ArrayLike], gold: Sequence[ArrayLike]) -> Statistics:
    """[n, 3]: tp, fp, fn."""
    counts: Statistics = _counts_by_class(classes, predictions, gold).reshape(-1, 3, classes).sum(axis=2)
    return counts


def _f1_of_sums(statistics: Statistics) -> NDArray[np.float64]:
    tp, fp, fn = np.moveaxis(column_sums(statistics), -1, 0)
    return share(2 * tp, 2 * tp + fp + fn)


def _same_sets(predictions: Sequence[ArrayLike], gold: Sequence[ArrayLike]) -> Statistics:
    """[n, 2]: whether all labels are right, and 1."""
    p, g = _matrices(predictions, gold)
    return np.stack([(p == g).all(axis=1), np.ones(len(g))], axis=1).astype(np.float64)


subset_accuracy = Metric("subset_accuracy", "subset accuracy", _same_sets, ratio_of_sums)
"""Share of examples whose labels are all right, none missing and none too many. Statistics are [n, 2]: right, total."""
