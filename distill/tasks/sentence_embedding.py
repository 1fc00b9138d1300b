"""A vector for a text, near those of texts that mean the same."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.metrics import Metric, pearson, spearman
from distill.tasks.cells import number_of
from distill.tasks.task import Answer, Logits, Task, text_question
from distill.text import Encoded, Example, Reading


@dataclass(frozen=True)
class Embedding:
    """The vector of a text; for a pair, both vectors and their cosine."""

    vectors: list[list[float]]
    similarity: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def as_line(self) -> str:
        """The cosine of a pair; of one text its vector."""
        if self.similarity is not None:
            return f"{self.similarity:.4f}"
        return " ".join(f"{x:.5g}" for x in self.vectors[0])


CODE = """\
(first,) = run(tokenizer.encode("first text"), "sentence_embedding")
(second,) = run(tokenizer.encode("second text"), "sentence_embedding")
print(float(first @ second))  # the cosine, as vectors have length 1
"""
"""Of the model card."""


class SentenceEmbedding(Task):
    """One vector of length 1 a text: the mean over its real tokens, divided by its norm.

    An example to learn on is one text, and its label is the teacher's vector. An example to test on is a pair with a
    score of how alike the two are: each text is a unit, and the prediction is the cosine between them.
    """

    name = "sentence-embedding"
    kind = "vector"
    labelled = False
    outputs = ("last_hidden_state", "sentence_embedding")
    read = ("sentence_embedding",)
    pair_holds = "second texts"
    label_free = True
    head = ""
    hub_tag = "sentence-similarity"
    agreement_is = "Pearson correlation with the teacher's similarities, × 100"
    agreement_unit = "× 100"
    floor_is = "TF-IDF alone"
    label_of = staticmethod(number_of)

    def _metrics(self) -> tuple[Metric, ...]:
        return (spearman, pearson)

    def question(self, value: Any) -> Example:
        """As :func:`text_question` reads it."""
        return text_question(value)

    def encode(self, reading: Reading, examples: Sequence[Example]) -> list[Encoded]:
        """Each text alone: the second of a pair is a window of its own. Long texts are cut."""
        first = reading.encode([Example(e.text) for e in examples])
        second = reading.encode([Example(e.pair or "") for e in examples])
        return [a if e.pair is None else a.followed_by(b) for e, a, b in zip(examples, first, second, strict=True)]

    def units(self, logits: Logits, encoded: Sequence[Encoded]) -> list[Logits]:
        """[R, D] to one [1, D] or [2, D] an example."""
        ends = np.cumsum([e.windows for e in encoded])
        return [unit.astype(np.float32) for unit in np.split(logits, ends[:-1])]

    def targets(self, example: Example, count: int | None = None) -> NDArray[np.float32]:
        """[U, 1] of NaN: no vector stands in the data."""
        return np.full((1 if example.pair is None else 2, 1), np.nan, dtype=np.float32)

    def predictions(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[float]:
        """The cosine of each pair; 0 where there is one text only, or a vector of zeros."""
        return [_cosine(u) for u in units]

    def gold(self, examples: Sequence[Example]) -> list[float]:
        """How alike two texts are."""
        labels: list[Any] = [e.label for e in examples]
        return [0.0 if label is None else float(label) for label in labels]

    def answers(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[Answer]:
        """One :class:`Embedding` a text or pair."""
        return [Embedding([list(map(float, v)) for v in u], _cosine(u) if len(u) == 2 else None) for u in units]

    def constant(self, gold: Sequence[float]) -> list[float]:
        """The same for all."""
        return [0.0] * len(gold)

    def agreement(self, one: Sequence[float], other: Sequence[float]) -> float:
        """Pearson's correlation of the cosines, at least 0."""
        return max(0.0, pearson.score(one, other))

    def plain_code(self, paired: bool) -> str:
        """How alike two texts are."""
        return CODE

    def shared_tokens(self, max_length: int) -> None:
        """Long texts are cut."""


def _cosine(unit: Logits) -> float:
    if len(unit) != 2:
        return 0.0
    one, other = unit.astype(np.float64)
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / norms if norms else 0.0
