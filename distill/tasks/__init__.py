"""What is asked of a text. One file a task; no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from distill.errors import UserError, nearest
from distill.tasks.multi_label_classification import MultiLabel, MultiLabelClassification
from distill.tasks.question_answering import QuestionAnswering, SpanAnswer
from distill.tasks.regression import Number, Regression
from distill.tasks.sentence_embedding import Embedding, SentenceEmbedding
from distill.tasks.task import Answer, Task, Windows
from distill.tasks.text_classification import Classification, TextClassification
from distill.tasks.token_classification import Tagging, TokenClassification

__all__ = [
    "TASKS",
    "Answer",
    "Classification",
    "Embedding",
    "MultiLabel",
    "MultiLabelClassification",
    "Number",
    "QuestionAnswering",
    "Regression",
    "SentenceEmbedding",
    "SpanAnswer",
    "Tagging",
    "Task",
    "TextClassification",
    "TokenClassification",
    "Windows",
    "build",
    "from_section",
]

TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        TextClassification,
        MultiLabelClassification,
        Regression,
        TokenClassification,
        QuestionAnswering,
        SentenceEmbedding,
    )
}


def build(name: str, labels: Sequence[str], metric: str = "", windows: Windows | None = None) -> Task:
    """The task of this name over these labels, with ``metric`` (or the task's own when empty) as the primary one.

    Raises UserError for an unknown task or metric.
    """
    if name not in TASKS:
        raise UserError(f"unknown task '{name}'{nearest(name, TASKS)}")
    return TASKS[name](tuple(labels), metric, windows)


def from_section(section: Mapping[str, Any]) -> Task:
    """The task that :meth:`Task.section` describes.

    Raises UserError for an unknown task or metric, ValueError, TypeError or KeyError for what is no such section.
    """
    windows = section.get("windows")
    if TASKS.get(section["name"], Task).labelled and not section["labels"]:
        raise ValueError("labels missing")
    task = build(section["name"], section["labels"], section["metric"], Windows(**windows) if windows else None)
    return task.with_thresholds(section["thresholds"]) if section.get("thresholds") else task
