"""The arms: the same student, trained in each way."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from distill.config import (
    HardTerm,
    LayersStudent,
    ObjectiveConfig,
    PretrainedTeacher,
    StaticStudent,
    TrainConfig,
)
from distill.config.data import NO_MATTER
from distill.config.schema import ASSISTED
from distill.data import Part
from distill.results import FLOORS
from distill.stages.artifacts import Artifact
from distill.stages.context import Lesson, Run, Signal, Streamed, TrainedArm, bears_padding, kept_of, open_store
from distill.stages.findings import Chosen
from distill.stages.signal import ON_AUGMENTED, ON_TRANSFER, ON_WRITTEN
from distill.stages.stage import TRAINING_LIBRARIES, TRAINING_ROOMS, Stage
from distill.stages.teacher import StudentConfig, best_of, candidate_of
from distill.stages.tokens import Tokens, tokens_of
from distill.tasks import Task
from distill.text import Reading
from distill.training.devices import Machine

ON_LABELS = ("hard", "hard+augmented", "pretrained", "sequence")
"""Arms that read no soft labels: they learn from the data's labels, or from what the teacher wrote in their place."""
ON_POLICY = "gkd"
"""The arm that learns on what its student writes."""


@dataclass(frozen=True)
class TrainStudent(Stage):
    """One training of the student."""

    name: ClassVar[str] = "student"
    rooms: ClassVar[tuple[str, ...]] = TRAINING_ROOMS
    libraries: ClassVar[tuple[str, ...]] = TRAINING_LIBRARIES
    together: ClassVar[bool] = True
    on_device: ClassVar[bool] = True
    rate_key: ClassVar[str] = "train.learning_rates"
    """The setting that the learning rate comes from, for messages."""
    clip_key: ClassVar[str] = "train.clip"
    """The same of the norm that gradients are cut to."""

    arm: str
    student: StudentConfig
    start: Artifact | PretrainedTeacher | None
    """What it takes weights from: a model that was trained here, token vectors, or a checkpoint as it is; None: random
    weights."""
    importance: Artifact | None
    """Of the teacher's parts, where the student keeps some of them."""
    objective: ObjectiveConfig
    """Read by the arms that read the teacher."""
    signal: Artifact | None
    """What the teacher says of the texts; None in arms that do not read it."""
    beside: Artifact | None
    """The teacher itself, in arms in which it is asked about what the student writes, or runs along."""
    states: Artifact | None
    """What happens inside the teacher, in arms that look there, where it is kept."""
    thresholds: tuple[float, ...]
    """Logits above which the teacher gives a label, where its answers are taken as labels."""
    budget: TrainConfig
    """Narrowed to one learning rate."""
    seed: int
    vocabulary: Artifact
    reading: Reading
    task: Task
    texts: Tokens
    labelled: Part
    """Those that the output layer's first bias is made of."""
    validation: Tokens
    paired: bool
    streamed: Streamed | None = None
    """Further texts, behind the others."""
    who: str = field(default="", metadata=NO_MATTER)
    """What it is trained for, where that is not the arm."""
    fixed_rate: bool = field(default=False, metadata=NO_MATTER)
    """Its learning rate comes from no setting, and no message names one."""

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.budget.learning_rates[0]

    @property
    def what(self) -> str:
        """In words."""
        return f"{self.who or f'student {self.arm}'}, seed {self.seed}, learning rate {self.rate:g}"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves ``model`` and ``result.json``."""
        from distill.models import load_model, parameter_count, save_model
        from distill.training import Problem, State, objective_of, train

        student = self.first_weights()
        store = None if self.signal is None else open_store(self.signal)
        teacher = None if self.beside is None else load_model(self.beside.directory / "model", self.task).model
        shapes = self.shapes(student.model, store, teacher)
        objective = objective_of(self.arm, self.objective, self.task.kind, shapes, self.thresholds)
        problem = Problem(
            student.model,
            objective,
            self.teaching(student.model, store, teacher, objective.needs, machine),
            self.texts.rows(self.task, self.reading, None if self.streamed is None else self.streamed.encoded),
            self.validation.rows(self.task, self.reading),
            self.budget,
            self.rate,
            self.seed,
            self.what,
            None if self.fixed_rate else self.rate_key,
            self.clip_key,
        )
        with self.replaced(student.model, teacher, objective, machine):
            trained = train(problem, State(folder / "work"), machine)
        if not machine.is_main:
            return
        shutil.rmtree(folder / "work", ignore_errors=True)
        save_model(student, folder / "model", self.reading.max_length)
        result = {
            **dataclasses.asdict(trained),
            "learning_rate": self.rate,
            "parameters": parameter_count(student.model),
        }
        (folder / "result.json").write_text(json.dumps(result))

    def shapes(self, student: Any, store: Any, teacher: Any) -> Any:
        """Of student and teacher, as far as terms ask for them."""
        from distill.models import vector_size
        from distill.objectives import Shape
        from distill.training.inside import shape_of

        if self.states is not None:
            return shape_of(student, self.task), Shape(**self.states.read("shape.json"))
        if self.objective.looks_inside and teacher is not None:
            return shape_of(student, self.task), shape_of(teacher, self.task)
        if self.task.kind == "vector" and store is not None:
            return Shape(vector_size(student.config)), Shape(store.width)
        return None

    def replaced(self, student: Any, teacher: Any, objective: Any, machine: Machine) -> AbstractContextManager[None]:
        """In which layers of the teacher are run in the place of the student's, where the objective has it so."""
        from distill.training.theseus import replacing

        if teacher is None or not self.objective.replacing:
            return nullcontext()
        return replacing(student, teacher.to(machine.place), objective, self.objective.replacing)

    def teaching(self, student: Any, store: Any, teacher: Any, needs: frozenset[str], machine: Machine) -> Any:
        """What the teacher says while the student learns: the signal of :mod:`distill.training.signal`."""
        from distill.training.signal import Along, Beside, OnPolicy, Stored, StoredInside, Tokens
        from distill.training.states import StateStore

        alone = self.beside is not None and not bears_padding(self.beside)
        if self.arm == ON_POLICY:
            return OnPolicy(teacher, self.objective.on_policy, kept_of(self.vocabulary), machine.autocast, alone)
        if self.states is not None:
            return StoredInside(store, self.texts.examples, StateStore(self.states.directory / "store"))
        kept, streamed = kept_of(self.vocabulary), None if self.streamed is None else self.streamed.logits
        if teacher is not None and self.objective.looks_inside:
            return Along(store, self.texts.examples, Beside(teacher, needs, machine.autocast, kept, alone), streamed)
        if store is None:
            return None
        if not self.task.writes:
            return Stored(store, self.texts.examples, streamed=streamed)
        counts = self.texts.encoded.counts(student.config.vocab_size)
        return Stored(store, self.texts.examples, Tokens(counts, kept))

    def first_weights(self) -> Any:
        """The student before its training."""
        from distill.models import build_student, load_model, load_teacher, load_with_new_head, start_at_the_mean

        if isinstance(self.student, StaticStudent):
            return self.first_vectors(self.student)
        config, source, new_head = self.student, None, not isinstance(self.student, LayersStudent)
        if isinstance(self.start, PretrainedTeacher):
            import torch

            torch.manual_seed(self.seed)  # the new head
            source = load_teacher(dataclasses.replace(self.start, fine_tune="always"), self.task).loaded
            new_head = True
        elif self.start is not None and self.arm == "pretrained":
            assert isinstance(config, LayersStudent)
            source = load_with_new_head(self.start.directory / "model", self.task, self.seed)
            config = dataclasses.replace(config, layers=tuple(range(source.model.config.num_hidden_layers)))
            new_head = True
        elif self.start is not None:
            source = load_model(self.start.directory / "model", self.task)
        student = build_student(
            config,
            source,
            self.reading.tokenizer,
            self.reading.special_tokens,
            self.task,
            kept_of(self.vocabulary),
            self.reading.max_length,
            self.seed,
            self.paired,
        )
        if self.importance is not None:
            student = dataclasses.replace(student, model=self.narrowed(student.model))
        if new_head:
            start_at_the_mean(student.model, self.task, self.labelled.examples)
        return student

    def narrowed(self, model: Any) -> Any:
        """The student with the parts that matter most."""
        from distill.models import keep_units, keep_width
        from distill.models.students import chosen_layers
        from distill.training.importance import Importance

        config = self.student
        assert isinstance(config, LayersStudent)
        assert self.importance is not None
        found = Importance.load(self.importance.directory / "importance.npz")
        available = max(len(found.units_KF), len(found.heads_KH))
        layers = chosen_layers(config, available, model.config.model_type)
        if config.width_share < 1:
            model = keep_width(model, found.heads_KH[layers], found.states_D, config.width_share)
        if config.feed_forward_share < 1:  # last: as many units as a state has numbers could not be told from them
            keep_units(model, found.units_KF[layers], config.feed_forward_share)
        return model

    def first_vectors(self, config: StaticStudent) -> Any:
        """The same of a static student."""
        from distill.models import TokenVectors, build_static, start_at_the_mean

        assert isinstance(self.start, Artifact)
        vectors = TokenVectors.load(self.start.directory)
        student = build_static(config.architecture, vectors, self.reading, self.task, self.seed, self.paired)
        start_at_the_mean(student.model, self.task, self.labelled.examples)
        return student


def train_arms(this: Run, lesson: Lesson) -> tuple[TrainedArm, ...]:
    """All arms of the recipe but the floors."""
    return tuple(train_arm(this, lesson, name) for name in this.config.arms if name not in FLOORS)


def train_arm(this: Run, lesson: Lesson, name: str, who: str = "", fixed_rate: bool = False) -> TrainedArm:
    """Chooses the learning rate on validation with the first seed, then trains the other seeds with it. ``who`` and
    ``fixed_rate`` are for messages, as of :class:`TrainStudent`."""
    first, *others = this.config.seeds

    def training(rate: float, seed: int) -> TrainStudent:
        return dataclasses.replace(training_of(this, lesson, name, rate, seed), who=who, fixed_rate=fixed_rate)

    asked = [training(rate, first) for rate in this.config.train.learning_rates]
    tried = [this.artifacts.get(one) for one in asked]
    chosen = best_of(tried)
    rate = chosen.read("result.json")["learning_rate"]
    more = [this.artifacts.get(training(rate, seed)) for seed in others]
    models, streamed = (chosen, *more), asked[0].streamed
    return TrainedArm(
        name,
        part_of(lesson, name),
        rate,
        asked[0].budget.steps,
        tuple(candidate_of(one.read("result.json")) for one in tried),
        models,
        tuple(one.read("result.json") for one in models),
        tuple(one.cost for one in (*tried, *more)),
        0 if streamed is None else len(streamed.encoded),
    )


def training_of(this: Run, lesson: Lesson, name: str, rate: float, seed: int) -> TrainStudent:
    """One training of an arm."""
    config, texts, signal = this.config, lesson.texts, lesson.signal
    answers = None if name in (*ON_LABELS, ON_POLICY) else answers_of(lesson, name)
    states = lesson.states if answers is not None else None
    beside = name == ON_POLICY or (answers is not None and states is None and config.objective.along)
    made = lesson.pretrained if name == "pretrained" else lesson.vectors
    return TrainStudent(
        arm=name,
        student=config.student,
        start=start_of(config.student, config.teacher, signal, made),
        importance=lesson.importance,
        objective=objective_for(name, config.objective),
        signal=answers,
        beside=signal.teacher.model if beside else None,
        states=states,
        thresholds=signal.thresholds if name == "pseudo+transfer" else (),
        budget=dataclasses.replace(config.train, learning_rates=(rate,)),
        seed=seed,
        vocabulary=texts.vocabulary,
        reading=texts.reading,
        task=texts.task,
        texts=tokens_of(this, texts, part_of(lesson, name)),
        labelled=texts.dataset.part("train"),
        validation=tokens_of(this, texts, texts.dataset.part("validation")),
        paired=texts.paired,
        streamed=streamed_for(lesson, name),
    )


def objective_for(arm: str, objective: ObjectiveConfig) -> ObjectiveConfig:
    """What an arm reads of the objective."""
    if arm in ON_LABELS:
        smoothing = objective.smoothing
        return ObjectiveConfig((HardTerm("hard", smoothing=smoothing),)) if smoothing else ObjectiveConfig()
    return objective if arm == ON_POLICY else dataclasses.replace(objective, on_policy=1.0)


def part_of(lesson: Lesson, arm: str) -> Part:
    """What an arm learns on."""
    if arm in ON_WRITTEN:
        assert lesson.written is not None
        return lesson.written.texts
    if arm == ON_AUGMENTED:
        return lesson.texts.dataset.part("train", "inherited")
    return lesson.texts.learnt if arm in ON_TRANSFER else lesson.texts.dataset.part("train")


def streamed_for(lesson: Lesson, arm: str) -> Streamed | None:
    """What an arm learns on beside the texts in memory."""
    return lesson.streamed if arm in ON_TRANSFER else None


def answers_of(lesson: Lesson, arm: str) -> Artifact | None:
    """The soft labels on what an arm learns on: the teacher's, or its assistant's."""
    if arm.endswith(ASSISTED):
        return lesson.assistants[arm][-1].answers
    if arm in ON_WRITTEN:
        assert lesson.written is not None
        return lesson.written.answers
    return lesson.signal.answers


def start_of(
    student: StudentConfig, teacher: Any, signal: Signal, made: Artifact | None
) -> Artifact | PretrainedTeacher | None:
    """Where a student takes its first weights from: what was ``made`` for it, or its teacher."""
    if made is not None:
        return made
    if isinstance(student, LayersStudent) and student.start == "checkpoint":
        assert isinstance(teacher, PretrainedTeacher)
        return dataclasses.replace(teacher, train=TrainConfig(), tries=1)
    reads_weights = isinstance(student, LayersStudent) or getattr(student, "embeddings", "random") == "teacher"
    return signal.teacher.model if reads_weights else None


def choose(arms: Sequence[TrainedArm]) -> Chosen:
    """What is exported: the arm that is best on validation over its seeds, and of it the best seed."""
    best = max(arms, key=lambda arm: arm.validation)
    return Chosen(best, int(np.argmax([r["validation"] for r in best.results])))
