"""What every stage is made with, and what stages hand on to each other until students are trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from distill.config import Config
from distill.data import Dataset, Part
from distill.data.stream import Stream
from distill.results import Candidate, CrossFitting, Ensemble, StageCost
from distill.stages.artifacts import Artifact, Artifacts
from distill.stages.stage import Stage
from distill.tasks import Task
from distill.tasks.task import Logits
from distill.text import Example, Reading, TokenStore
from distill.training.devices import Machine, find_machine


@dataclass(frozen=True)
class Run:
    """What every stage is made with."""

    config: Config
    machine: Machine

    @cached_property
    def artifacts(self) -> Artifacts:
        """Shared by all runs under the same outputs folder."""
        from distill.measure import EnergyMeter

        kind: Any = self.machine.device
        watts = self.config.measure.watts_per_core
        return Artifacts(Path(self.config.outputs) / "artifacts", self.machine, lambda: EnergyMeter(kind, watts))


def open_run(config: Config) -> Run:
    """The run of a recipe on this machine."""
    found = Path(config.outputs) / "precision.json"
    return Run(config, find_machine(config.device, config.precision, config.threads, found))


@dataclass(frozen=True)
class Texts:
    """The data, what is asked of it, and how a model reads it."""

    dataset: Dataset
    task: Task
    reading: Reading
    costs: tuple[StageCost, ...] = field(default=(), kw_only=True)
    """Of texts that were made."""

    @property
    def training(self) -> Part:
        """Labelled texts first, then those without labels."""
        return self.dataset.part("train", "transfer")

    @property
    def learnt(self) -> Part:
        """The same, and the texts that were made of them: what students learn on from the teacher."""
        return self.dataset.part(*self.training.splits, "augmented") if self.dataset.augmented else self.training

    @property
    def held_out(self) -> Part:
        """What a chosen model answers once: test, and the texts out of scope."""
        return self.dataset.part("test", "out_of_scope")

    @property
    def paired(self) -> bool:
        """Whether one answer is about two texts."""
        return not self.task.words and any(e.pair is not None for e in self.training.examples)


@dataclass(frozen=True)
class StudentTexts(Texts):
    """The same as the student reads it."""

    vocabulary: Artifact
    """Its tokenizer, and which rows of the teacher's embeddings it keeps."""
    same_tokens: bool = True
    """Whether its token ids are the teacher's: neither another tokenizer nor a trimmed vocabulary."""


@dataclass(frozen=True)
class Teacher:
    """The training that was best on validation, and all that were tried; or a file."""

    model: Artifact | None
    """None where the teacher is a file."""
    candidates: tuple[Candidate, ...]
    """Empty where it was fine-tuned before."""
    result: dict[str, Any]
    """How the chosen training went, and the number of parameters."""
    costs: tuple[StageCost, ...]
    training: Stage | None = None
    """Which training it was; None where it was not trained here."""


@dataclass(frozen=True)
class Signal:
    """The teacher and what it says of every text."""

    teacher: Teacher
    answers: Artifact | None
    """On the training texts: all that students learn from; None where nothing reads them."""
    task: Task
    """With what it chose for the teacher on validation."""
    on_validation: Artifact
    on_held_out: Artifact
    validation_score: float
    warnings: tuple[str, ...]
    folds: "Folds | None" = None
    """Where the answers on the training texts are those of cross-fitting."""
    ensemble: Ensemble | None = None
    """Where all answers are those of several teachers."""

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Logits above which the answers on the training texts give a label."""
        return (self.task if self.folds is None else self.folds.task).thresholds

    @property
    def costs(self) -> tuple[StageCost, ...]:
        """Of the teacher and of its answers."""
        more = () if self.folds is None else self.folds.costs
        return (*self.teacher.costs, *more) if self.answers is None else (*self.teacher.costs, *more, self.answers.cost)


@dataclass(frozen=True)
class Folds:
    """The teachers of cross-fitting."""

    task: Task
    """With what it chose for their mean on validation."""
    scores: CrossFitting
    costs: tuple[StageCost, ...]


@dataclass(frozen=True)
class Written:
    """The training texts as the teacher writes them."""

    texts: Part
    answers: Artifact | None
    """The teacher's soft labels on them; None where no arm reads them."""
    costs: tuple[StageCost, ...]


@dataclass(frozen=True)
class Streamed:
    """Texts without labels that no memory holds."""

    stream: Stream
    sieved: Artifact
    """Which of them are learnt on."""
    labels: Artifact
    """What the teacher says of them."""
    read: Artifact
    """What the student reads of them: the same artifact where it has the teacher's tokens."""

    @property
    def encoded(self) -> TokenStore:
        """The ids."""
        return TokenStore(self.read.directory / "tokens")

    @property
    def logits(self) -> Logits:
        """[M, C], mapped into memory."""
        found: Logits = np.load(self.labels.directory / "logits.npy", mmap_mode="r", allow_pickle=False)
        return found

    @property
    def dropped(self) -> dict[str, int]:
        """Rows that were left out, by reason."""
        found: dict[str, int] = self.sieved.read("dropped.json")
        return found

    @property
    def costs(self) -> tuple[StageCost, ...]:
        """Of cleaning, labelling, and reading once more where that was needed."""
        read = () if self.read is self.labels else (self.read.cost,)
        return (self.sieved.cost, self.labels.cost, *read)


@dataclass(frozen=True)
class Lesson:
    """What students learn from."""

    texts: StudentTexts
    signal: Signal
    pretrained: Artifact | None
    """Where the arm of that name starts from."""
    written: Written | None = None
    """None where no arm learns on it."""
    vectors: Artifact | None = None
    """Where a static student starts from."""
    importance: Artifact | None = None
    """Of the teacher's feed-forward units, where a student of its layers keeps a part of them."""
    assistants: Mapping[str, tuple["Assistant", ...]] = field(default_factory=dict)
    """For each arm that has some, from the one that the teacher taught to the one that teaches the arm."""
    streamed: Streamed | None = None
    """What arms with +transfer learn on, too."""
    states: Artifact | None = None
    """What happens inside the teacher, where it is kept."""


@dataclass(frozen=True)
class TrainedArm:
    """An arm's chosen learning rate and its models."""

    name: str
    part: Part
    """What it learnt on, but for texts that were streamed."""
    learning_rate: float
    steps: int
    """Budget of each of its trainings."""
    candidates: tuple[Candidate, ...]
    models: tuple[Artifact, ...]
    """One a seed."""
    results: tuple[dict[str, Any], ...]
    costs: tuple[StageCost, ...]
    streamed: int = 0
    """Streamed texts that it learnt on, too."""

    @property
    def validation(self) -> float:
        """Mean over seeds."""
        return float(np.mean([r["validation"] for r in self.results]))


@dataclass(frozen=True)
class Assistant:
    """A model between teacher and student."""

    arm: TrainedArm
    """Its one training, and those that looked for the learning rate."""
    what: str
    """By whom it was taught, and whom it teaches, in words."""
    texts: StudentTexts
    """As it reads them."""
    answers: Artifact
    """Its soft labels on what it was taught on."""


def open_store(artifact: Artifact) -> Any:
    """The soft-label store of an artifact; numpy alone."""
    from distill.training.soft_labels import SoftLabelStore

    return SoftLabelStore(artifact.directory / "store")


def bears_padding(teacher: Artifact) -> bool:
    """Whether what a model says of a text stays the same in a padded batch."""
    return not teacher.read("result.json").get("padding")


def kept_of(vocabulary: Artifact) -> Any:
    """The teacher's id of each piece of a trimmed vocabulary; None where it was not trimmed."""
    file = vocabulary.directory / "kept.npy"
    return np.load(file, allow_pickle=False) if file.is_file() else None


def units_of(store: Any, examples: tuple[Example, ...]) -> list[Any]:
    """What the teacher says of each example, [U, C]."""
    return [store[e] for e in examples]
