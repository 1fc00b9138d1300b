"""What is asked of a text. One file a task; no torch."""

from collections.abc import Sequence

from distill.errors import UserError, nearest
from distill.tasks.task import Answer, Task
from distill.tasks.text_classification import Classification, TextClassification
from distill.tasks.token_classification import Tagging, TokenClassification

__all__ = ["TASKS", "Answer", "Classification", "Tagging", "Task", "TextClassification", "TokenClassification", "build"]

TASKS: dict[str, type[Task]] = {t.name: t for t in (TextClassification, TokenClassification)}


def build(name: str, labels: Sequence[str], metric: str = "") -> Task:
    """The task of this name over these labels, with ``metric`` (or the task's own when empty) as the primary one.

    Raises UserError for an unknown task or metric.
    """
    if name not in TASKS:
        raise UserError(f"unknown task '{name}'{nearest(name, TASKS)}")
    return TASKS[name](tuple(labels), metric)
