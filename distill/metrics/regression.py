"""Metrics over numbers, one an example: how well predictions follow gold, whatever their scale."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distill.metrics.metric import Metric, Statistics, column_sums


def average_ranks(values: ArrayLike) -> NDArray[np.float64]:
    """[n] numbers to their ranks, 1 for the lowest; equal numbers share the mean of theirs."""
    array = np.asarray(values)
    order = np.argsort(array)
    ranked = array[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    ends = np.append(starts[1:], len(array))
    ranks = np.empty(len(array))
    ranks[order] = np.repeat((starts + 1 + ends) / 2, ends - starts)
    return ranks


def _pairs(predictions: Sequence[float] | Statistics, gold: Sequence[float] | Statistics) -> Statistics:
    """[n, 2]: prediction, gold. Raises ValueError where they are not equally many finite numbers."""
    columns = []
    for what, values in (("predictions", predictions), ("gold", gold)):
        column = np.asarray(values, dtype=np.float64)
        if column.shape != (len(gold),) or not np.isfinite(column).all():
            raise ValueError(f"{what}: expected {len(gold)} finite numbers, one an example, got shape {column.shape}")
        columns.append(column)
    return np.stack(columns, axis=1)


def _moments(predictions: Sequence[float] | Statistics, gold: Sequence[float] | Statistics) -> Statistics:
    """[n, 6]: 1, x, y, x^2, y^2, x y."""
    x, y = _pairs(predictions, gold).T
    return np.stack([np.ones(len(x)), x, y, x * x, y * y, x * y], axis=1)


def _pearson(statistics: Statistics) -> NDArray[np.float64]:
    n, *sums = np.moveaxis(column_sums(statistics), -1, 0)
    x, y, xx, yy, xy = np.stack(sums) / np.where(n > 0, n, 1)
    x_variance, y_variance = xx - x * x, yy - y * y
    # what sums of n numbers can round by: below it they are all the same, or float64 cannot tell
    rounding = n * np.finfo(np.float64).eps
    told = (x_variance > rounding * xx) & (y_variance > rounding * yy)
    spread = np.sqrt(np.where(told, x_variance * y_variance, 1))
    return np.where(told, np.clip((xy - x * y) / spread, -1.0, 1.0), 0.0)


def _spearman(statistics: Statistics) -> float:
    x, y = (average_ranks(column) - (len(column) + 1) / 2 for column in statistics.T)  # minus the mean rank
    spread = np.sqrt((x @ x) * (y @ y))
    return float(np.clip(x @ y / spread, -1.0, 1.0)) if spread else 0.0


pearson = Metric("pearson", "Pearson correlation", _moments, _pearson, least=-1.0)
"""Pearson's correlation, in [-1, 1]; 0 where predictions or gold are all the same. Statistics are [n, 6].

From sums of squares in float64, exact to 1e-6 where the numbers spread by 1e-4 of their size or more; where they spread
by less than about 1e-6 of it, the result is 0.
"""

spearman = Metric("spearman", "Spearman correlation", _pairs, _spearman, additive=False, least=-1.0)
"""Pearson's correlation of the ranks, equal numbers sharing their mean rank; 0 where predictions or gold are all the
same. Statistics are [n, 2]: prediction, gold."""
