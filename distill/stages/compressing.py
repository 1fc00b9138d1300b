"""Compression of the trained model that was chosen, step by step, each followed by a training that recovers."""

import dataclasses
import json
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from distill.config import Config, InsideTerm, ObjectiveConfig
from distill.config.steps import CompressionStep
from distill.errors import about
from distill.results import CompressionResult
from distill.stages.artifacts import Artifact
from distill.stages.compressible import where_of
from distill.stages.context import Lesson, Run, open_store
from distill.stages.findings import Chosen, Compressed
from distill.stages.stage import TRAINING_LIBRARIES, TRAINING_ROOMS, Stage
from distill.stages.students import TrainStudent, training_of
from distill.stages.teacher import best_of
from distill.stages.tokens import Tokens, tokens_of
from distill.tasks import Task
from distill.text import Reading
from distill.training.devices import Machine

ROOMS = (*TRAINING_ROOMS, "compression")


@dataclass(frozen=True)
class CutModel(Stage):
    """One step with a trained model, before it is trained on."""

    name: ClassVar[str] = "cut"
    rooms: ClassVar[tuple[str, ...]] = ROOMS
    libraries: ClassVar[tuple[str, ...]] = TRAINING_LIBRARIES
    together: ClassVar[bool] = True
    on_device: ClassVar[bool] = True

    model: Artifact
    step: CompressionStep
    number: int
    """Of the step, counted from 0."""
    reading: Reading
    task: Task
    texts: Tokens
    """What it is told by which parts matter."""
    validation: Tokens
    signal: Artifact | None
    """What a teacher says of the texts; None where they have labels."""
    objective: ObjectiveConfig
    """By which answers are held against it."""

    @property
    def what(self) -> str:
        """In words."""
        return f"compression: {self.step.name}"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves ``model`` and ``result.json``."""
        from distill.compression.steps import Evidence, rounding, take
        from distill.models import load_model, parameter_count, save_model
        from distill.objectives import Objective
        from distill.training.loop import score
        from distill.training.signal import Stored

        loaded, taught = load_model(self.model.directory / "model", self.task), None
        if self.signal is not None:
            objective = Objective.of(self.objective.terms, self.task.kind)
            taught = objective, Stored(open_store(self.signal), self.texts.examples)
        seen = Evidence(self.texts.rows(self.task, self.reading), taught)
        before = parameter_count(loaded.model)
        with about(where_of(self.number)):
            model, what = take(self.step, loaded.model.to(machine.place), seen)
        with rounding(model, self.step):
            reached, thresholds = score(model, self.validation.rows(self.task, self.reading), machine)
        if not machine.is_main:
            return
        save_model(replace(loaded, model=model.cpu()), folder / "model", self.reading.max_length)
        result = {"what": what, "before": before, "parameters": parameter_count(model), "validation": reached}
        (folder / "result.json").write_text(json.dumps({**result, "thresholds": thresholds}))


@dataclass(frozen=True)
class RecoverStudent(TrainStudent):
    """A training that goes on from a model that was cut."""

    name: ClassVar[str] = "recovered"
    rooms: ClassVar[tuple[str, ...]] = (*ROOMS, "stages/students.py")
    rate_key: ClassVar[str] = "compression.train.learning_rates"
    clip_key: ClassVar[str] = "compression.train.clip"

    step: CompressionStep = dataclasses.field(kw_only=True)
    """That it recovers from."""

    @property
    def what(self) -> str:
        """In words."""
        return f"compression: recovery from {self.step.name}, learning rate {self.rate:g}"

    def first_weights(self) -> Any:
        """Those that were left."""
        from distill.models import load_model

        assert isinstance(self.start, Artifact)
        return load_model(self.start.directory / "model", self.task)

    def replaced(self, student: Any, teacher: Any, objective: Any, machine: Machine) -> AbstractContextManager[None]:
        """Rounded while it is trained on, where that is the step."""
        from distill.compression.steps import rounding

        return rounding(student, self.step)


def compress(this: Run, lesson: Lesson, chosen: Chosen) -> Chosen:
    """The chosen model after all steps of the recipe; of one seed, the chosen one.

    Each step is followed by a training on the texts of the chosen arm, from its signal, with its seed; of the learning
    rates of ``compression.train`` the best on validation is taken, or what the step left, where no training is better
    than that. Terms that look inside of the teacher are left out of the objective, since layers and heads no longer
    stand beside those of the teacher, and so are schedules, since the model is trained already.
    """
    config = this.config.compression
    found, costs = list[CompressionResult](), list[Any]()
    model, reached = chosen.model, float(chosen.arm.results[chosen.index]["validation"])
    for number, step in enumerate(config.steps):
        cut = this.artifacts.get(cut_of(this, lesson, model, number))
        tried = [
            this.artifacts.get(recovery_of(this, lesson, chosen, cut, step, rate))
            for rate in config.train.learning_rates
        ]
        best = best_of([*tried, cut])
        left, result = cut.read("result.json"), best.read("result.json")
        found.append(
            CompressionResult(
                name=step.name,
                what=left["what"],
                parameters_before=left["before"],
                parameters_after=left["parameters"],
                before=reached,
                cut=left["validation"],
                recovered=result["validation"],
                learning_rate=result.get("learning_rate"),
            )
        )
        costs += [cut.cost, *(one.cost for one in tried)]
        model, reached = best, result["validation"]
    if not found:
        return chosen
    return replace(chosen, compressed=Compressed(model, tuple(found), tuple(costs)))


def cut_of(this: Run, lesson: Lesson, model: Artifact, number: int) -> CutModel:
    """A step with a model."""
    texts, config = lesson.texts, aside(this.config)
    labelled = not (config.data.label is None or texts.task.label_free)
    return CutModel(
        model,
        config.compression.steps[number],
        number,
        texts.reading,
        texts.task,
        tokens_of(this, texts, texts.dataset.part("train")),
        tokens_of(this, texts, texts.dataset.part("validation")),
        None if labelled else lesson.signal.answers,
        ObjectiveConfig() if labelled else config.objective,
    )


def recovery_of(
    this: Run, lesson: Lesson, chosen: Chosen, cut: Artifact, step: CompressionStep, rate: float
) -> RecoverStudent:
    """The training of the chosen arm and seed, from what was left."""
    config = aside(this.config)
    lesson = replace(lesson, states=None, importance=None)
    arm = training_of(Run(config, this.machine), lesson, chosen.arm.name, rate, config.seeds[chosen.index])
    own = {field.name: getattr(arm, field.name) for field in dataclasses.fields(arm)}
    return RecoverStudent(**{**own, "start": cut}, step=step)


def aside(config: Config) -> Config:
    """The recipe as it recovers: with the budget of the recovery, and the terms that read answers. They are steady, as
    schedules are for a training from the start."""
    objective = config.objective.without(InsideTerm).steady
    return replace(config, objective=replace(objective, replacing=(), states_gb=0.0), train=config.compression.train)
