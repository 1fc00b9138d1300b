"""The contract every task keeps."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from distill.errors import UserError, nearest
from distill.metrics import Metric
from distill.text import Encoded, Example

Logits = NDArray[np.float32]

AGREEMENT = "agreement"
"""The metric where nothing is labelled: the task's own, with the teacher's answers in place of labels."""

NO_LABEL = -100
"""Stands where a unit has no label; every term leaves it out."""


class Answer(Protocol):
    """What ``predict`` gives for one text."""

    def as_dict(self) -> dict[str, Any]:
        """The answer as plain JSON values."""


class Task(ABC):
    """A task over a fixed list of labels.

    An example has *units*, the things that are labelled: one for a whole text, one a word for its words. Logits of an
    example are always [U, C]: U units, C labels. Training, the soft-label store, terms and post-processing all speak
    of units, so that none of them knows the task.
    """

    name: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]] = ("logits",)
    """Names of the graph's outputs."""
    words: ClassVar[bool]
    """Texts are given as words, and units are words."""

    def __init__(self, labels: tuple[str, ...], metric: str = "") -> None:
        self.labels = labels
        self.index = {label: i for i, label in enumerate(labels)}
        metrics = {m.name: m for m in self._metrics()}
        if metric == AGREEMENT:
            first = next(iter(metrics.values()))
            metrics[AGREEMENT] = replace(first, name=AGREEMENT, title="agreement with the teacher")
        if metric and metric not in metrics:
            raise UserError(f"{self.name} has no metric '{metric}'{nearest(metric, metrics)}")
        self.metric = metrics[metric] if metric else next(iter(metrics.values()))
        """The primary metric."""
        self.metrics = tuple(metrics.values())

    @abstractmethod
    def _metrics(self) -> tuple[Metric, ...]:
        """All metrics of the task, its own primary one first."""

    @abstractmethod
    def question(self, value: Any) -> Example:
        """What a caller gave (a text, a pair, a JSON object) as an example. Raises UserError where it is none."""

    @abstractmethod
    def units(self, logits: Logits, encoded: Sequence[Encoded]) -> list[Logits]:
        """Cuts the graph's output for a batch into one [U, C] array an example."""

    @abstractmethod
    def targets(self, example: Example, count: int | None = None) -> NDArray[np.int64]:
        """[U] label indices of an example, ``NO_LABEL`` where it has none; the first ``count`` units if given."""

    @abstractmethod
    def predictions(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[Any]:
        """What the metrics compare with :meth:`gold`."""

    @abstractmethod
    def gold(self, examples: Sequence[Example]) -> list[Any]:
        """The labels, as the metrics take them."""

    @abstractmethod
    def answers(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[Answer]:
        """What a person sees."""

    @abstractmethod
    def correct(self, predictions: Sequence[Any], gold: Sequence[Any]) -> tuple[int, int]:
        """Number of right answers and of all answers, for the floor that a teacher must beat."""

    @abstractmethod
    def majority(self, gold: Sequence[Any]) -> float:
        """Share of the most frequent answer: the floor itself."""

    def section(self) -> dict[str, Any]:
        """The task's section of ``bundle.json``."""
        return {"name": self.name, "labels": list(self.labels), "metric": self.metric.name}


def softmax(logits: Logits) -> NDArray[np.float64]:
    """Softmax over the last axis, in double precision."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    exponential = np.exp(shifted)
    result: NDArray[np.float64] = exponential / exponential.sum(axis=-1, keepdims=True)
    return result
