"""Any number of labels for a text or a pair of texts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from distill.metrics import Metric, micro_f1, multilabel_macro_f1, subset_accuracy
from distill.tasks.task import Answer, Logits, Task, sigmoid, text_question
from distill.text import Example, Label

ENOUGH = 20
"""Validation texts with a label, below which it takes the threshold of all labels together."""


@dataclass(frozen=True)
class MultiLabel:
    """The labels of a text, none included, with the probability of each label there is."""

    labels: list[str]
    probabilities: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


class MultiLabelClassification(Task):
    """One yes-or-no answer a label; one unit an example.

    Where to say yes is chosen on validation, for each model: with rare labels, a probability of one half is much too
    high a bar. Before that the threshold is a logit of 0.
    """

    name = "multi-label-classification"
    kind = "bernoulli"

    def _metrics(self) -> tuple[Metric, ...]:
        return (micro_f1(len(self.labels)), multilabel_macro_f1(len(self.labels)), subset_accuracy)

    def question(self, value: Any) -> Example:
        """As :func:`text_question` reads it."""
        return text_question(value)

    def targets(self, example: Example, count: int | None = None) -> NDArray[np.float32]:
        """[1, C] of 0 and 1"""
        if example.label is None:
            return np.full((1, len(self.labels)), np.nan, dtype=np.float32)
        names: Any = example.label
        hot = np.zeros((1, len(self.labels)), dtype=np.float32)
        hot[0, [self.index[name] for name in names]] = 1.0
        return hot

    def predictions(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[NDArray[np.int64]]:
        """[C] of 0 and 1"""
        bar = np.array(self.thresholds or [0.0] * len(self.labels))
        return [(u[0] > bar).astype(np.int64) for u in units]

    def gold(self, examples: Sequence[Example]) -> list[NDArray[np.int64]]:
        """[C] of 0 and 1"""
        return [np.nan_to_num(self.targets(e)[0]).astype(np.int64) for e in examples]

    def answers(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[Answer]:
        """One :class:`MultiLabel` a text, its labels from the most to the least probable."""
        answers: list[Answer] = []
        for u, given in zip(units, self.predictions(units, examples), strict=True):
            probabilities = sigmoid(u)[0]
            chosen = [self.labels[i] for i in np.argsort(-probabilities, kind="stable") if given[i]]
            answers.append(MultiLabel(chosen, dict(zip(self.labels, map(float, probabilities), strict=True))))
        return answers

    def constant(self, gold: Sequence[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
        """The most frequent label, alone."""
        most = np.zeros(len(self.labels), dtype=np.int64)
        most[np.sum(gold, axis=0).argmax()] = 1
        return [most] * len(gold)

    def labels_of(self, predictions: Sequence[NDArray[np.int64]]) -> list[Label]:
        """Names."""
        return [tuple(label for label, given in zip(self.labels, p, strict=True) if given) for p in predictions]

    def fit(self, units: Sequence[Logits], examples: Sequence[Example]) -> Self:
        """Thresholds with the highest F1 on these texts: one for all labels, then one for each that is frequent."""
        logits, gold = np.concatenate(units), np.stack(self.gold(examples))
        thresholds = np.full(len(self.labels), best_threshold(logits.ravel(), gold.ravel()))
        for i in np.flatnonzero(gold.sum(axis=0) >= ENOUGH):
            thresholds[i] = best_threshold(logits[:, i], gold[:, i])
        return self.with_thresholds(thresholds.tolist())


def best_threshold(logits: NDArray[Any], gold: NDArray[np.int64]) -> float:
    """The logit above which answering yes gives the highest F1; both [n]. Half way between two neighbouring logits."""
    order = np.argsort(-logits, kind="stable")
    ranked = logits[order].astype(np.float64)
    right = np.cumsum(gold[order])
    f1 = 2 * right / (np.arange(1, len(order) + 1) + gold.sum())
    apart = np.append(ranked[:-1] > ranked[1:], True)  # equal logits are all above the threshold, or none
    if not gold.any():
        return float(ranked[0])
    best = int(np.where(apart, f1, -1.0).argmax())
    below = ranked[best + 1] if best + 1 < len(ranked) else ranked[best] - 1.0
    return float((ranked[best] + below) / 2)
