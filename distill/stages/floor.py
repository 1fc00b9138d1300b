"""The floors: small models of another kind, that a student has to be worth more than."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from distill.data import Part
from distill.stages.artifacts import Artifact, save_units
from distill.stages.context import Lesson, Run, Signal, Streamed, Texts
from distill.stages.findings import StaticFloor
from distill.stages.stage import Stage
from distill.stages.students import train_arm
from distill.stages.texts import prepare_student
from distill.stages.vectors import make_vectors
from distill.tasks import Task
from distill.training.devices import Machine


@dataclass(frozen=True)
class FitLinear(Stage):
    """The linear model, and its answers on held-out texts."""

    name: ClassVar[str] = "linear"
    rooms: ClassVar[tuple[str, ...]] = ("training/linear.py", "tasks", "metrics", "text")
    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn", "numpy")

    task: Task
    texts: Part
    validation: Part
    held_out: Part

    @property
    def what(self) -> str:
        """In words."""
        return "linear floor"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves ``result.json`` and the answers on each held-out split."""
        from distill.training import fit_linear

        floor = fit_linear(self.task, self.texts.examples, self.validation.examples)
        for split in self.held_out.splits:
            if examples := self.held_out.of(split):
                save_units(folder / f"{split}.npz", floor.units(examples))
        result = {
            "validation": floor.validation,
            "parameters": floor.parameters,
            "regularization": floor.regularization,
            "thresholds": floor.task.thresholds,
            "method": floor.method,
        }
        (folder / "result.json").write_text(json.dumps(result))


def fit_floor(this: Run, texts: Texts) -> Artifact | None:
    """TF-IDF and a linear model on the labelled texts, where the recipe has that arm."""
    if "linear" not in this.config.arms:
        return None
    train, validation = (texts.dataset.part(split) for split in ("train", "validation"))
    return this.artifacts.get(FitLinear(texts.task, train, validation, texts.held_out))


def train_static(this: Run, texts: Texts, signal: Signal, streamed: Streamed | None) -> StaticFloor | None:
    """A static student, where the recipe has that arm."""
    if this.config.static is None:
        return None
    aside = dataclasses.replace(this, config=this.config.static)
    own = prepare_student(aside, texts, None)
    vectors = make_vectors(aside, own, signal)
    lesson = Lesson(own, signal, None, vectors=vectors, streamed=streamed)
    arm = train_arm(aside, lesson, aside.config.arms[-1], "static floor", fixed_rate=True)
    return StaticFloor(dataclasses.replace(arm, name="static"), own, vectors)
