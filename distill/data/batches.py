"""Batches of similar length, in an order that a seed fixes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

POOL = 50
"""Batches that are sorted by length together: enough to waste little on padding, few enough to stay random."""


def plan_epoch(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Row numbers of each batch of an epoch: shuffled, sorted by length inside pools, batches shuffled again.

    Every row stands in exactly one batch. The plan depends on nothing but its arguments.
    """
    random = np.random.default_rng([seed, epoch])
    length = np.asarray(lengths)
    order = random.permutation(len(length))
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(order), batch_size * POOL):
        pool = order[start : start + batch_size * POOL]
        pool = pool[np.argsort(length[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [batches[i] for i in random.permutation(len(batches))]
