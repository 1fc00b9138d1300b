"""What is asked of a text. One file a task; no torch.

Every task with a name that a module of this package defines is there for recipes and bundles. A task that stands
elsewhere is made known by :func:`register`, before a recipe or a bundle names it.
"""

import importlib
import inspect
import math
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from distill.errors import UserError, nearest
from distill.results import from_plain
from distill.tasks.task import Answer, Task, Windows, gives_one_label

__all__ = ["TASKS", "Answer", "Task", "Windows", "build", "find", "from_section", "gives_one_label", "register"]

T = TypeVar("T", bound=type[Task])

TASKS: dict[str, type[Task]] = {}
"""The tasks there are, by name."""


def register(task: T) -> T:
    """Makes a task known by its name; also as a decorator of its class.

    Raises ValueError where another task has the name, TypeError where a method of the contract is missing.
    """
    if missing := sorted(getattr(task, "__abstractmethods__", ())):
        raise TypeError(f"{task.__name__} is no task: {', '.join(missing)} missing")
    if TASKS.setdefault(task.name, task) is not task:
        raise ValueError(f"{task.__name__}: {TASKS[task.name].__name__} is called '{task.name}', too")
    return task


for _module in pkgutil.iter_modules(__path__):
    for _found in vars(importlib.import_module(f"{__name__}.{_module.name}")).values():
        if inspect.isclass(_found) and issubclass(_found, Task) and hasattr(_found, "name"):
            register(_found)


def find(name: str) -> type[Task]:
    """The task of this name. Raises UserError, with the nearest right name, where there is none."""
    if name not in TASKS:
        raise UserError(f"unknown task '{name}'{nearest(name, TASKS)}")
    return TASKS[name]


def build(name: str, labels: Sequence[str], metric: str = "", windows: Windows | None = None) -> Task:
    """The task of this name over these labels, with ``metric`` (or the task's own when empty) as the primary one.

    Raises UserError for an unknown task or metric.
    """
    return find(name)(tuple(labels), metric, windows)


@dataclass(frozen=True)
class Section:
    """What :meth:`Task.section` writes."""

    name: str
    labels: tuple[str, ...]
    metric: str
    windows: Windows | None = None
    thresholds: tuple[float, ...] = ()


def from_section(section: Mapping[str, Any]) -> Task:
    """The task that :meth:`Task.section` describes.

    Raises UserError for an unknown task or metric, ValueError, TypeError or KeyError for what is no such section.
    """
    said = from_plain(Section, dict(section))
    if TASKS.get(said.name, Task).labelled and not said.labels:
        raise ValueError("labels missing")
    if len(set(said.labels)) < len(said.labels):
        raise ValueError("a label stands twice among the labels")
    if said.windows is not None and said.windows.stride < 0:
        raise ValueError(f"windows share {said.windows.stride} tokens")
    task = build(said.name, said.labels, said.metric, said.windows)
    if not said.thresholds:
        return task
    if task.kind != "bernoulli" or len(said.thresholds) != task.width or not all(map(math.isfinite, said.thresholds)):
        raise ValueError(f"thresholds do not fit {said.name} with {task.width} labels")
    return task.with_thresholds(said.thresholds)
