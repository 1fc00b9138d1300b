"""Which of the teacher's feed-forward units matter, found once for all arms and seeds."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from distill.config import LayersStudent
from distill.stages.artifacts import Artifact
from distill.stages.context import Run, Signal, Texts
from distill.stages.stage import TRAINING_LIBRARIES, TRAINING_ROOMS, Stage
from distill.stages.tokens import Tokens, tokens_of
from distill.tasks import Task
from distill.text import Reading
from distill.training.devices import Machine


@dataclass(frozen=True)
class RankUnits(Stage):
    """How much the loss on labelled texts depends on each unit of the teacher."""

    name: ClassVar[str] = "importance"
    rooms: ClassVar[tuple[str, ...]] = TRAINING_ROOMS
    libraries: ClassVar[tuple[str, ...]] = TRAINING_LIBRARIES
    on_device: ClassVar[bool] = True

    teacher: Artifact
    reading: Reading
    task: Task
    texts: Tokens

    @property
    def what(self) -> str:
        """In words."""
        return "importance of the teacher's feed-forward units"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves ``importance.npy``, [layers, units]."""
        from distill.models import load_model
        from distill.training.importance import unit_importance

        teacher = load_model(self.teacher.directory / "model", self.task).model.to(machine.place)
        np.save(folder / "importance.npy", unit_importance(teacher, self.texts.rows(self.task, self.reading)))


def rank_units(this: Run, texts: Texts, signal: Signal) -> Artifact | None:
    """What a student of the teacher's layers chooses its units by; None where it keeps all of them."""
    student, teacher = this.config.student, signal.teacher.model
    if not isinstance(student, LayersStudent) or student.feed_forward_share == 1 or teacher is None:
        return None
    tokens = tokens_of(this, texts, texts.dataset.part("train"))
    return this.artifacts.get(RankUnits(teacher, texts.reading, texts.task, tokens))
