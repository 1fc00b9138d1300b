"""What is said of a teacher that has not learnt enough."""

import dataclasses
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from distill.evaluation.teacher import undertrained
from distill.metrics import TokenPredictions, accuracy, bits_per_byte
from distill.results import ArmResult, CurvePoint, Estimate, SeedResult

RNG = np.random.default_rng(0)
EASE = RNG.random(2_000)
"""A text is right for a model as good as this or better."""


def answers(*shares: float) -> NDArray[np.float64]:
    """[S, n, 2] of accuracy: each seed is right on the easiest share of the texts."""
    right = np.stack([share > EASE for share in shares])
    return np.stack([right, np.ones_like(right)], axis=-1).astype(np.float64)


def teacher(score: float, best_step: int = 40, last: int = 60) -> ArmResult:
    curve = tuple(CurvePoint(step, 0.1, score) for step in range(20, last + 1, 20))
    seed = SeedResult(0, score, score, best_step, last, 1.0, curve)
    estimate = Estimate(score, score, score, "")
    return ArmResult("teacher", "", 0, 1, (), 1e-4, (seed,), estimate, None, None, None)


def said(**arms: tuple[float, ...]) -> tuple[str, ...]:
    (score,) = arms["teacher"]
    return undertrained(accuracy, teacher(score), {name: answers(*shares) for name, shares in arms.items()})


def test_a_teacher_well_above_floor_and_student_is_not_doubted() -> None:
    assert said(linear=(0.68,), hard=(0.72, 0.73, 0.72), teacher=(0.80,)) == ()
    assert said(teacher=(0.80,)) == ()


def test_a_teacher_that_is_right_everywhere_is_not_doubted() -> None:
    assert said(linear=(1.0,), hard=(1.0, 1.0, 1.0), teacher=(1.0,)) == ()


def test_a_teacher_that_is_not_above_linear_is_named_with_the_mend() -> None:
    (only,) = said(linear=(0.70,), hard=(0.50, 0.51, 0.50), teacher=(0.70,))
    assert "not above the linear floor" in only
    assert "teacher.train.steps" in only


@pytest.mark.parametrize("hard", [(0.78, 0.78, 0.78), (0.75, 0.79, 0.775)])
def test_a_student_that_reaches_its_teacher_on_hard_labels_is_named(hard: tuple[float, ...]) -> None:
    (only,) = said(linear=(0.60,), hard=hard, teacher=(0.77,))
    assert "reaches its teacher on hard labels alone" in only
    assert "teacher.train.learning_rates" in only


def test_a_lead_that_is_not_shown_is_not_called_none() -> None:
    (only,) = said(linear=(0.60,), hard=(0.76, 0.70, 0.78), teacher=(0.77,))
    assert only.startswith(
        "the teacher is not shown to be ahead of the student on hard labels: the teacher's lead is +"
    )


def test_a_teacher_that_is_taken_as_it_is_is_not_to_be_trained_here() -> None:
    ready = dataclasses.replace(teacher(0.7).seeds[0], curve=(), best_step=0, validation=math.nan)
    as_it_is = dataclasses.replace(teacher(0.7), seeds=(ready,))
    stacks = {"linear": answers(0.8), "hard": answers(0.8, 0.8), "teacher": answers(0.7)}
    floor, student = undertrained(accuracy, as_it_is, stacks)
    assert "teacher.train" not in floor + student
    assert "train it longer before, or give another one" in floor


def test_a_single_text_has_no_interval_to_name() -> None:
    one = answers(0.0)[:, :1]
    stacks = {"hard": one, "teacher": one}
    (only,) = undertrained(accuracy, teacher(0.8), stacks)
    assert "the teacher's lead is +0.0 points; raise teacher.train.steps" in only


def test_a_best_step_that_is_the_last_is_named() -> None:
    stacks = {"teacher": answers(0.8)}
    assert undertrained(accuracy, teacher(0.8, best_step=40), stacks) == ()
    (only,) = undertrained(accuracy, teacher(0.8, best_step=60), stacks)
    assert "at its last step (60)" in only
    ready = dataclasses.replace(teacher(0.8).seeds[0], curve=(), best_step=0, validation=math.nan)
    assert undertrained(accuracy, dataclasses.replace(teacher(0.8), seeds=(ready,)), stacks) == ()


def test_bits_per_byte_are_read_without_the_minus_and_a_lead_is_above_0() -> None:
    wave = np.arange(60) % 3 - 1

    def predictions(bits: float) -> NDArray[np.float64]:
        """[1, n, K] of a model that needs so many bits for each byte of texts of 10 bytes."""
        nats = bits * 10 * math.log(2) * (1 + 0.05 * wave)
        answers = [TokenPredictions(float(of_text), np.zeros(4, dtype=np.int64), 2) for of_text in nats]
        return bits_per_byte.statistics(answers, ["ten bytes."] * len(wave))[None]

    (only,) = undertrained(bits_per_byte, teacher(-1.2), {"teacher": predictions(1.2), "hard": predictions(1.198)})
    assert "the teacher's lead is −0.002 bits per byte [−0.002, −0.002];" in only
    assert undertrained(bits_per_byte, teacher(-1.2), {"teacher": predictions(1.2), "hard": predictions(1.3)}) == ()
