"""Work ahead on a thread: the same order, the same errors, and an end."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from distill.training.ahead import ahead


def _threads() -> int:
    return sum(thread.name == "ahead" for thread in threading.enumerate())


def _numbers(count: int, made: list[int]) -> Iterator[int]:
    for i in range(count):
        made.append(i)
        yield i


def test_items_come_in_order_and_the_thread_ends_with_them() -> None:
    made: list[int] = []
    assert list(ahead(_numbers(100, made), 3)) == list(range(100))
    assert made == list(range(100))
    assert list(ahead([])) == []
    assert _threads() == 0


def test_they_are_made_elsewhere_and_no_more_of_them_than_the_depth_before_they_are_asked_for() -> None:
    made: list[int] = []
    makers: set[int] = set()

    def numbers() -> Iterator[int]:
        for i in _numbers(50, made):
            makers.add(threading.get_ident())
            yield i

    with closing(ahead(numbers(), 3)) as items:
        next(items)
        deadline = time.monotonic() + 5
        while len(made) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        assert len(made) == 5  # one taken, three that wait, one in hand
    assert makers
    assert threading.get_ident() not in makers
    assert _threads() == 0  # also where it was left half way


def test_what_the_making_raises_is_raised_in_its_place() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("no row")

    seen = []
    with pytest.raises(KeyError, match="no row"):  # noqa: PT012
        for item in ahead(broken()):
            seen.append(item)
    assert seen == [1, 2]
    assert _threads() == 0
