"""What the teacher says of every text, computed once."""

import dataclasses
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from distill.config import DataConfig, ProbabilitiesTeacher
from distill.config.data import NO_MATTER
from distill.data import Part
from distill.errors import UserError
from distill.report.legend import metric_title
from distill.results import scale_of
from distill.runtime.forward import ALONE
from distill.stages.artifacts import Artifact, load_units, save_units
from distill.stages.context import Run, Signal, Teacher, Texts, Written, bears_padding, open_store, units_of
from distill.stages.sharding import SHARD, InShards, asker, cut_by_tokens
from distill.stages.stage import TRAINING_LIBRARIES, TRAINING_ROOMS, Stage
from distill.stages.tokens import Tokens, tokens_of
from distill.tasks import Task
from distill.tasks.cells import names_of
from distill.tasks.task import AGREEMENT, Logits
from distill.tasks.text_to_text import text_of
from distill.tasks.text_to_text import units_of as units_of_text
from distill.text import Example, Reading, Target
from distill.training.devices import Machine

ON_WRITTEN = ("sequence", "sequence+soft")
"""Arms that learn on what the teacher wrote of the training texts."""
ON_TRANSFER = ("soft+transfer", "pseudo+transfer", "soft+transfer+assistant")
"""Arms that learn on texts without labels, too."""
ON_AUGMENTED = "hard+augmented"
"""The arm that learns from labels that texts which were made take over."""
WITHOUT_ANSWERS = ("linear", "hard", ON_AUGMENTED, "pretrained", "gkd", *ON_WRITTEN)
"""Arms that do not read what the teacher says of the training texts."""
TOGETHER = 1024
"""Texts that are written before they are kept."""
OVERFIT_POINTS = 0.10
"""A teacher that is better on its training texts than on validation by more than this is warned about; where lower is
better, by more than this share."""


@dataclass(frozen=True)
class LabelTexts(InShards):
    """A model's logits on texts, kept by their content."""

    name: ClassVar[str] = "soft-labels"
    rooms: ClassVar[tuple[str, ...]] = (*TRAINING_ROOMS, "stages/sharding.py")
    libraries: ClassVar[tuple[str, ...]] = TRAINING_LIBRARIES
    on_device: ClassVar[bool] = True

    model: Artifact
    reading: Reading
    task: Task
    texts: Tokens
    to_learn: bool
    """Students learn on them; else they are what the teacher is measured by."""
    sharded: bool = field(default=False, metadata=NO_MATTER)

    @property
    def what(self) -> str:
        """In words."""
        return f"soft labels of {' and '.join(self.texts.splits)}"

    def shards(self, machine: Machine) -> Sequence[str]:
        """Of neighbouring texts."""
        return list(self.slices(machine))

    def slices(self, machine: Machine) -> dict[str, slice]:
        """By name: at most :data:`SHARD` texts, and a shard for every process at least. Where students learn from soft
        labels of tokens, these are what a shard is measured by, too."""
        encoded = self.texts.encoded
        count = len(encoded)
        size = math.ceil(count / max(math.ceil(count / SHARD), machine.processes)) or 1
        shards = [slice(start, start + size) for start in range(0, count, size)]
        if self.task.writes and self.to_learn:
            tokens = encoded.predicted
            shards = [part for shard in shards for part in cut_by_tokens(shard, tokens)]
        return {f"{shard.start:012}-{shard.stop - shard.start}.npz": shard for shard in shards}

    @contextmanager
    def maker(self, work: Path, machine: Machine) -> Iterator[Callable[[str], None]]:
        """Labels a shard."""
        encoded, slices = self.texts.encoded, self.slices(machine)
        numbers = {shard: number for number, shard in enumerate(slices, start=1)}
        with asker(self.model, self.reading, self.task, machine, self.sharded, self.to_learn) as ask:

            def label_shard(shard: str) -> None:
                kept = work / f"{shard}.answers"
                what = self.what + (f", shard {numbers[shard]} of {len(slices)}" if len(slices) > 1 else "")
                save_units_aside(work / shard, ask(encoded[slices[shard]], kept, what))
                shutil.rmtree(kept)

            yield label_shard

    def store(self, folder: Path, shards: Sequence[Path], machine: Machine) -> None:
        """Leaves ``store``."""
        from distill.training import SoftLabelStore

        labelled = (unit for shard in shards for unit in load_units(shard))
        SoftLabelStore.write(folder / "store", self.texts.examples, labelled)


@dataclass(frozen=True)
class WriteTexts(Stage):
    """What a model writes from texts, kept by their content."""

    name: ClassVar[str] = "written"
    rooms: ClassVar[tuple[str, ...]] = (*TRAINING_ROOMS, "runtime/generation.py")
    libraries: ClassVar[tuple[str, ...]] = TRAINING_LIBRARIES
    together: ClassVar[bool] = True
    on_device: ClassVar[bool] = True

    model: Artifact
    reading: Reading
    task: Task
    texts: Tokens

    @property
    def what(self) -> str:
        """In words."""
        return f"what the teacher writes of {' and '.join(self.texts.splits)}"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves ``store``. What was written is kept from time to time, and not written again after a stop."""
        from distill.models import load_model
        from distill.training import SoftLabelStore

        model, count = load_model(self.model.directory / "model", self.task).model, len(self.texts.examples)
        work, units = folder / "work", []
        work.mkdir(exist_ok=True)
        for first in range(0, count, TOGETHER):
            file = work / f"{first:09}.npz"
            if not machine.decide(file.is_file()):
                what = f"{self.what}, from {first + 1:,} of {count:,}"
                found = self.write(model, first, machine, what)
                machine.by_main(partial(save_units_aside, file, found))
            units += load_units(file)
        if machine.is_main:
            SoftLabelStore.write(folder / "store", self.texts.examples, units)
            shutil.rmtree(work)

    def write(self, model: Any, first: int, machine: Machine, what: str) -> list[Logits]:
        """What the model writes of the next :data:`TOGETHER` texts, as units."""
        from distill.models.writing import TOKENS
        from distill.training import written_texts

        part = self.texts.encoded[first : first + TOGETHER]
        tokens = TOKENS if bears_padding(self.model) else ALONE
        return written_texts(model, self.reading, part, machine, what, tokens=tokens)


@dataclass(frozen=True)
class ContinueTexts(WriteTexts):
    """What a language model writes from the beginnings of texts, kept by their content."""

    name: ClassVar[str] = "continued"

    seed: int
    """It samples."""

    @property
    def what(self) -> str:
        """In words."""
        return f"what the teacher writes from beginnings of {' and '.join(self.texts.splits)}"

    def write(self, model: Any, first: int, machine: Machine, what: str) -> list[Logits]:
        """What the model writes from the next :data:`TOGETHER` texts, as units."""
        from distill.training import continue_texts

        texts = [str(e.text) for e in self.texts.examples[first : first + TOGETHER]]
        written = continue_texts(model, self.reading, texts, (self.seed, first), machine, what)
        return [units_of_text(text) for text in written]


def save_units_aside(file: Path, units: Sequence[Logits]) -> None:
    """Writes them under another name and renames: what is there is whole."""
    aside = file.with_name(f"new-{os.getpid()}-{file.name}")
    save_units(aside, units)
    aside.rename(file)


@dataclass(frozen=True)
class ReadLabels(Stage):
    """The probabilities of a file, in the place of a model's logits."""

    name: ClassVar[str] = "soft-labels"
    rooms: ClassVar[tuple[str, ...]] = (
        "training/soft_labels.py",
        "data/probabilities.py",
        "data/readers.py",
        "data/tables.py",
        "data/json_rows.py",
        "data/parallel.py",
        "data/sentences.py",
        "tasks",
        "text/example.py",
    )
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "datasets", "pyarrow")

    teacher: ProbabilitiesTeacher
    columns: DataConfig
    task: Task
    texts: Part

    @property
    def what(self) -> str:
        """In words."""
        return f"probabilities of {' and '.join(self.texts.splits)}"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves ``store``."""
        from distill.data.probabilities import load_probabilities
        from distill.training import SoftLabelStore

        logarithms = load_probabilities(self.teacher, self.columns, self.task, self.texts.examples)
        SoftLabelStore.write(folder / "store", self.texts.examples, logarithms)


def ask_teacher(this: Run, texts: Texts, teacher: Teacher, key: str = "teacher") -> Signal:
    """The teacher's logits on the held-out texts and, apart from them, on the training texts, if something reads these:
    a large teacher takes long over them. ``key`` is the recipe's section of it, for messages.

    Raises UserError where the teacher is not shown to have learnt the task.
    """
    answers = None
    if texts.task.metric.name == AGREEMENT or any(arm not in WITHOUT_ANSWERS for arm in this.config.arms):
        # With cross-fitting, students learn from other teachers; this one shows what they would have learnt from it.
        part = texts.learnt if this.config.folds == 1 else texts.dataset.part("train")
        answers = this.artifacts.get(labels_of(this, texts, teacher, part, to_learn=True))
    on_validation, on_held_out = (
        this.artifacts.get(labels_of(this, texts, teacher, part, to_learn=False))
        for part in (texts.dataset.part("validation"), texts.held_out)
    )
    task, validation = texts.task, texts.dataset.validation
    warnings: tuple[str, ...] = ()
    score = 1.0
    if this.config.data.label is not None:
        units = units_of(open_store(on_validation), validation)
        task = task.fit(units, validation)
        predictions, gold = task.predictions(units, validation), task.gold(validation)
        score = task.metric.score(predictions, gold)
        check_floor(this.config.teacher_floor, task, predictions, gold, key)
        if answers is not None and task.kind not in ("vector", "token") and this.config.folds == 1:
            train = texts.dataset.train
            may_fold = teacher.training and not this.config.ensemble.teachers
            mend = "; teacher.folds=3 asks teachers that have not learnt them" if may_fold else ""
            warnings = overfit_warning(task, train, units_of(open_store(answers), train), score, mend)
    if teacher.result.get("padding"):
        warnings += (f"the teacher was asked about one text at a time: {teacher.result['padding']}",)
    return Signal(teacher, answers, task, on_validation, on_held_out, score, warnings)


def labels_of(
    this: Run, texts: Texts, teacher: Teacher, part: Part, to_learn: bool
) -> LabelTexts | WriteTexts | ReadLabels:
    """What the teacher says of some texts."""
    if teacher.model is not None:
        if not (texts.task.predicts_tokens or to_learn):
            return WriteTexts(teacher.model, texts.reading, texts.task, tokens_of(this, texts, part))
        tokens, sharded = tokens_of(this, texts, part), this.config.sharded
        return LabelTexts(teacher.model, texts.reading, texts.task, tokens, to_learn, sharded)
    assert isinstance(this.config.teacher, ProbabilitiesTeacher)
    columns = DataConfig(text=this.config.data.text, pair=this.config.data.pair)
    return ReadLabels(this.config.teacher, columns, texts.task, part)


def write_by_teacher(this: Run, texts: Texts, teacher: Teacher) -> Written | None:
    """What the teacher writes of the training texts, in the place of their targets: sequence-level distillation (Kim
    and Rush 2016); in language modelling, from their beginnings. None where no arm learns on it."""
    if not any(arm in ON_WRITTEN for arm in this.config.arms):
        return None
    assert teacher.model is not None
    train, own_label = texts.dataset.part("train"), texts.task.own_label
    stage = WriteTexts(teacher.model, texts.reading, texts.task, tokens_of(this, texts, train))
    if own_label:
        stage = ContinueTexts(stage.model, stage.reading, stage.task, stage.texts, this.config.seeds[0])
    artifact = this.artifacts.get(stage)
    found = [text_of(units) for units in units_of(open_store(artifact), train.examples)]
    written = [
        dataclasses.replace(e, text=text) if own_label else dataclasses.replace(e, label=Target(text))
        for e, text in zip(train.examples, found, strict=True)
    ]
    part = dataclasses.replace(texts.dataset, train=tuple(written)).part("train")
    if "sequence+soft" not in this.config.arms:
        return Written(part, None, (artifact.cost,))
    answers = this.artifacts.get(labels_of(this, texts, teacher, part, to_learn=True))
    labelling = dataclasses.replace(answers.cost, stage="soft labels of what it wrote")
    return Written(part, answers, (artifact.cost, labelling))


def check_floor(
    wanted: bool, task: Task, predictions: Sequence[Any], gold: Sequence[Any], key: str = "teacher"
) -> None:
    """Stops where the teacher is not shown to beat the best answer that does not look at the text."""
    from distill.evaluation import score_over_seeds, wilson

    if not wanted:
        return
    best = task.constant(gold)
    counts = task.counts(predictions, gold) if task.metric.name in ("accuracy", "token_accuracy") else None
    if counts is not None:
        correct, total = counts
        reached, floor = wilson(correct, total), task.metric.score(best, gold)
        found = f"is right on {reached.value:.1%} of {total} validation answers (95 % interval from {reached.low:.1%})"
        known = f"always giving the most frequent answer is right on {floor:.1%}"
    else:
        metric = task.floor_metric
        reached = score_over_seeds(metric, metric.statistics(predictions, gold)[None])
        floor = metric.score(best, gold)
        scale = scale_of(metric.name)
        sign, digits, end = (-1, scale.digits, "to") if scale.lower_is_better else (1, 3, "from")
        value, worst, blind = (f"{sign * x:.{digits}f}" for x in (reached.value, reached.low, floor))
        found = f"has {metric.title} {value} on validation (95 % interval {end} {worst})"
        known = f"the best answer that does not look at the text has {blind}"
    if reached.low <= floor:
        more = f"give it more labels, check that they are in order ({key}.label_map)"
        if task.own_label:
            more = "give it more texts"
        raise UserError(
            f"the teacher {found}, and {known}: it has not learnt the task, and its soft labels would be noise. Train "
            f"it longer ({key}.train.steps), {more}, or set teacher_floor=false to go on all the same"
        )


def overfit_warning(
    task: Task, train: Sequence[Example], answers: Sequence[Logits], validation_score: float, mend: str = ""
) -> tuple[str, ...]:
    """Soft labels on texts that a teacher knows by heart say little more than the hard ones. ``mend`` is said last."""
    if not train:
        return ()
    score = task.metric.score(task.predictions(answers, train), task.gold(train))
    scale = scale_of(task.metric.name)
    if score - validation_score <= OVERFIT_POINTS * (abs(validation_score) if scale.lower_is_better else 1):
        return ()
    on_training, on_validation = (f"{scale.read(x):.{scale.digits}f}" for x in (score, validation_score))
    times = "" if scale.lower_is_better else " × 100"
    return (
        f"the teacher reaches {on_training} on the labelled training texts and {on_validation} on validation "
        f"({metric_title(task.metric.name)}{times}): it knows the training texts by heart, and its soft labels on "
        f"them say little more than the data's labels; texts it has not seen teach more{mend}",
    )


def label_by_teacher(texts: Texts, signal: Signal) -> Texts:
    """Where nothing is labelled, the teacher's answers stand in for labels, and quality is agreement with it."""
    if texts.task.metric.name != AGREEMENT:
        return texts
    assert signal.answers is not None
    task, dataset = texts.task, texts.dataset

    def label(artifact: Artifact, examples: Sequence[Example]) -> tuple[Example, ...]:
        store = open_store(artifact)
        names = task.labels_of(task.predictions([store[e] for e in examples], examples))
        return tuple(dataclasses.replace(e, label=name) for e, name in zip(examples, names, strict=True))

    train = label(signal.answers, [*dataset.train, *dataset.transfer])
    given = {e.label for e in train}
    if task.words:
        given = {tag for label in given for tag in names_of(label)}
    if len(given) < 2:
        only = next(iter(given), ())
        answer = ", ".join(map(repr, only if isinstance(only, tuple) else (only,))) or "no label"
        raise UserError(
            f"the teacher gives one answer, {answer}, on all {len(train)} training texts, which "
            "leaves nothing to learn; check that these are texts of its kind, and that it is fine-tuned"
        )
    answered = dataclasses.replace(
        dataset,
        train=train,
        transfer=(),
        validation=label(signal.on_validation, dataset.validation),
        test=label(signal.on_held_out, dataset.test),
        labels=task.labels,
    )
    return dataclasses.replace(texts, dataset=answered)
