"""What a metric is: per-example sufficient statistics, and a reducer from their sums to a score."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Statistics = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """A score of n examples that is a function of one row of K numbers an example, so that it can be resampled.

    Resampling texts means resampling rows. Where ``additive`` holds, ``reduce`` depends on the column sums alone, takes
    summed rows ([1, K]) as well as [n, K], and also rows weighted by how often a text was drawn.
    """

    name: str
    """As recipes and reports write it."""
    title: str
    """As people read it."""
    statistics: Callable[[Sequence[Any], Sequence[Any]], Statistics]
    """(predictions, gold), n of each, to [n, K]."""
    reduce: Callable[[Statistics], float]
    """[n, K] to the score, for all metrics here a fraction of 1, or a correlation."""
    additive: bool = True
    alike: Callable[[Statistics], Statistics] | None = None
    """Where ``reduce`` overlooks scale or offset of a system's predictions: [n, K] with these put to a common one, so
    that rows of two systems can be exchanged. The score stays the same."""

    def score(self, predictions: Sequence[Any], gold: Sequence[Any]) -> float:
        """The score of n predictions. Raises ValueError for no examples, unequal counts, or a score not finite."""
        if not len(gold):
            raise ValueError(f"{self.name} of no examples: at least one is needed")
        score = float(self.reduce(self.statistics(predictions, gold)))
        if not math.isfinite(score):
            raise ValueError(f"{self.name} is {score} over {len(gold):,} examples, expected a finite number")
        return score
