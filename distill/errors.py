"""The one exception that speaks to a person instead of a programmer."""

import contextlib
import difflib
import reprlib
from collections.abc import Iterable, Iterator
from typing import Any

SHOWN = 12
"""Choices that an error lists at most."""


class UserError(Exception):
    """Bad input. The message says what was given, what was expected and how to mend it.

    The command line prints it without a traceback and exits with status 2.
    """


def nearest(word: str, choices: Iterable[str]) -> str:
    """A clause such as ``; did you mean 'soft'?``, or the choices themselves where none is near."""
    known = sorted(map(str, choices))
    close = difflib.get_close_matches(str(word), known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    shown = ", ".join(known[:SHOWN]) + (f" and {len(known) - SHOWN} more" if len(known) > SHOWN else "")
    return f"; known: {shown}" if known else ""


def shown(value: Any) -> str:
    """Any value as a message shows it: on one line, and short."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 60
    try:
        return short.repr(value)
    except (ValueError, RecursionError):  # a number of more digits than Python writes
        return f"a value of the type {type(value).__name__}"


@contextlib.contextmanager
def about(what: str) -> Iterator[None]:
    """Says what a UserError is about that is raised inside, unless ``what`` is empty."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{what}: {error}" if what else str(error)) from error
