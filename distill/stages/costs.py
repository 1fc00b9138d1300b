"""What a stage costs, over every stretch that it was computed in: a stage that was stopped goes on, and so does its
bill."""

import contextlib
import dataclasses
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.results import Figure, write_aside

RECORD_SECONDS = 5.0
"""A process that is killed leaves the costs of a stretch as they were so long ago at most."""


@dataclass(frozen=True)
class Stretch:
    """What one process took from a start of a stage to its end, or to where it was stopped."""

    seconds: float
    energy: Figure
    processes: int
    """How many shared the stage."""


def stretches_in(file: Path) -> list[Stretch]:
    """Those that :func:`counted` kept."""
    kept = json.loads(file.read_text(encoding="utf-8"))
    return [Stretch(one["seconds"], Figure(**one["energy"]), one["processes"]) for one in kept]


@contextlib.contextmanager
def counted(file: Path, meter: Any, processes: int) -> Iterator[list[Stretch]]:
    """Meters what is done inside, and keeps it in ``file`` behind the stretches that stand there. Gives all of them,
    complete when the block ends."""
    stretches = stretches_in(file) if file.is_file() else []
    done = threading.Event()

    def record() -> None:
        seconds, energy = meter.so_far()
        kept = [*stretches, Stretch(seconds, energy, processes)]
        with contextlib.suppress(OSError):  # a full disk ends what is computed, not what it costs
            write_aside(file, json.dumps([dataclasses.asdict(one) for one in kept]))

    def keep_up() -> None:
        while not done.wait(RECORD_SECONDS):
            record()

    thread = threading.Thread(target=keep_up, daemon=True)
    with meter:
        thread.start()
        try:
            yield stretches
        except BaseException:
            done.set()
            thread.join()
            record()
            raise
        done.set()
        thread.join()
        record()
    stretches.append(Stretch(meter.seconds, meter.figure, processes))


def energy_of(stretches: Sequence[Stretch]) -> Figure:
    """Energy of all stretches of one process."""
    if len(stretches) == 1:
        return stretches[0].energy
    if len({one.processes for one in stretches}) > 1:
        why = "the stage went on with another number of processes than it began with"
        return Figure(None, stretches[0].energy.unit, "unavailable", why)
    return added([one.energy for one in stretches], f"{len(stretches)} stretches, as the stage was stopped or had help")


def of_processes(figures: Sequence[Figure], device: str) -> Figure:
    """Energy of a stage that each of P processes computed, from what each found: the sum, but for a counter of the
    processor, which counts the work of all processes anyway."""
    if len(figures) == 1 or (device == "cpu" and figures[0].how == "measured"):
        return figures[0]
    return added(figures, f"{len(figures)} processes")


def added(figures: Sequence[Figure], of: str) -> Figure:
    """The sum of figures of one kind; unavailable where one is missing, or they were not obtained in the same way.
    ``of`` says in words what they are figures of."""
    first = figures[0]
    values = [figure.value for figure in figures if figure.value is not None]
    if len(values) < len(figures) or len({figure.how for figure in figures}) > 1:
        return Figure(None, first.unit, "unavailable", f"not every one of {of} could be measured")
    return dataclasses.replace(first, value=sum(values), method=f"sum of {of}; the first: {first.method}")
