"""One arm's answers on test, as the report shows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.evaluation.intervals import gap_recovered, score_over_seeds
from distill.metrics import Statistics, auroc, expected_calibration_error, negative_log_likelihood
from distill.results import ArmResult, Candidate, SeedResult
from distill.tasks import Task
from distill.tasks.task import Logits, softmax
from distill.text import Example


@dataclass(frozen=True)
class Trained:
    """What is known of an arm before test is read."""

    name: str
    differs_in: str
    texts: int
    parameters: int | None
    candidates: tuple[Candidate, ...]
    learning_rate: float | None
    seeds: tuple[SeedResult, ...]
    """``test`` is NaN until it is read."""
    tasks: tuple[Task, ...]
    """For each seed the task, with what it chose for that model on validation."""
    units: tuple[Sequence[Logits], ...]
    """One list of [U, C] logits on test a seed."""
    out_of_scope: tuple[Sequence[Logits], ...] = ()
    """The same on texts that belong to no label."""
    budget: int | None = None
    """Steps of each training."""
    agreement_learnt: float | None = None
    """With what taught it, on texts that it learnt from."""

    def answers(self, test: Sequence[Example]) -> list[list[Any]]:
        """Predictions on test, one list a seed."""
        return [task.predictions(units, test) for task, units in zip(self.tasks, self.units, strict=True)]

    def statistics(self, test: Sequence[Example]) -> Statistics:
        """[S, n, K] of the primary metric."""
        return np.stack([statistics(task, u, test) for task, u in zip(self.tasks, self.units, strict=True)])


@dataclass(frozen=True)
class Reference:
    """The floor and the teacher on test, which arms are compared with. Statistics are [n, K]."""

    linear: Statistics | None
    """None in a task that has no floor."""
    teacher: Statistics
    teacher_answers: list[Any] | None
    """None where they are tokens, and students have others."""


def statistics(task: Task, units: Sequence[Logits], test: Sequence[Example]) -> Statistics:
    """[n, K] of the primary metric."""
    return task.metric.statistics(task.predictions(units, test), task.gold(test))


def summarise(trained: Trained, task: Task, test: Sequence[Example], reference: Reference) -> ArmResult:
    """Score with interval, share of the gap recovered, agreement, calibration and further metrics."""
    stack, gold, answers = trained.statistics(test), task.gold(test), trained.answers(test)
    students = trained.name not in ("linear", "teacher")
    calibration = [_calibration(task, units, test) for units in trained.units] if task.kind == "categorical" else []
    further = {
        metric.name: float(np.mean([metric.score(a, gold) for a in answers]))
        for metric in task.metrics
        if metric.name != task.metric.name
    }
    if calibration:
        further["negative_log_likelihood"] = float(np.mean([c[1] for c in calibration]))
    if trained.out_of_scope:
        pairs = zip(trained.units, trained.out_of_scope, strict=True)
        further["out_of_scope_auroc"] = float(np.mean([auroc(_confidence(k), _confidence(u)) for k, u in pairs]))
    seeds = tuple(
        SeedResult(s.seed, s.validation, float(task.metric.reduce(one)), s.best_step, s.steps, s.seconds, s.curve)
        for s, one in zip(trained.seeds, stack, strict=True)
    )
    return ArmResult(
        name=trained.name,
        differs_in=trained.differs_in,
        texts=trained.texts,
        parameters=trained.parameters,
        candidates=trained.candidates,
        learning_rate=trained.learning_rate,
        seeds=seeds,
        score=score_over_seeds(task.metric, stack),
        gap_recovered=(
            gap_recovered(task.metric, stack, reference.linear, reference.teacher)
            if students and reference.linear is not None
            else None
        ),
        agreement=(
            float(np.mean([task.agreement(a, reference.teacher_answers) for a in answers]))
            if trained.name != "teacher" and reference.teacher_answers is not None
            else None
        ),
        calibration_error=float(np.mean([c[0] for c in calibration])) if calibration else None,
        metrics=further,
        budget=trained.budget,
        agreement_learnt=trained.agreement_learnt,
    )


def _confidence(units: Sequence[Logits]) -> list[float]:
    """The highest probability of each text."""
    return [float(softmax(u)[0].max()) for u in units]


def _calibration(task: Task, units: Sequence[Logits], test: Sequence[Example]) -> tuple[float, float]:
    """(expected calibration error, negative log-likelihood in nats) over units with a label and a prediction."""
    probabilities = np.concatenate([softmax(u) for u in units])
    gold = np.concatenate([task.targets(e, len(u)) for e, u in zip(test, units, strict=True)])
    known = (gold >= 0) & ~np.isnan(probabilities[:, 0])
    return (
        expected_calibration_error(probabilities[known], gold[known]),
        negative_log_likelihood(probabilities[known], gold[known]),
    )
