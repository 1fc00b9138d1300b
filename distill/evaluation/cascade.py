"""Where a small model may answer in the place of a larger one: the threshold of a cascade."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from distill.evaluation.components import CONFIDENCE

STEPS = 100
"""Shares of calls that are tried, from all texts down to none."""
METHOD = (
    "one-sided 95 % score bound of a paired difference (Tango 1998); shares of calls are tested from all down, and the "
    "last one that holds is taken"
)


@dataclass(frozen=True)
class Threshold:
    """What a cascade does on the texts that its threshold was chosen on; drops are fractions of 1."""

    value: float
    """A text whose highest probability by the small model is below it is asked of the larger one."""
    calls: float
    """Share of the texts that are asked of the larger model."""
    drop: float
    """Share of right answers of the larger model minus that of the cascade."""
    bound: float
    """What the drop on other texts is at most."""


Flags = NDArray[np.bool_]


def choose_threshold(confidence: NDArray[np.float64], small: Flags, larger: Flags, max_drop: float) -> Threshold | None:
    """The threshold with the fewest calls at which the cascade is shown to lose no more than ``max_drop``.

    ``confidence`` [N] is the highest probability of each text by the small model; ``small`` and ``larger`` [N] say
    which answers of each are right. Shares of calls are tested in an order that is fixed beforehand, from all texts
    down, and the first that fails ends the search, so that the bound holds for the one that is taken as it does for
    each (fixed sequence testing, as in Angelopoulos et al. 2021, "Learn then Test"). The fewest calls of all whose
    bound is low enough would be too few: that one was looked for. None where not even the few texts on which the small
    model is surest show it. Raises ValueError for shapes that differ, no texts, and confidences that are no numbers.
    """
    n = len(confidence)
    if not n or not confidence.shape == small.shape == larger.shape or not np.isfinite(confidence).all():
        raise ValueError(f"expected [N] numbers, got {confidence.shape}, {small.shape} and {larger.shape}")
    order = np.argsort(confidence, kind="stable")
    rising = confidence[order]
    lost, won = (np.cumsum(one[order][::-1])[::-1] for one in (larger & ~small, small & ~larger))
    found = None
    for step in range(STEPS - 1, -1, -1):
        value = rising[step * n // STEPS]
        first = int(np.searchsorted(rising, value))
        only_larger, only_small = int(lost[first]), int(won[first])
        bound = upper_bound(only_larger, only_small, n)
        if bound > max_drop:
            break
        found = Threshold(float(value), first / n, (only_larger - only_small) / n, bound)
    return found


def upper_bound(only_one: int, only_other: int, total: int, confidence: float = CONFIDENCE) -> float:
    """What the share of right answers of one model is above that of another at most, on ``total`` texts of which
    ``only_one`` are answered right by the first alone and ``only_other`` by the second alone.

    The one-sided score bound: the d at which (b - c - n d) / sqrt(n (2 q + d (1 - d))) is minus the normal quantile,
    with q the likeliest share of texts that only the other answers right where the difference is d (Tango 1998,
    "Equivalence test and confidence interval for the difference in proportions for the paired-sample design"). It holds
    with few texts on which the models differ, and with none, where a t bound would be 0: there it is z² / (n + z²).
    Raises ValueError where there are fewer texts than counts.
    """
    if total < 1 or min(only_one, only_other) < 0 or only_one + only_other > total:
        raise ValueError(f"{only_one} and {only_other} of {total}: expected counts of at least one text")
    z = NormalDist().inv_cdf(confidence)
    low, high = (only_one - only_other) / total, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _score(only_one, only_other, total, middle) > -z:
            low = middle
        else:
            high = middle
    return high


def _score(b: int, c: int, n: int, d: float) -> float:
    """How many standard errors b - c is above what a true difference of ``d`` lets expect."""
    first, second, third = 2 * n, (2 * n - b + c) * d - b - c, -c * d * (1 - d)
    q = (math.sqrt(max(second * second - 4 * first * third, 0.0)) - second) / (2 * first)
    variance = n * (2 * q + d * (1 - d))
    return (b - c - n * d) / math.sqrt(variance) if variance > 0 else 0.0
