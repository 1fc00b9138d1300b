"""Which rows stand in a step, which of them a process takes, and how they are cut into forward passes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]

POOL = 50
"""Batches that are sorted by length together: enough to waste little on padding, few enough to stay random."""


def plan_epoch(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[Index]:
    """Row numbers of each batch of an epoch: shuffled, sorted by length inside pools, batches shuffled again.

    Every row stands in exactly one batch. The plan depends on nothing but its arguments.
    """
    random = np.random.default_rng([seed, epoch])
    length = np.asarray(lengths)
    order = random.permutation(len(length))
    batches: list[Index] = []
    for start in range(0, len(order), batch_size * POOL):
        pool = order[start : start + batch_size * POOL]
        pool = pool[np.argsort(length[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [batches[i] for i in random.permutation(len(batches))]


def cut(windows: Sequence[int], longest: Sequence[int], tokens: int) -> list[slice]:
    """Neighbouring examples as forward passes of at most ``tokens`` padded tokens: rows times the longest row.

    ``windows`` are the rows of each example, ``longest`` the tokens of its longest row. An example is never divided,
    since its windows give one answer together: one above the budget has a pass of its own.
    """
    cuts: list[slice] = []
    start = rows = width = 0
    for i, (more, length) in enumerate(zip(windows, longest, strict=True)):
        rows, width = rows + more, max(width, length)
        if i > start and rows * width > tokens:
            cuts.append(slice(start, i))
            start, rows, width = i, more, length
    if len(windows):
        cuts.append(slice(start, len(windows)))
    return cuts
