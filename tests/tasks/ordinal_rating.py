"""Ordinal classification: a rating on a scale of ordered labels, such as one to five stars.

Written as someone else would write it: this one file is all that the house is told of the task.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.metrics import Metric, accuracy
from distill.metrics.classification import class_indices, ratio_of_sums
from distill.metrics.metric import Statistics
from distill.tasks.cells import class_of
from distill.tasks.task import Answer, Logits, Task, plain_encoding, sigmoid, text_question
from distill.text import Example, Label

CODE = """\
(logits,) = run(encoding, "logits")
print(bundle["task"]["labels"][int((logits > 0).sum())])
"""


def _near(predictions: Sequence[int], gold: Sequence[int]) -> Statistics:
    """[n, 2]: at most one step away, total."""
    given, true = class_indices(predictions, gold)
    return np.stack([abs(given - true) <= 1, np.ones(len(true))], axis=1).astype(np.float64)


within_one = Metric("within_one_step", "within one step", _near, ratio_of_sums)


@dataclass(frozen=True)
class Rating:
    """The rating of a text, and how probable it is to be above each rating but the highest."""

    label: str
    above: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def as_line(self) -> str:
        return self.label


class OrdinalRating(Task):
    """K ordered labels by K - 1 yes-or-no answers, "is it above this one?" (Frank and Hall 2001, "A simple approach to
    ordinal classification"); one unit an example."""

    name = "ordinal-rating"
    kind = "bernoulli"
    label_noun = "rating"
    one_label = True
    problem_type = "multi_label_classification"
    hub_tag = "text-classification"
    agreement_is = "same rating as the teacher"
    floor_is = "TF-IDF and a logistic regression a step"
    label_of = staticmethod(class_of)

    @property
    def width(self) -> int:
        return len(self.labels) - 1

    @property
    def output_names(self) -> tuple[str, ...]:
        return tuple(f"above {label}" for label in self.labels[:-1])

    def _metrics(self) -> tuple[Metric, ...]:
        return (accuracy, within_one)

    def question(self, value: Any) -> Example:
        return text_question(value)

    def targets(self, example: Example, count: int | None = None) -> NDArray[np.float32]:
        if example.label is None:
            return np.full((1, self.width), np.nan, dtype=np.float32)
        return (np.arange(self.width) < self.index[str(example.label)]).astype(np.float32)[None]

    def predictions(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[int]:
        return [int((u[0] > 0).sum()) for u in units]

    def gold(self, examples: Sequence[Example]) -> list[int]:
        return [self.index[str(e.label)] for e in examples]

    def answers(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[Answer]:
        return [
            Rating(self.labels[p], dict(zip(self.labels[:-1], map(float, sigmoid(u)[0]), strict=True)))
            for u, p in zip(units, self.predictions(units, examples), strict=True)
        ]

    def constant(self, gold: Sequence[int]) -> list[int]:
        return [int(np.bincount(np.asarray(gold)).argmax())] * len(gold)

    def counts(self, predictions: Sequence[int], gold: Sequence[int]) -> tuple[int, int]:
        return sum(p == g for p, g in zip(predictions, gold, strict=True)), len(gold)

    def labels_of(self, predictions: Sequence[int]) -> list[Label]:
        return [self.labels[p] for p in predictions]

    def plain_code(self, paired: bool) -> str:
        return plain_encoding(paired) + CODE
