"""A search, on the terminal and in rows: every rung with its files, what was chosen, and what was cut off and why."""

import math
import textwrap
from collections.abc import Iterator
from typing import TextIO

from rich.text import Text

from distill.formatting import DASH, duration, number, score, shorten
from distill.report.target import front_in_words, target_in_words
from distill.report.terminal import WIDTH, console_on, plain_table, print_list
from distill.results import Offer, Rung, Scale, Search, scale_of

TRAINED = {"full": "fully", "short": "a quarter", "failed": "no"}


def print_search(search: Search, stream: TextIO | None = None) -> None:
    """Prints the table of rungs and files, and below it the target, the front, and what was cut off."""
    console, scale = console_on(stream), scale_of(search.metric)
    table = plain_table()
    table.add_column("file", ratio=1, no_wrap=True, overflow="ellipsis", min_width=12)
    for head in ("trained", f"drop, {scale.steps}", "95 %", "MB", "p50, ms", "memory, MB", ""):
        table.add_column(head, justify="left" if head in ("trained", "") else "right", no_wrap=True)
    for rung, cells in all_rows(search):
        table.add_row(*map(Text, cells), style="dim" if rung.trained == "short" else "")
    console.print(Text(shorten(search.name, WIDTH), style="bold"))
    console.print(table)
    legend = "Drop: what is lost to the teacher on validation."
    if any(rung.trained == "short" for rung in search.rungs):
        legend += (
            " Trained for a quarter of the steps: cut off, since nothing that could come of it is better than what was "
            "chosen."
        )
    console.print(Text(textwrap.fill(legend, WIDTH), style="dim"))
    print_list(console, "Target", target_in_words(search.target, scale))
    print_list(console, "Front (drop, size, latency)", front_in_words(search.target, scale))
    print_list(console, "Trials", [f"{r.name}: {r.reason}" for r in search.rungs if r.trained == "full" and r.reason])
    print_list(console, "Cut off", [f"{r.name}: {r.reason}" for r in search.rungs if r.trained == "short"])
    print_list(console, "Left out", [f"{r.name}: {r.reason}" for r in search.rungs if r.trained == "failed"])
    took = (
        f"This search took {duration(search.seconds)}; all trainings of students {duration(search.training_seconds)}."
    )
    console.print(Text(took, style="dim"))


def all_rows(search: Search) -> Iterator[tuple[Rung, list[str]]]:
    """The teacher's files, then those of each rung."""
    of_teacher = Rung("teacher", "full", "", tuple(o for o in search.target.offers if o.model == "teacher"))
    for rung in (of_teacher, *search.rungs):
        for cells in rows_of(rung, search, scale_of(search.metric)):
            yield rung, cells


def rows_of(rung: Rung, search: Search, scale: Scale) -> Iterator[list[str]]:
    """A row a file; one where there is none."""
    trained = DASH if rung.name == "teacher" else TRAINED[rung.trained]
    if not rung.offers:
        yield [rung.name, trained, *[DASH] * 5, ""]
    for offer in rung.offers:
        own = rung.trained == "full"
        mark = "chosen" if own and search.target.limits and offer.name == search.target.chosen else ""
        mark = mark or ("front" if own and offer.name in search.target.front else "")
        yield [offer.name, trained, *drop_cells(offer, scale), *map(number, costs(offer)), mark]


def costs(offer: Offer) -> tuple[float, float, float]:
    """Size, latency, memory."""
    return offer.size_mb, offer.latency_ms, offer.memory_mb


def drop_cells(offer: Offer, scale: Scale) -> list[str]:
    """The estimate and its interval."""
    lost, low, high = (score(end / 100, scale.drops) for end in (offer.drop.value, offer.drop.low, offer.drop.high))
    return [lost, f"{low} to {high}" if math.isfinite(offer.drop.high) else DASH]
