"""What can be known to fail of a compression before the teacher is trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from distill.config import (
    CompressionStep,
    Config,
    InsideTerm,
    LayersStudent,
    LowRankStep,
    PretrainedTeacher,
    PruneStep,
    QuantizationAwareStep,
    TransformerStudent,
    TransformerTeacher,
)
from distill.config.schema import CALIBRATED
from distill.errors import UserError, about
from distill.stages.artifacts import Artifact
from distill.stages.context import Run, Texts, kept_of
from distill.stages.stage import Stage
from distill.stages.texts import prepare_student
from distill.tasks import Task
from distill.text import Reading
from distill.training.devices import Machine


def check_compression(config: Config, task: type[Task]) -> None:
    """Raises UserError for steps with a student, a task or variants that they cannot serve, and where nothing would be
    left to recover from."""
    if not config.compression.steps:
        return
    name, none = config.compression.steps[0].name, "set compression=none"
    said, rounds = f"compression.steps has '{name}'", isinstance(config.compression.steps[-1], QuantizationAwareStep)
    if not isinstance(config.student, LayersStudent | TransformerStudent):
        raise UserError(
            f"{said}, which takes the layers of a Transformer for what they are, but a {config.student.name} student "
            f"has none; {none}, or choose student=layers or transformer"
        )
    if task.head == "Seq2SeqLM":
        raise UserError(f"{said}, but an encoder and a decoder that belong together are not compressed; {none}")
    if task.label_free and any(isinstance(step, PruneStep) for step in config.compression.steps):
        raise UserError(
            f"compression.steps has 'prune', which is told by an answer what matters to it, but {task.name} answers "
            f"with vectors, whose size would go with the width; {none}, or compression=low_rank or quantization_aware"
        )
    if task.writes and any(isinstance(step, LowRankStep) for step in config.compression.steps):
        raise UserError(
            f"compression.steps has 'low_rank', but models that write, as in {task.name}, are not factorised; {none}, "
            "or compression=prune"
        )
    if rounds and task.writes:
        raise UserError(
            f"compression.steps has 'quantization_aware', but in {task.name} word embeddings are scores of words, too, "
            f"and are not rounded alike at export; {none}, or export.variants=[fp32,int8_weights]"
        )
    if rounds and not {"int8", CALIBRATED} & set(config.export.variants):
        raise UserError(
            "compression.steps has 'quantization_aware', which learns the rounding of the variant int8, but "
            f"export.variants is {list(config.export.variants)}; add int8, or {none}"
        )
    if not any(term.weight and not isinstance(term, InsideTerm) for term in config.objective.terms):
        raise UserError(
            f"{said}, after which a student recovers from answers alone, but all of objective.terms look inside of the "
            f"teacher or have a weight of 0; add one that does not, such as {{name: kl}}, or {none}"
        )


@dataclass(frozen=True)
class TryCompression(Stage):
    """Whether the steps can be taken with a model of the student's class and size, known before anything is trained."""

    name: ClassVar[str] = "compressible"
    rooms: ClassVar[tuple[str, ...]] = ("compression", "models", "tasks", "text", "stages/teacher.py")
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    steps: tuple[CompressionStep, ...]
    student: LayersStudent | TransformerStudent
    teacher: PretrainedTeacher | TransformerTeacher | None
    """None where the student has nothing of it."""
    vocabulary: Artifact
    """The student's, which is a part of the model's size."""
    reading: Reading
    """What the student reads with."""
    task: Task
    paired: bool

    @property
    def what(self) -> str:
        """In words."""
        return "a look at whether the student can be compressed"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves nothing. Raises UserError where a step cannot be taken."""
        from distill.compression.steps import take

        model = self.untrained()
        for number, step in enumerate(self.steps):
            with about(where_of(number)):
                model, _ = take(step, model, None)

    def untrained(self) -> Any:
        """A model of the student's class and size."""
        from distill.compression.steps import take
        from distill.models import build_transformer, load_teacher
        from distill.models.students import keep_vocabulary, layers_student

        student, teacher, kept = self.student, self.teacher, kept_of(self.vocabulary)
        reading = self.reading
        reads: Any = (reading.tokenizer, reading.special_tokens, self.task, reading.max_length, 0, self.paired)
        if isinstance(student, TransformerStudent):
            return build_transformer(student.architecture, *reads).model
        assert teacher is not None
        if isinstance(teacher, PretrainedTeacher):
            model = layers_student(student, load_teacher(teacher, self.task).loaded.model)
            if kept is not None:
                keep_vocabulary(model, kept)
        else:  # from nothing, so of the student's vocabulary at once
            model = layers_student(student, build_transformer(teacher.architecture, *reads).model)
        if not student.narrowed:
            return model
        own = PruneStep("prune", width_share=student.width_share, feed_forward_share=student.feed_forward_share)
        return take(own, model, None)[0]


def try_compression(this: Run, texts: Texts) -> None:
    """Raises UserError, before the teacher is trained, where a step cannot be taken with such a student.

    Its vocabulary is that of the texts at hand. Texts that are made, written or chosen once there is a teacher may make
    it a little larger or smaller than it is here.
    """
    config = this.config
    if not config.compression.steps:
        return
    student, teacher = config.student, config.teacher if isinstance(config.student, LayersStudent) else None
    assert isinstance(student, LayersStudent | TransformerStudent)
    assert isinstance(teacher, PretrainedTeacher | TransformerTeacher | None)
    own, steps = prepare_student(this, texts, None), config.compression.steps
    this.artifacts.get(TryCompression(steps, student, teacher, own.vocabulary, own.reading, own.task, own.paired))


def where_of(number: int) -> str:
    """Where a step stands, for messages."""
    return f"compression.steps[{number}], of a student"
