"""One label for a text or a pair of texts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.metrics import Metric, accuracy, macro_f1
from distill.tasks.cells import class_of
from distill.tasks.task import NO_LABEL, Answer, Logits, Task, plain_encoding, softmax, text_question
from distill.text import Example, Label


@dataclass(frozen=True)
class Classification:
    """The label of a text, with probabilities that sum to 1."""

    label: str
    probability: float
    probabilities: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def as_line(self) -> str:
        """Label and probability."""
        return f"{self.label}\t{self.probability:.4f}"


CODE = """\
(logits,) = run(encoding, "logits")
probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
print(dict(zip(bundle["task"]["labels"], probabilities.tolist())))
"""
"""Of the model card."""


class TextClassification(Task):
    """Single sentence or sentence pair; one unit an example."""

    name = "text-classification"
    one_label = True
    problem_type = "single_label_classification"
    hub_tag = "text-classification"
    floor_is = "TF-IDF and logistic regression"
    label_of = staticmethod(class_of)

    def _metrics(self) -> tuple[Metric, ...]:
        return (accuracy, macro_f1(len(self.labels)))

    def question(self, value: Any) -> Example:
        """As :func:`text_question` reads it."""
        return text_question(value)

    def targets(self, example: Example, count: int | None = None) -> NDArray[np.int64]:
        """[1]"""
        return np.array([NO_LABEL if example.label is None else self.index[str(example.label)]], dtype=np.int64)

    def predictions(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[int]:
        """Index of the best label."""
        return [int(u[0].argmax()) for u in units]

    def gold(self, examples: Sequence[Example]) -> list[int]:
        """Index of the label."""
        return [int(self.targets(e)[0]) for e in examples]

    def answers(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[Answer]:
        """One :class:`Classification` a text."""
        answers: list[Answer] = []
        for u in units:
            probabilities = softmax(u)[0]
            best = int(probabilities.argmax())
            by_label = {label: float(p) for label, p in zip(self.labels, probabilities, strict=True)}
            answers.append(Classification(self.labels[best], float(probabilities[best]), by_label))
        return answers

    def constant(self, gold: Sequence[int]) -> list[int]:
        """The most frequent label."""
        return [label for label, _ in Counter(gold).most_common(1)] * len(gold)

    def counts(self, predictions: Sequence[int], gold: Sequence[int]) -> tuple[int, int]:
        """Texts."""
        return sum(p == g for p, g in zip(predictions, gold, strict=True)), len(gold)

    def labels_of(self, predictions: Sequence[int]) -> list[Label]:
        """Names."""
        return [self.labels[p] for p in predictions]

    def plain_code(self, paired: bool) -> str:
        """Every label with its probability."""
        return plain_encoding(paired) + CODE
