"""Texts that a report shows stand beside the names of their labels and of the answers of teacher and student."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from distill import tasks
from distill.stages import reporting
from distill.text import Example, Span

TAGS = ("B-x", "O")


@pytest.mark.parametrize(
    ("name", "labels", "example", "unit", "label", "teacher"),
    [
        ("text-classification", ("bad", "good"), Example("x", label="good"), [[2.0, 1.0]], "good", "bad"),
        ("multi-label-classification", ("a", "b"), Example("x", label=("a", "b")), [[-1.0, 2.0]], "a, b", "b"),
        ("multi-label-classification", ("a", "b"), Example("x", label=()), [[-1.0, -2.0]], "(none)", "(none)"),
        ("token-classification", TAGS, Example(("x", "y"), label=("O", "B-x")), [[2, 1], [1, 2]], "O, B-x", "B-x, O"),
        ("regression", (), Example("x", label=3.8), [[2.123456]], "3.8", "2.123"),
        ("question-answering", (), Example("x", "a b", (Span("a", 0),)), [[1.0, 0.0], [0.0, 1.0]], "a", "a b"),
        ("sentence-embedding", (), Example("x", "y"), [[1.0, 0.0], [1.0, 0.0]], "(unknown)", "1"),
    ],
)
def test_samples_name_labels_and_answers(
    name: str, labels: Any, example: Example, unit: Any, label: str, teacher: str
) -> None:
    task = tasks.build(name, labels)
    said = np.array(unit, dtype=np.float32)
    nothing = np.full_like(said, -9)  # what the seed says that is not exported
    texts = SimpleNamespace(dataset=SimpleNamespace(test=(example,)), task=task)
    findings: Any = SimpleNamespace(
        lesson=SimpleNamespace(texts=texts, signal=SimpleNamespace(task=task)),
        chosen=SimpleNamespace(arm=SimpleNamespace(name="soft"), index=1, thresholds=()),
        comparison=SimpleNamespace(units={"teacher": ([said],), "hard": ([nothing],), "soft": ([nothing], [said])}),
    )
    (sample,) = reporting.samples_of(findings)
    assert (sample["label"], sample["teacher"], sample["student"]) == (label, teacher, teacher)
