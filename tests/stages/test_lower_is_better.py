"""What stages say of scores that are better the lower they are: without the minus, in the metric's own unit."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from distill import tasks
from distill.errors import UserError
from distill.metrics import Foretold
from distill.results import Estimate, scale_of
from distill.stages.delivery import missed_target
from distill.stages.signal import check_floor, overfit_warning
from distill.text import Example


def foretold(bits: float, sizes: list[int]) -> list[Foretold]:
    """By a model that needs so many bits a byte, of tokens of a byte each; every other token is right."""
    return [
        Foretold(bits * (1 + 0.02 * (i % 3 - 1)) * size * math.log(2), np.zeros(size, dtype=np.int64), size // 2)
        for i, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (
            "bits_per_byte",
            r"has bits per byte 8\.\d{3} on validation \(95 % interval to 8\.\d{3}\), and .* has 8\.000:",
        ),
        ("perplexity", r"has perplexity 25\d\.\d on validation \(95 % interval to 2\d\d\.\d\), and .* has 256\.0:"),
    ],
)
def test_what_is_better_the_lower_it_is_is_read_without_its_minus(metric: str, message: str) -> None:
    task, sizes = tasks.build("language-modelling", (), metric), [40 + i for i in range(30)]
    check_floor(True, task, foretold(7.5, sizes), sizes)
    with pytest.raises(UserError, match=message) as refused:
        check_floor(True, task, foretold(8.0, sizes), sizes)
    assert "give it more texts, or" in str(refused.value)
    assert "labels" not in str(refused.value).replace("soft labels", "")


def test_next_token_accuracy_keeps_its_three_digits() -> None:
    task = tasks.build("language-modelling", (), "next_token_accuracy")
    wrong = [Foretold(100.0, np.zeros(40, dtype=np.int64), 0)] * 8
    with pytest.raises(UserError, match=r"has next-token accuracy 0\.000 on validation \(95 % interval from 0\.000\)"):
        check_floor(True, task, wrong, [40] * 8)


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
    def known(value: float) -> Estimate:
        return Estimate(value, value, value, "")

    arm = SimpleNamespace(name="teacher", score=known(teacher))
    variant = SimpleNamespace(shipped=True, score=known(student), file_bytes=1, variant="int8")
    report: Any = SimpleNamespace(variants=[variant], arms=[arm], scale=scale_of(metric))
    config: Any = SimpleNamespace(max_teacher_drop=2.0)
    missed = missed_target(config, report)
    assert bool(missed) == bool(words)
    assert words in missed
