"""What a static student starts from, made once for all arms and seeds."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from distill.config import StaticStudent
from distill.stages.artifacts import Artifact
from distill.stages.context import Run, Signal, StudentTexts
from distill.stages.stage import TRAINING_LIBRARIES, Stage
from distill.stages.tokens import Tokens, tokens_of
from distill.tasks import Task
from distill.text import Reading
from distill.training.devices import Machine


@dataclass(frozen=True)
class MakeVectors(Stage):
    """A vector and a weight for each piece of the student's vocabulary."""

    name: ClassVar[str] = "vectors"
    rooms: ClassVar[tuple[str, ...]] = ("models", "text", "tasks", "runtime/forward.py")
    libraries: ClassVar[tuple[str, ...]] = TRAINING_LIBRARIES
    on_device: ClassVar[bool] = True

    teacher: Artifact | None
    """None where the vectors are random numbers."""
    start: Literal["layers", "embeddings", "random"]
    size: int
    reading: Reading
    task: Task
    texts: Tokens
    """Whose tokens are counted."""

    @property
    def what(self) -> str:
        """In words."""
        return "token vectors of the student"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves a :class:`~distill.models.TokenVectors`."""
        from distill.models import TokenVectors, frequency_weights, load_model, vectors_of_teacher

        weights = frequency_weights(self.texts.encoded, self.reading.vocabulary_size)
        vectors = np.full((len(weights), self.size), np.nan, dtype=np.float32)
        if self.start != "random":
            assert self.teacher is not None
            teacher = load_model(self.teacher.directory / "model", self.task)
            teacher.model.to(machine.place)
            vectors = vectors_of_teacher(teacher, self.start, self.size, self.reading)
        TokenVectors(vectors, weights).save(folder)


def make_vectors(this: Run, texts: StudentTexts, signal: Signal) -> Artifact | None:
    """What a static student starts from; None for any other one."""
    student = this.config.student
    if not isinstance(student, StaticStudent):
        return None
    return this.artifacts.get(
        MakeVectors(
            teacher=None if student.start == "random" else signal.teacher.model,
            start=student.start,
            size=student.architecture.embedding_size,
            reading=texts.reading,
            task=texts.task,
            texts=tokens_of(this, texts, texts.training),
        )
    )
