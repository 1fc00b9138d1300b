"""What a stage costs where it is stopped and goes on, and what a killed process leaves."""

import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from distill.errors import UserError
from distill.results import Figure
from distill.stages import costs
from distill.stages.artifacts import Artifacts
from distill.stages.costs import Stretch, energy_of
from distill.stages.stage import Stage
from distill.training.devices import Machine

CPU = Machine("cpu", "fp32", "as asked for", 1)


class Meter:
    """Each stretch takes 10 s and 3 J, half of it until it is asked in between."""

    def __enter__(self) -> "Meter":
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds, self.figure = 10.0, Figure(3.0, "J", "estimated", "a guess")

    def so_far(self) -> tuple[float, Figure]:
        return 5.0, Figure(1.5, "J", "estimated", "a guess")


@dataclass(frozen=True)
class Work(Stage):
    """Does what a test says."""

    name: ClassVar[str] = "work"
    rooms: ClassVar[tuple[str, ...]] = ()
    libraries: ClassVar[tuple[str, ...]] = ()
    does: ClassVar[Callable[[Path], Any]] = lambda folder: None

    @property
    def what(self) -> str:
        return "some work"

    def content(self, machine: Machine) -> dict[str, Any]:
        return {}

    def compute(self, folder: Path, machine: Machine) -> None:
        type(self).does(folder)


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts", CPU, Meter)


def fail(error: BaseException) -> Callable[[Path], None]:
    def does(folder: Path) -> None:
        raise error

    return does


def test_a_stage_that_was_stopped_costs_all_its_stretches(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error in (KeyboardInterrupt(), ValueError("x"), UserError("y")):
        monkeypatch.setattr(Work, "does", fail(error))
        with pytest.raises(type(error)):
            artifacts.get(Work())
    monkeypatch.setattr(Work, "does", lambda folder: None)
    done = artifacts.get(Work())
    assert done.cost.seconds == 3 * 5 + 10
    assert done.cost.energy.value == 3 * 1.5 + 3
    assert done.cost.energy.how == "estimated"
    assert "sum of 4 stretches, as the stage was stopped" in done.cost.energy.method
    assert artifacts.get(Work()).cost.seconds == 25  # and it says so again
    assert sorted(path.name for path in done.directory.iterdir()) == ["done.json"]


def test_a_process_that_is_killed_leaves_what_it_took(artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is looked at as it would be left."""
    monkeypatch.setattr(costs, "RECORD_SECONDS", 0.01)
    left: list[str] = []

    def does(folder: Path) -> None:
        file = folder / "spent-0.json"
        for _ in itertools.takewhile(lambda _: not file.is_file(), range(500)):
            time.sleep(0.01)
        left.append(file.read_text())

    monkeypatch.setattr(Work, "does", does)
    artifacts.get(Work())
    assert json.loads(left[0])[0]["seconds"] == 5


def test_a_stage_that_was_not_stopped_costs_what_its_meter_says(artifacts: Artifacts) -> None:
    cost = artifacts.get(Work()).cost
    assert (cost.seconds, cost.energy) == (10, Figure(3.0, "J", "estimated", "a guess"))


@pytest.mark.parametrize(
    ("second", "processes", "reason"),
    [
        (Figure(1.0, "J", "measured", "RAPL"), 1, "not every one of 2 stretches"),
        (Figure(None, "J", "unavailable", "no counter"), 1, "not every one of 2 stretches"),
        (Figure(1.0, "J", "estimated", "a guess"), 2, "another number of processes"),
    ],
)
def test_stretches_that_do_not_add_up_are_unavailable(second: Figure, processes: int, reason: str) -> None:
    first = Stretch(1.0, Figure(1.0, "J", "estimated", "a guess"), 1)
    found = energy_of([first, Stretch(1.0, second, processes)])
    assert (found.value, found.how) == (None, "unavailable")
    assert reason in found.method


def test_what_a_killed_process_left_half_written_is_swept(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(folder: Path) -> None:
        (folder / "onnx" / ".model.onnx.abc123").mkdir(parents=True)
        (folder / "onnx" / ".model.onnx.abc123" / "exported.onnx").write_text("half")
        (folder / ".state.pt.tmp").write_text("half")
        (folder / "onnx" / "model.onnx").write_text("whole")
        raise InterruptedError

    monkeypatch.setattr(Work, "does", die)
    with pytest.raises(InterruptedError):
        artifacts.get(Work())
    monkeypatch.setattr(Work, "does", lambda folder: None)
    directory = artifacts.get(Work()).directory
    assert sorted(str(p.relative_to(directory)) for p in directory.rglob("*")) == [
        "done.json",
        "onnx",
        "onnx/model.onnx",
    ]


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")])
def test_memory_that_does_not_suffice_is_told(
    artifacts: Artifacts, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Work, "does", fail(error))
    keys = r"lower train\.tokens, teacher\.train\.tokens, compression\.train\.tokens or data\.max_length"
    with pytest.raises(UserError, match=rf"some work: out of memory on this cpu .*{keys}"):
        artifacts.get(Work())


@pytest.mark.parametrize(
    ("precision", "kind", "words"),
    [("bf16", UserError, r"some work: .*bf16 .*set precision=fp32"), ("fp32", RuntimeError, "without overflow")],
)
def test_a_model_that_does_not_compute_in_bf16_is_told_what_to_set(
    precision: str, kind: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("value cannot be converted to type c10::BFloat16 without overflow")
    monkeypatch.setattr(Work, "does", fail(error))
    with pytest.raises(kind, match=words):
        Artifacts(tmp_path, replace(CPU, precision=precision), Meter).get(Work())
