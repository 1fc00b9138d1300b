"""Energy of a stage that several processes computed."""

import pytest

from distill.results import Figure
from distill.stages.costs import of_processes


def joules(value: float | None, how: str = "estimated") -> Figure:
    return Figure(value, "J", how, "a method")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("figures", "device", "value", "how"),
    [
        ([joules(3)], "cpu", 3, "estimated"),
        ([joules(3), joules(4)], "cpu", 7, "estimated"),  # CPU seconds are each process's own
        ([joules(3, "measured"), joules(4, "measured")], "cpu", 3, "measured"),  # a processor's counter sees all
        ([joules(3, "measured"), joules(4, "measured")], "cuda", 7, "measured"),  # each has a GPU of its own
        ([joules(3, "measured"), joules(None, "unavailable")], "cuda", None, "unavailable"),
        ([joules(3, "measured"), joules(4)], "cuda", None, "unavailable"),
    ],
)
def test_energy_of_processes_is_counted_once(figures: list[Figure], device: str, value: float | None, how: str) -> None:
    found = of_processes(figures, device)
    assert (found.value, found.how, found.unit) == (value, how, "J")
