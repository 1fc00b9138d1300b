"""Progress on stderr: a bar on a terminal, a line every few seconds in a log, nothing for short work.

Of several processes that share a run, the main one alone speaks.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")

QUIET_SECONDS = 1.5
LOG_SECONDS = 10.0


def speaks() -> bool:
    """Whether this process is the one that prints: the only one, or the main one of those that a launcher started."""
    return os.environ.get("RANK", "0") == "0"


def say(message: str) -> None:
    """Prints one line of progress on stderr."""
    if speaks():
        print(message, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yields from ``items`` while showing what is being done and how long is left.

    Work that ends within ``QUIET_SECONDS`` shows nothing.
    """
    if not speaks():
        yield from items
        return
    if total is None and isinstance(items, Sized):
        total = len(items)
    terminal = sys.stderr.isatty()
    start = shown = time.monotonic()
    done = 0
    drawn = False
    try:
        for item in items:
            yield item
            done += 1
            now = time.monotonic()
            if now - start < QUIET_SECONDS or now - shown < (0.2 if terminal else LOG_SECONDS):
                continue
            shown, drawn = now, True
            left = f", {_clock((now - start) / done * (total - done))} left" if total else ""
            if terminal and total:
                filled = round(24 * min(done / total, 1.0))
                bar = "━" * filled + "╌" * (24 - filled)
                print(f"\r\033[K{description} {bar} {done}/{total}{left}", end="", file=sys.stderr, flush=True)
            else:
                say(f"{description}: {done}{f'/{total}' if total else ''}{left}")
    finally:
        if drawn and terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        if drawn:
            say(f"{description}: {done}{f'/{total}' if total else ''} in {_clock(time.monotonic() - start)}")
