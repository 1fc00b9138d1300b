"""Progress changes nothing about the work, and stays quiet where there is little of it."""

import itertools
import sys
from collections.abc import Iterator

import pytest

from distill import progress
from distill.progress import say, track


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds between two looks at the clock, which never waits."""
    step = [1.0]
    now = itertools.count()
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now) * step[0])
    return step


def test_everything_comes_in_order_from_lists_ranges_and_iterators() -> None:
    assert list(track([3, 1, 2], "x")) == [3, 1, 2]
    assert list(track(range(5), "x")) == list(range(5))
    assert list(track(iter("abc"), "x")) == ["a", "b", "c"]
    assert list(track(iter("abc"), "x", 3)) == ["a", "b", "c"]
    assert list(track([], "x")) == []


def test_items_are_taken_one_by_one() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(3):
            taken.append(i)
            yield i

    for i in track(items(), "x"):
        assert taken == list(range(i + 1))


def test_short_work_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    list(track(range(1000), "quick"))
    assert capsys.readouterr() == ("", "")


def test_long_work_says_in_a_log_what_is_done_and_how_long_is_left(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    clock[0] = 11.0
    assert list(track(range(4), "label texts")) == [0, 1, 2, 3]
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "label texts: 1/4, 0:33 left"
    assert lines[3] == "label texts: 4/4, 0:00 left"
    assert lines[4].startswith("label texts: 4/4 in 0:")
    assert "\r" not in err


def test_work_of_unknown_length_is_counted(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    clock[0] = 11.0
    list(track(iter("ab"), "read"))
    assert capsys.readouterr().err.splitlines()[0] == "read: 1"


def test_a_log_gets_a_line_every_few_seconds_only(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    list(track(range(100), "work"))  # one second an item
    assert 9 <= len(capsys.readouterr().err.splitlines()) <= 11


def test_a_terminal_shows_one_bar_that_is_cleared(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    list(track(range(6), "work"))
    err = capsys.readouterr().err
    assert "3/6, 0:03 left" in err
    assert err.count("\n") == 1
    assert err.splitlines()[-1].startswith("\r\033[K") or "\r\033[Kwork: 6/6 in" in err


def test_an_error_in_the_work_reaches_the_caller_and_the_line_is_ended(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    clock[0] = 11.0
    with pytest.raises(ZeroDivisionError):
        list(track((1 / i for i in (2, 1, 0)), "divide"))
    assert capsys.readouterr().err.splitlines()[-1].startswith("divide: 2 in")


def test_leaving_early_ends_the_line_too(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    clock[0] = 11.0
    items = track(range(9), "search")
    for i in items:
        if i == 2:
            break
    items.close()  # type: ignore[attr-defined]
    assert capsys.readouterr().err.splitlines()[-1].startswith("search: 2/9 in")


def test_say_prints_a_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("done")
    assert capsys.readouterr() == ("", "done\n")


def test_of_several_processes_the_main_one_alone_speaks(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    say("a")
    assert list(track(range(9), "x")) == list(range(9))
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("RANK", "0")
    say("a")
    assert capsys.readouterr().err == "a\n"
