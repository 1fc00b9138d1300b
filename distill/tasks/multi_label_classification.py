"""Any number of labels for a text or a pair of texts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from distill.metrics import Metric, micro_f1, multilabel_macro_f1, subset_accuracy
from distill.tasks.cells import renamed, set_of
from distill.tasks.task import Answer, Logits, Task, plain_encoding, sigmoid, text_question
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

    def as_line(self) -> str:
        """The labels, each with its probability."""
        return "\t".join(f"{label}\t{self.probabilities[label]:.4f}" for label in self.labels) or "(no label)"


CODE = """\
(logits,) = run(encoding, "logits")
thresholds = bundle["task"].get("thresholds", [0] * len(logits))  # logits above which a label is given
for label, logit, threshold in zip(bundle["task"]["labels"], logits, thresholds):
    if logit > threshold:
        print(label, 1 / (1 + np.exp(-logit)))  # the label and its probability
"""
"""Of the model card."""


class MultiLabelClassification(Task):
    """One yes-or-no answer a label; one unit an example.

    Where to say yes is chosen on validation, for each model: with rare labels, a probability of one half is much too
    high a bar. Before that the threshold is a logit of 0.
    """

    name = "multi-label-classification"
    kind = "bernoulli"
    label_noun = "set of labels"
    problem_type = "multi_label_classification"
    hub_tag = "text-classification"
    agreement_is = "same set of labels as the teacher"
    floor_is = "TF-IDF and logistic regression"
    label_of = staticmethod(set_of)

    @staticmethod
    def renamed(label: Label, label_map: Mapping[str, str]) -> Label:
        """Sorted, and each label once: two may have got one name."""
        names: Any = renamed(label, label_map)
        return tuple(sorted(set(names)))

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
        """Thresholds for a high F1 on these texts: one for all labels together, then one for each that is frequent.

        For macro F1 each label is best on its own. For micro F1 a label's threshold is the one with which all labels
        together, the others as they stand, are best: a label that a model cannot tell is then hardly ever given.
        """
        logits, gold = np.concatenate(units), np.stack(self.gold(examples))
        thresholds = np.full(len(self.labels), best_threshold(logits.ravel(), gold.ravel()))
        together = self.metric.name != "macro_f1"

        def counted(i: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
            """Of these labels: how many answers are right; how many are given and how many wanted, together."""
            given, wanted = logits[:, i] > thresholds[i], gold[:, i]
            return (given & (wanted == 1)).sum(axis=0), given.sum(axis=0) + wanted.sum(axis=0)

        right, both = (count.sum() for count in counted(slice(None)))
        for i in np.flatnonzero(gold.sum(axis=0) >= ENOUGH):
            own_right, own_both = counted(i)
            elsewhere = (int(right - own_right), int(both - own_both)) if together else (0, 0)
            thresholds[i] = best_threshold(logits[:, i], gold[:, i], *elsewhere)
            new_right, new_both = counted(i)
            right, both = right - own_right + new_right, both - own_both + new_both
        return self.with_thresholds(thresholds.tolist())

    def plain_code(self, paired: bool) -> str:
        """The labels that are given."""
        return plain_encoding(paired) + CODE


def best_threshold(logits: NDArray[Any], gold: NDArray[np.int64], right: int = 0, others: int = 0) -> float:
    """The logit above which answering yes gives the highest F1; both [n]. Half way between two neighbouring logits.

    With answers elsewhere of which ``right`` are right, ``others`` being the given and the wanted ones together, the F1
    is that of all.
    """
    order = np.argsort(-logits, kind="stable")
    ranked = logits[order].astype(np.float64)
    hits = right + np.append(0, np.cumsum(gold[order]))
    wanted = others + gold.sum()
    f1 = 2 * hits / np.maximum(1, np.arange(len(order) + 1) + wanted)
    apart = np.concatenate([[True], ranked[:-1] > ranked[1:], [True]])  # equal logits are all given, or none
    best = int(np.where(apart, f1, -1.0).argmax())  # how many are given
    above = ranked[best - 1] if best else ranked[0] + 1.0
    below = ranked[best] if best < len(ranked) else ranked[-1] - 1.0
    return float((above + below) / 2)
