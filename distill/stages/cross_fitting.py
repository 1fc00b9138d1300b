"""Cross-fitting: students learn from soft labels of teachers that have not learnt the texts themselves."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from distill.data import Part
from distill.data.folds import assign_folds
from distill.results import CrossFitting, StageCost
from distill.stages.artifacts import Artifact
from distill.stages.context import Folds, Run, Signal, Texts, open_store, units_of
from distill.stages.costs import added
from distill.stages.signal import LabelTexts
from distill.stages.stage import Stage
from distill.stages.teacher import TrainTeacher
from distill.stages.tokens import tokens_of
from distill.tasks import Task
from distill.tasks.cells import names_of
from distill.tasks.task import Logits
from distill.text import Example
from distill.training.devices import Machine


@dataclass(frozen=True)
class MixLabels(Stage):
    """The mean of what several models say of each text, of those that were asked about it."""

    name: ClassVar[str] = "mixed-labels"
    rooms: ClassVar[tuple[str, ...]] = ("training/soft_labels.py", "training/mixture.py", "tasks")
    libraries: ClassVar[tuple[str, ...]] = ("numpy",)

    labels: tuple[Artifact, ...]
    """The soft labels of each model, of some or all of the texts."""
    task: Task
    texts: Part
    weights: tuple[float, ...] = ()
    """Of each model. Empty: all alike."""
    by_confidence: bool = False
    """See :func:`distill.training.mixture.mixture`."""

    @property
    def what(self) -> str:
        """In words."""
        return f"soft labels of {' and '.join(self.texts.splits)}: mean of {len(self.labels)} teachers"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves ``store``. What one model alone was asked is kept as it said it."""
        from distill.training.mixture import mixture
        from distill.training.soft_labels import SoftLabelStore

        stores = [open_store(labels) for labels in self.labels]
        weights = self.weights or (1.0,) * len(stores)

        def mixed(e: Example) -> Logits:
            said = [(store[e], weight) for store, weight in zip(stores, weights, strict=True) if e in store]
            units, own = zip(*said, strict=True)
            return units[0] if len(units) == 1 else mixture(self.task.kind, units, own, self.by_confidence)

        SoftLabelStore.write(folder / "store", self.texts.examples, map(mixed, self.texts.examples))


def cross_fit(this: Run, texts: Texts, signal: Signal) -> Signal:
    """The signal with soft labels out of fold in the place of the teacher's, where the recipe has ``teacher.folds``.

    A teacher that knows its training texts by heart says little more of them than their labels. So the labelled texts
    are cut into folds, a teacher is trained without each of them, as the chosen one was (rate, seed, steps), and a
    student learns the texts of a fold from the teacher that has not seen them: cross-fitting, with which Dao et al.
    (2021, arXiv:2104.09732) meet a teacher's overfitting. Of texts without labels no teacher has learnt one, and
    students learn from the mean of all; so they do of texts that were made of labelled ones (``augment``), though all
    teachers but one have seen what these were made of.

    The teacher that was trained on all texts stays the one that is reported, exported and compared with, at the cost of
    one training more: else the comparison of student and teacher would be with another teacher than without folds.
    """
    if this.config.folds == 1 or signal.answers is None:
        return signal
    dataset, count = texts.dataset, this.config.folds
    fold_of = assign_folds(dataset.train, count, this.config.data.split_seed)
    validation = tokens_of(this, texts, dataset.part("validation"))
    models: list[Artifact] = []
    labels: list[Artifact] = []
    on_validation: list[Artifact] = []
    warnings = list(signal.warnings)
    for fold in range(count):
        held, rest = (
            tuple(e for e, own in zip(dataset.train, fold_of, strict=True) if (own == fold) == inside)
            for inside in (True, False)
        )
        what = f"fold {fold + 1} of {count}"
        warnings += unknown_labels(held, rest, what)
        models.append(train_without(this, texts, signal, rest, what))
        of_fold = dataclasses.replace(texts, dataset=dataclasses.replace(dataset, train=held))
        asked = tokens_of(this, texts, of_fold.learnt)
        labelling = LabelTexts(models[-1], texts.reading, texts.task, asked, to_learn=True)
        labels.append(this.artifacts.get(labelling))
        on_validation.append(this.artifacts.get(dataclasses.replace(labelling, texts=validation, to_learn=False)))
    answers = this.artifacts.get(MixLabels(tuple(labels), texts.task, texts.learnt))
    mean = this.artifacts.get(MixLabels(tuple(on_validation), texts.task, validation.texts))
    task = texts.task.fit(units_of(open_store(mean), dataset.validation), dataset.validation)
    scores = CrossFitting(
        folds=count,
        out_of_fold=score(task, answers, dataset.train),
        in_fold=score(signal.task, signal.answers, dataset.train),
        validation=score(task, mean, dataset.validation),
        teacher_validation=signal.validation_score,
    )
    asking = cost_of([one.cost for one in (signal.answers, *labels, *on_validation, mean)], "soft labels of each fold")
    folds = Folds(task, scores, (*(model.cost for model in models), asking))
    return dataclasses.replace(signal, answers=answers, folds=folds, warnings=tuple(warnings))


def train_without(this: Run, texts: Texts, signal: Signal, rest: tuple[Example, ...], what: str) -> Artifact:
    """The chosen training of the teacher once more, on the rest of the labelled texts."""
    chosen = signal.teacher.training
    assert isinstance(chosen, TrainTeacher)
    part = dataclasses.replace(texts.dataset, train=rest).part("train")
    return this.artifacts.get(dataclasses.replace(chosen, texts=tokens_of(this, texts, part), without=what))


def unknown_labels(held: Sequence[Example], rest: Sequence[Example], what: str) -> list[str]:
    """A warning where a fold has labels that no other text has."""
    known = {name for e in rest for name in names_of(e.label)}
    alone = sorted({name for e in held for name in names_of(e.label)} - known)
    if not alone:
        return []
    more = f" and {len(alone) - 5} others" if len(alone) > 5 else ""
    return [
        f"no text outside of {what} has the label {', '.join(map(repr, alone[:5]))}{more}: its teacher does not know "
        "it, and soft labels out of fold are wrong there; add examples, or leave teacher.folds out"
    ]


def score(task: Task, labels: Artifact, examples: tuple[Example, ...]) -> float:
    """How well soft labels agree with the data's."""
    predictions = task.predictions(units_of(open_store(labels), examples), examples)
    return task.metric.score(predictions, task.gold(examples))


def cost_of(costs: Sequence[StageCost], what: str) -> StageCost:
    """Several stages as one line of the report."""
    energy = added([one.energy for one in costs], f"{len(costs)} stages")
    return StageCost(what, sum(one.seconds for one in costs), energy, all(one.cached for one in costs))
