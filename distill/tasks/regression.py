"""A number for a text or a pair of texts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.metrics import Metric, pearson, spearman
from distill.tasks.cells import number_of
from distill.tasks.task import Answer, Logits, Task, plain_encoding, text_question
from distill.text import Example, Label


@dataclass(frozen=True)
class Number:
    """The number a text got, in the units of the data."""

    value: float

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def as_line(self) -> str:
        """The number."""
        return f"{self.value:.4f}"


CODE = """\
(logits,) = run(encoding, "logits")
print(float(logits[0]))  # in the units of the data
"""
"""Of the model card."""


class Regression(Task):
    """One number; one unit an example."""

    name = "regression"
    kind = "number"
    labelled = False
    label_noun = "number"
    problem_type = "regression"
    hub_tag = "text-classification"
    agreement_is = "Pearson correlation with the teacher's numbers, × 100"
    agreement_unit = "× 100"
    floor_is = "TF-IDF and ridge regression"
    label_of = staticmethod(number_of)

    @property
    def width(self) -> int:
        """1"""
        return 1

    def _metrics(self) -> tuple[Metric, ...]:
        return (pearson, spearman)

    def question(self, value: Any) -> Example:
        """As :func:`text_question` reads it."""
        return text_question(value)

    def targets(self, example: Example, count: int | None = None) -> NDArray[np.float32]:
        """[1, 1]"""
        label: Any = example.label
        return np.array([[np.nan if label is None else label]], dtype=np.float32)

    def predictions(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[float]:
        """The number."""
        return [float(u[0, 0]) for u in units]

    def gold(self, examples: Sequence[Example]) -> list[float]:
        """The number."""
        labels: list[Any] = [e.label for e in examples]
        return [float(label) for label in labels]

    def answers(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[Answer]:
        """One :class:`Number` a text."""
        return [Number(p) for p in self.predictions(units, examples)]

    def constant(self, gold: Sequence[float]) -> list[float]:
        """The mean."""
        return [float(np.mean(gold))] * len(gold)

    def labels_of(self, predictions: Sequence[float]) -> list[Label]:
        """The numbers."""
        return list(predictions)

    def agreement(self, one: Sequence[float], other: Sequence[float]) -> float:
        """Pearson's correlation, at least 0."""
        return max(0.0, pearson.score(one, other))

    def plain_code(self, paired: bool) -> str:
        """The number."""
        return plain_encoding(paired) + CODE
