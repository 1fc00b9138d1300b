"""Which rows stand in a step, which of them a process takes, and how they are cut into forward passes."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]

POOL = 50
"""Batches that are sorted by length together: enough to waste little on padding, few enough to stay random."""


class Epoch:
    """Row numbers of each batch of an epoch: shuffled, sorted by length inside pools, batches shuffled again.

    Every row stands in exactly one batch. The plan depends on nothing but its arguments. It holds 4 bytes a row and 8 a
    batch: a pool is sorted when one of its batches is asked for.
    """

    def __init__(self, lengths: Sequence[int] | NDArray[np.int32], batch_size: int, seed: int, epoch: int) -> None:
        random = np.random.default_rng([seed, epoch])
        self.lengths = np.asarray(lengths)
        """[N]"""
        self.batch_size = batch_size
        self.order = np.arange(len(self.lengths), dtype=np.uint32)
        random.shuffle(self.order)
        self.batches = random.permutation(math.ceil(len(self.order) / batch_size))
        """Numbers of the batches, as the pools have them one behind another."""

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Index:
        """[B] of int64"""
        number, place = divmod(int(self.batches[index]), POOL)
        pool = self.order[number * self.batch_size * POOL :][: self.batch_size * POOL].astype(np.int64)
        pool = pool[np.argsort(self.lengths[pool], kind="stable")]
        return pool[place * self.batch_size :][: self.batch_size]


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
