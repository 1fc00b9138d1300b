"""The order of an epoch."""

import tracemalloc

import numpy as np
import pytest

from distill.training.planning import POOL, Epoch


def _lengths(count: int) -> list[int]:
    return np.random.default_rng(0).integers(1, 100, count).tolist()


@pytest.mark.parametrize(
    ("rows", "batch_size"), [(1, 8), (8, 8), (9, 8), (1000, 16), (2000, 4), (0, 4), (POOL * 4 + 1, 4)]
)
def test_every_row_stands_in_exactly_one_batch(rows: int, batch_size: int) -> None:
    plan = Epoch(_lengths(rows), batch_size, 0, 0)
    assert sorted(np.concatenate(plan).tolist() if plan else []) == list(range(rows))
    assert len(plan) == -(-rows // batch_size)
    assert all(0 < len(batch) <= batch_size for batch in plan)


@pytest.mark.parametrize(("rows", "batch_size"), [(1, 8), (1000, 16), (POOL * 12 + 5, 4)])
def test_a_batch_is_the_one_that_a_whole_plan_has_in_its_place(rows: int, batch_size: int) -> None:
    lengths, random = np.array(_lengths(rows)), np.random.default_rng([7, 2])
    order, whole = random.permutation(rows), []
    for start in range(0, rows, batch_size * POOL):
        pool = order[start : start + batch_size * POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        whole += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    plan = Epoch(lengths.tolist(), batch_size, 7, 2)
    assert [batch.tolist() for batch in plan] == [whole[i].tolist() for i in random.permutation(len(whole))]


def test_a_plan_of_many_rows_holds_little_more_than_their_order() -> None:
    lengths = np.full(100_000, 7, dtype=np.int32)
    tracemalloc.start()
    plan = Epoch(lengths, 32, 0, 0)
    plan[5]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * len(lengths)


def test_the_plan_follows_from_its_arguments_alone() -> None:
    def flat(seed: int, epoch: int) -> list[list[int]]:
        np.random.seed(seed + 7 * epoch)  # noqa: NPY002 - the global generator plays no part
        return [batch.tolist() for batch in Epoch(_lengths(300), 8, seed, epoch)]

    assert flat(0, 0) == flat(0, 0)
    assert flat(0, 0) != flat(0, 1)
    assert flat(0, 0) != flat(1, 0)
    assert flat(0, 1) != flat(1, 0)


def test_the_rows_of_a_batch_are_of_similar_length() -> None:
    lengths = np.array(_lengths(2000))
    plan = Epoch(lengths.tolist(), 16, 0, 0)
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in plan)
    assert padded < 1.1 * lengths.sum()
    random = np.random.default_rng(1).permutation(2000).reshape(-1, 16)
    assert sum(16 * int(lengths[batch].max()) for batch in random) > 1.7 * lengths.sum()


def test_short_batches_do_not_come_first() -> None:
    lengths = np.array(_lengths(800))
    means = [lengths[batch].mean() for batch in Epoch(lengths.tolist(), 16, 0, 0)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.4
