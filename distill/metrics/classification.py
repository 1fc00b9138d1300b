"""Metrics over integer class indices, one an example."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.metrics.metric import Metric, Statistics, column_sums

MOST_ONE_HOT = 256
"""Classes up to which macro F1 keeps one-hot rows, whose sums give the score of any subset of the texts."""


def macro_f1(classes: int) -> Metric:
    """Unweighted mean over classes of F1 = 2 tp / (2 tp + fp + fn). Statistics are [n, 3 * classes]: tp, fp, fn.

    A class that is neither in gold nor in the predictions has no F1 and is left out of the mean, as scikit-learn's
    ``f1_score(average="macro")`` does without ``labels``; with ``labels=range(classes)`` it would count as 0. A class
    in only one of the two counts as 0. In a resample the classes present are those of the resample.

    Of more than ``MOST_ONE_HOT`` classes the statistics are [n, 2], prediction and gold: one-hot rows would take
    gigabytes. Such a metric is not additive.
    """
    if classes < 2:
        raise ValueError(f"macro F1 of {classes} classes: at least 2 are needed")
    if classes > MOST_ONE_HOT:
        return Metric("macro_f1", "macro F1", partial(_pairs, classes), _mean_f1_of_pairs, additive=False)
    return Metric("macro_f1", "macro F1", partial(_confusion, classes), mean_f1)


def class_indices(predictions: Sequence[int], gold: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both as [n] integers. Raises ValueError where they are not whole, negative (no label), or not equally many."""
    return _indices("predictions", predictions, len(gold)), _indices("gold", gold, len(gold))


def _indices(what: str, values: Sequence[int], count: int) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.shape != (count,):
        raise ValueError(f"{what}: expected {count} class indices, one an example, got shape {array.shape}")
    if count and array.dtype.kind not in "iu":
        raise ValueError(f"{what}: expected integer class indices, got {array.dtype}")
    if count and array.min() < 0:
        raise ValueError(f"{what}: {array.min()} is no class index; leave examples without a label out")
    return array.astype(np.int64)


def _correct(predictions: Sequence[int], gold: Sequence[int]) -> Statistics:
    """[n, 2]: correct, total."""
    predicted, true = class_indices(predictions, gold)
    return np.stack([predicted == true, np.ones(len(true))], axis=1).astype(np.float64)


def _pairs(classes: int, predictions: Sequence[int], gold: Sequence[int]) -> Statistics:
    """[n, 2]: the class that was predicted, and the true one."""
    predicted, true = class_indices(predictions, gold)
    highest = max(predicted.max(initial=0), true.max(initial=0))
    if highest >= classes:
        raise ValueError(f"class index {highest} in a macro F1 of {classes} classes (0 to {classes - 1})")
    return np.stack([predicted, true], axis=1).astype(np.float64)


def _confusion(classes: int, predictions: Sequence[int], gold: Sequence[int]) -> Statistics:
    """[n, 3 * classes]: one-hot tp, fp, fn."""
    p, g = np.eye(classes)[_pairs(classes, predictions, gold).astype(np.int64).T]
    return np.concatenate([p * g, p * (1 - g), (1 - p) * g], axis=1)


def _mean_f1_of_pairs(statistics: Statistics) -> float:
    """[n, 2] of classes to the mean F1 of those that are there; 0 where none is."""
    pairs = statistics.astype(np.int64)
    present, place = np.unique(pairs, return_inverse=True)
    predicted, true = place.reshape(pairs.shape).T
    given, wanted, right = (
        np.bincount(classes, minlength=len(present)) for classes in (predicted, true, true[predicted == true])
    )
    return float((2 * right / (given + wanted)).mean()) if len(present) else 0.0


def mean_f1(statistics: Statistics) -> NDArray[np.float64]:
    """[..., n, 3 * classes] of tp, fp, fn to the mean F1 [...] of the classes in gold or in the predictions; else 0."""
    tp, fp, fn = np.split(column_sums(statistics), 3, axis=-1)
    denominator = 2 * tp + fp + fn
    return share(share(2 * tp, denominator).sum(axis=-1), (denominator > 0).sum(axis=-1))


def ratio_of_sums(statistics: Statistics) -> NDArray[np.float64]:
    """[..., n, 2] of (part, whole) to sums of parts / sums of wholes [...]; 0 where the whole is nothing."""
    sums = column_sums(statistics)
    return share(sums[..., 0], sums[..., 1])


def share(part: NDArray[np.float64], whole: NDArray[Any]) -> NDArray[np.float64]:
    """part / whole, element by element; 0 where the whole is nothing."""
    ratio: NDArray[np.float64] = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return ratio


accuracy = Metric("accuracy", "accuracy", _correct, ratio_of_sums)
"""Share of correct examples. Statistics are [n, 2]: correct, total."""
