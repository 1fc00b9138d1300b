"""Which parts of the teacher matter, found once for all arms and seeds."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from distill.config import LayersStudent
from distill.stages.artifacts import Artifact
from distill.stages.context import Run, Signal, Texts, open_store
from distill.stages.stage import TRAINING_LIBRARIES, TRAINING_ROOMS, Stage
from distill.stages.tokens import Tokens, tokens_of
from distill.tasks import Task
from distill.text import Reading
from distill.training.devices import Machine


@dataclass(frozen=True)
class RankParts(Stage):
    """How much the loss on training texts depends on each part of the teacher."""

    name: ClassVar[str] = "importance"
    rooms: ClassVar[tuple[str, ...]] = TRAINING_ROOMS
    libraries: ClassVar[tuple[str, ...]] = TRAINING_LIBRARIES
    on_device: ClassVar[bool] = True

    teacher: Artifact
    reading: Reading
    task: Task
    texts: Tokens
    units: bool
    """Whether of feed-forward units."""
    width: bool
    """Whether of attention heads and states."""
    signal: Artifact | None = None
    """What the teacher says of the texts, where they have no labels."""

    @property
    def what(self) -> str:
        """In words."""
        return "importance of the teacher's parts"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves ``importance.npz``."""
        from distill.models import load_model
        from distill.training.importance import importance_of
        from distill.training.signal import Stored

        teacher = load_model(self.teacher.directory / "model", self.task).model.to(machine.place)
        rows = self.texts.rows(self.task, self.reading)
        signal = None if self.signal is None else Stored(open_store(self.signal), self.texts.examples)
        importance_of(teacher, rows, self.units, self.width, signal=signal).save(folder / "importance.npz")


def rank_parts(this: Run, texts: Texts, signal: Signal) -> Artifact | None:
    """What a student of the teacher's layers chooses its parts by; None where it keeps all of them."""
    student, teacher = this.config.student, signal.teacher.model
    if not isinstance(student, LayersStudent) or not student.narrowed or teacher is None:
        return None
    tokens = tokens_of(this, texts, texts.dataset.part("train"))
    units, width = student.feed_forward_share < 1, student.width_share < 1
    answers = signal.answers if this.config.data.label is None else None
    return this.artifacts.get(RankParts(teacher, texts.reading, texts.task, tokens, units, width, answers))
