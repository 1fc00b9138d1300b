"""What stages say of scores that are better the lower they are: without the minus, in the metric's own unit."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from distill import tasks
from distill.config import LayersStudent, RecurrentStudent, StaticStudent, TransformerStudent
from distill.config.schema import VNNI
from distill.errors import UserError
from distill.metrics import TokenPredictions
from distill.results import Estimate, scale_of
from distill.stages.delivery import missed_target
from distill.stages.signal import check_floor, overfit_warning
from distill.text import Example

LAYERS = LayersStudent("layers")


def predictions(bits: float, sizes: list[int]) -> list[TokenPredictions]:
    """By a model that needs so many bits a byte, of tokens of a byte each; every other token is right."""
    return [
        TokenPredictions(
            bits * (1 + 0.02 * (i % 3 - 1)) * size * math.log(2), np.zeros(size, dtype=np.int64), size // 2
        )
        for i, size in enumerate(sizes)
    ]


@pytest.mark.parametrize("metric", ["bits_per_byte", "perplexity", "next_token_accuracy"])
def test_a_language_model_must_be_better_than_bytes_that_are_all_alike(metric: str) -> None:
    task, texts = tasks.build("language-modelling", (), metric), ["x" * (40 + i) for i in range(30)]
    sizes = list(map(len, texts))
    check_floor(True, task, predictions(7.5, sizes), texts)
    message = r"has bits per byte 8\.\d{3} on validation \(95 % interval to 8\.\d{3}\), and .* has 8\.000:"
    with pytest.raises(UserError, match=message) as refused:
        check_floor(True, task, predictions(8.0, sizes), texts)
    assert "give it more texts, or" in str(refused.value)
    assert "labels" not in str(refused.value).replace("soft labels", "")


@pytest.mark.parametrize(
    ("metric", "validation", "words"),
    [
        ("bits_per_byte", -1.15, "1.000 on the labelled training texts and 1.150 on validation (bits per byte):"),
        ("bits_per_byte", -1.05, ""),
        ("perplexity", -2.4, "2.0 on the labelled training texts and 2.4 on validation (perplexity):"),
        ("perplexity", -2.15, ""),
        ("next_token_accuracy", 0.35, "50.0 on the labelled training texts and 35.0 on validation"),
        ("next_token_accuracy", 0.45, ""),
    ],
)
def test_a_teacher_that_knows_its_texts_by_heart(metric: str, validation: float, words: str) -> None:
    task, text = tasks.build("language-modelling", (), metric), Example("x" * 30)
    units = np.zeros((30, 3), dtype=np.float32)
    units[:, 0] = -math.log(2)  # a bit a byte
    units[::2, 1] = 1  # the most likely token, where another one came
    warned = overfit_warning(task, [text], [units], validation)
    assert len(warned) == bool(words)
    assert all(words in warning for warning in warned)


@pytest.mark.parametrize(
    ("metric", "teacher", "student", "words"),
    [
        ("bits_per_byte", -0.845, -0.912, "loses 0.0670 bits per byte to the teacher on test, 0.02 are allowed"),
        ("bits_per_byte", -0.845, -0.85, ""),
        ("perplexity", -17.2, -21.3, "loses 4.10 in perplexity to the teacher on test, 0.02 are allowed"),
        ("accuracy", 0.845, 0.801, "loses 4.40 points to the teacher on test, 2 are allowed"),
    ],
)
def test_a_target_that_is_missed(metric: str, teacher: float, student: float, words: str) -> None:
    missed = missed_by(metric, teacher, student)
    assert bool(missed) == bool(words)
    assert words in missed


def test_of_a_cascade_it_is_both_models_that_lose() -> None:
    assert missed_by("accuracy", 0.845, 0.801, SimpleNamespace(difference=known(-0.015))) == ""
    assert (
        "max_teacher_drop is not kept: the cascade loses 2.10 points to the teacher on test, 2 are allowed"
        in missed_by("accuracy", 0.845, 0.845, SimpleNamespace(difference=known(-0.021)))
    )


@pytest.mark.parametrize(
    ("student", "mend"),
    [
        (LayersStudent("layers"), "more texts, more layers (student.count) or more steps"),
        (RecurrentStudent("recurrent"), "more texts, larger sizes (student.architecture) or more steps"),
        (TransformerStudent("transformer"), "more texts, larger sizes (student.architecture) or more steps"),
        (StaticStudent("static"), "more texts, larger sizes (student.architecture) or more steps"),
    ],
)
def test_what_brings_a_target_nearer_is_there_in_the_student(student: Any, mend: str) -> None:
    assert mend in missed_by("accuracy", 0.845, 0.801, student=student)


def known(value: float) -> Estimate:
    return Estimate(value, value, value, "")


def missed_by(metric: str, teacher: float, score: float, cascade: Any = None, student: Any = LAYERS) -> str:
    """Of a run that may lose 2 points."""
    arm = SimpleNamespace(name="teacher", score=known(teacher))
    variant = SimpleNamespace(shipped=True, score=known(score), file_bytes=9, variant="int8", needs=())
    elsewhere = SimpleNamespace(shipped=True, score=known(-99.0), file_bytes=1, variant="int8_vnni", needs=VNNI)
    report: Any = SimpleNamespace(variants=[variant, elsewhere], arms=[arm], scale=scale_of(metric), cascade=cascade)
    config: Any = SimpleNamespace(max_teacher_drop=2.0, student=student)
    return missed_target(config, report)
