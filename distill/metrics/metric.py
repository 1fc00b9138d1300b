"""What a metric is: per-example sufficient statistics, and a reducer from their sums to a score."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Statistics = NDArray[np.float64]


def column_sums(statistics: Statistics) -> Statistics:
    """[..., n, K] to [..., K]; at once where rows are summed already."""
    sums: Statistics = statistics[..., 0, :] if statistics.shape[-2] == 1 else statistics.sum(axis=-2)
    return sums


@dataclass(frozen=True)
class Metric:
    """A score of n examples that is a function of one row of K numbers an example, so that it can be resampled.

    Leaving a text out means leaving its row out. Where ``additive`` holds, ``reduce`` depends on the column sums alone,
    takes summed rows ([1, K]) as well as [n, K], and many sets of rows at once: [..., n, K] to [...] scores.
    """

    name: str
    """As recipes and reports write it."""
    title: str
    """As people read it."""
    statistics: Callable[[Sequence[Any], Sequence[Any]], Statistics]
    """(predictions, gold), n of each, to [n, K]."""
    reduce: Callable[[Statistics], NDArray[np.float64] | float]
    """[n, K] to the score: a fraction of 1, a correlation, or what is better the lower it is with a minus, so that a
    score is better the higher it is."""
    additive: bool = True
    least: float = 0.0
    """The lowest score there is."""
    greatest: float = 1.0
    """The highest score there is."""

    def score(self, predictions: Sequence[Any], gold: Sequence[Any]) -> float:
        """The score of n predictions. Raises ValueError for no examples, unequal counts, or a score not finite."""
        if not len(gold):
            raise ValueError(f"{self.name} of no examples: at least one is needed")
        score = float(self.reduce(self.statistics(predictions, gold)))
        if not math.isfinite(score):
            raise ValueError(f"{self.name} is {score} over {len(gold):,} examples, expected a finite number")
        return score
