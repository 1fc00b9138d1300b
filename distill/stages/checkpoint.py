"""What a teacher's checkpoint says of itself before anything is trained."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from distill import tasks
from distill.config import Config, LayersStudent, PretrainedTeacher, Source, TrainConfig
from distill.config.data import NO_MATTER
from distill.errors import UserError, about
from distill.sources import describe
from distill.stages.context import Run
from distill.stages.stage import Stage
from distill.tasks import Task
from distill.text import Reading
from distill.training.devices import Machine

NO_LABELS = (
    "the teacher is not fine-tuned and there are no labels to fine-tune it on; give one that is, or texts with labels "
    "(data.label)"
)


@dataclass(frozen=True)
class LookAtCheckpoint(Stage):
    """What a teacher's checkpoint says of itself, and whether it has the layers that a student is to be made of, and
    reads what the student is pretrained on: known before anything is trained, and by a run that was made before without
    the libraries that read it."""

    name: ClassVar[str] = "checkpoint"
    rooms: ClassVar[tuple[str, ...]] = ("models", "tasks", "text")
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    source: Source
    trust: bool
    task_name: str
    student: LayersStudent | None
    pretrained: bool
    """An arm starts from the student as it is pretrained beside the checkpoint."""

    @property
    def what(self) -> str:
        """In words."""
        return "configuration of the teacher"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves ``labels.json``. Raises UserError for layers that it does not have, and for longer texts than it
        reads."""
        from distill.models.checkpoints import Checkpoint, label_names
        from distill.models.students import chosen_decoder_layers, chosen_layers

        task = tasks.find(self.task_name)
        settings = Checkpoint.of(self.source, self.trust).config(task)
        if self.student is not None and (layers := getattr(settings, "num_hidden_layers", 0)):
            chosen_layers(self.student, layers, settings.model_type)
            chosen_decoder_layers(self.student, settings)
        if self.pretrained:
            self.check_pretraining()
        (folder / "labels.json").write_text(json.dumps(label_names(settings) if task.labelled else []))

    def check_pretraining(self) -> None:
        """Raises UserError where it is no masked language model, or reads shorter texts."""
        from distill.models.checkpoints import Checkpoint
        from distill.models.loading import mask_token_of
        from distill.models.masked import longest_masked

        assert self.student is not None
        found = Checkpoint.of(self.source, self.trust).tokenizer()
        if mask_token_of(found.tokenizer, found.special_tokens) is None:
            raise UserError(
                "arms has 'pretrained', whose students learn to find masked tokens, but the tokenizer of "
                f"{describe(self.source)} has no mask token; leave the arm out, or choose a teacher "
                "whose tokenizer has one"
            )
        with about("student.pretraining"):
            Reading(found.tokenizer, self.student.pretraining.max_length, special_tokens=found.special_tokens)
        checkpoint = PretrainedTeacher("pretrained", self.source, trust_remote_code=self.trust)
        longest, asked = longest_masked(checkpoint), self.student.pretraining.max_length
        if asked > longest:
            raise UserError(
                f"student.pretraining.max_length is {asked}, but {describe(self.source)}, beside which the student is "
                f"pretrained, reads at most {longest} tokens; lower it"
            )


@dataclass(frozen=True)
class TryTeacher(Stage):
    """Whether a further teacher answers the task or can learn it, known before the first one is trained."""

    name: ClassVar[str] = "answerable"
    rooms: ClassVar[tuple[str, ...]] = ("models", "tasks", "text")
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    teacher: PretrainedTeacher
    task: Task
    labelled: bool
    """There are labels to fine-tune it on."""
    key: str = field(metadata=NO_MATTER)
    """The recipe's section of it, for messages."""

    @property
    def what(self) -> str:
        """In words."""
        return "a look at whether a further teacher fits the task"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves nothing. Raises UserError for labels that are not the data's, and where a head or weights lack."""
        from distill.models import load_teacher

        if not (load_teacher(self.teacher, self.task, self.key).fine_tuned or self.labelled):
            raise UserError(NO_LABELS)


def try_teacher(this: Run, task: Task, labelled: bool, key: str) -> None:
    """Raises UserError where a further teacher, which stands in the first one's place, neither answers the task nor can
    learn it. ``key`` is the recipe's section of it."""
    teacher = this.config.teacher
    assert isinstance(teacher, PretrainedTeacher)
    this.artifacts.get(TryTeacher(replace(teacher, train=TrainConfig(), tries=1), task, labelled, key))


def look_at_teacher(this: Run) -> tuple[str, ...]:
    """The labels that a checkpoint knows; none where the teacher is something else. Raises UserError where it does not
    have the student's layers, or does not read what the student is pretrained on."""
    teacher, student = this.config.teacher, this.config.student
    if not isinstance(teacher, PretrainedTeacher):
        return ()
    own = student if isinstance(student, LayersStudent) else None
    pretrained = "pretrained" in this.config.arms
    stage = LookAtCheckpoint(teacher.source, teacher.trust_remote_code, this.config.task.name, own, pretrained)
    names = this.artifacts.get(stage).read("labels.json")
    return tuple(teacher.label_map.get(name, name) for name in names)


def labels_of(config: Config, known: Sequence[str], of_teacher: Sequence[str]) -> tuple[str, ...]:
    """Those ``known`` by the data; of the teacher where there are none; and where it is taken as it is and knows more,
    those too."""
    if not known:
        return tuple(of_teacher) if tasks.find(config.task.name).labelled else ()
    taken = isinstance(config.teacher, PretrainedTeacher) and config.teacher.fine_tune == "never"
    more = of_teacher if taken and set(known) < set(of_teacher) else ()
    return (*known, *(name for name in more if name not in known))
