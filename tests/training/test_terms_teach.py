"""A student trained by each term moves towards its teacher, and not by a teacher that speaks of other texts."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import TINY, WORDS, whole_words

from distill import tasks
from distill.config import (
    AttentionTerm,
    ClsTerm,
    DecoupledKlTerm,
    HiddenTerm,
    JsdTerm,
    KlTerm,
    MseTerm,
    RelationsTerm,
    ReverseKlTerm,
    SkewedKlTerm,
    Term,
    TrainConfig,
)
from distill.models import build_transformer
from distill.objectives import Objective, Seen
from distill.text import Example, Reading
from distill.training import Beside, Problem, Rows, find_machine, train
from distill.training.batching import Batch, make_batch
from distill.training.inside import shape_of
from distill.training.signal import look

MORE_DIVERGENCES = (
    ReverseKlTerm("reverse_kl"),
    JsdTerm("jsd"),
    SkewedKlTerm("skewed_kl"),
    SkewedKlTerm("skewed_kl", reverse=True),
)
TERMS: list[Any] = [
    KlTerm("kl"),
    *(pytest.param(term, marks=pytest.mark.slow) for term in MORE_DIVERGENCES),
    DecoupledKlTerm("dkd"),
    MseTerm("mse"),
    HiddenTerm("hidden"),
    HiddenTerm("hidden", distance="cosine"),
    HiddenTerm("hidden", distance="cka"),
    ClsTerm("cls"),
    AttentionTerm("attention"),
    AttentionTerm("attention", compared="weights"),
    RelationsTerm("relations"),
]
TASK = tasks.build("text-classification", ("a", "b", "c", "d"))
READING = Reading(whole_words(), 12)
SIZES = replace(TINY, layers=2, dropout=0.0)


def texts(count: int, seed: int) -> list[Example]:
    """Two words each, so that texts may change places."""
    random = np.random.default_rng(seed)
    return [Example(" ".join(random.choice(WORDS, 2)), label="a") for _ in range(count)]


@torch.no_grad()
def model(seed: int, size: int) -> Any:
    """With weights so large that its answers depend on the text."""
    sizes = replace(SIZES, hidden_size=size, intermediate_size=2 * size, initializer_range=0.16)
    made = build_transformer(sizes, READING.tokenizer, {}, TASK, 12, seed).model
    for name, parameter in made.named_parameters():
        if "attention.output" in name or "attention.value" in name:
            parameter.mul_(4)
    return made


@pytest.fixture(scope="module")
def teacher() -> Any:
    """No class is likely in all texts: there is nothing to learn but what it says of each."""
    made = model(9, 24).eval()
    with torch.no_grad():
        made.classifier.weight.mul_(8)
        every = texts(256, 2)
        batch = make_batch(TASK.encode(READING, every), every, TASK, READING.pad_id)
        made.classifier.bias -= look(made, batch, frozenset({"units"})).units.mean((0, 1))
    return made


class OfOthers(Beside):
    """What the teacher says of the text beside each."""

    def of(self, batch: Batch) -> Seen:
        return super().of(replace(batch, inputs={**batch.inputs, "input_ids": batch.inputs["input_ids"].roll(1, 0)}))


@torch.no_grad()
def distance(objective: Objective, student: Any, teacher: Any) -> float:
    unseen = texts(64, 1)
    batch = make_batch(TASK.encode(READING, unseen), unseen, TASK, READING.pad_id)
    both = [look(one.eval(), batch, objective.needs) for one in (student, teacher)]
    return float(objective(*both, batch, list(objective.counts(batch))))


@pytest.mark.parametrize("term", TERMS, ids=lambda t: f"{t.name}-{getattr(t, 'distance', getattr(t, 'compared', ''))}")
def test_the_student_moves_towards_its_teacher(term: Term, teacher: Any) -> None:
    reached = {}
    for signal in (Beside, OfOthers):
        torch.manual_seed(0)
        student = model(0, 16)
        objective = Objective.of([term], TASK.kind, (shape_of(student, TASK), shape_of(teacher, TASK)))
        before = distance(objective, student, teacher)
        rows, budget = Rows.read(TASK, READING, texts(128, 0)), TrainConfig(steps=30, batch_size=16, evaluations=1)
        problem = Problem(student, objective, signal(teacher, objective.needs), rows, None, budget, 2e-2, 0, "test")
        train(problem, None, find_machine("cpu", "fp32"))
        reached[signal] = distance(objective, student, teacher)
    assert reached[Beside] < 0.8 * before
    assert reached[Beside] < 0.97 * reached[OfOthers]


def test_schedules_are_told_the_share_of_the_steps_that_were_taken(
    teacher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective, told = Objective.of([KlTerm("kl")], TASK.kind), []
    monkeypatch.setattr(objective, "step_to", told.append)
    rows, budget = Rows.read(TASK, READING, texts(8, 0)), TrainConfig(steps=4, batch_size=4, evaluations=1)
    signal = Beside(teacher, objective.needs)
    train(
        Problem(model(0, 16), objective, signal, rows, None, budget, 1e-3, 0, "test"), None, find_machine("cpu", "fp32")
    )
    assert told == [0.0, 0.25, 0.5, 0.75]
