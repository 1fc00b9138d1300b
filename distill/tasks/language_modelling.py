"""Which token comes next, at each token of a text."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.errors import UserError, shown
from distill.metrics import Foretold, Metric, bits_per_byte, next_token_accuracy, perplexity
from distill.tasks.cells import Fail
from distill.tasks.task import Answer, Logits, Task
from distill.text import Encoded, Example, Label, Reading, rows_of

TOP = 32
"""Tokens whose probability is kept of each soft label."""


@dataclass(frozen=True)
class Likelihood:
    """How well a text was foretold."""

    bits_per_byte: float
    perplexity: float
    tokens: int

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def as_line(self) -> str:
        """Bits per byte, and perplexity a token."""
        return f"{self.bits_per_byte:.3f} bits per byte, perplexity {self.perplexity:.1f}"


class LanguageModelling(Task):
    """A unit is a token that is to be foretold: each one but the first, which stands before the text, and with it the
    one behind the text.

    A model's logits of a unit are those of all V tokens. Where a text is answered, [U, 3] is kept of them: log
    probability of the token that came, the most likely token, the token that came; of a teacher, [U, 2k + 1]: the k
    most likely tokens, their log probabilities, and that of all others together.
    """

    name = "language-modelling"
    kind = "token"
    labelled = False
    writes = True
    head = "CausalLM"
    no_floor = "a linear model writes no text"
    agreement_is = "same most likely token as the teacher"
    hub_tag = "text-generation"

    def _metrics(self) -> tuple[Metric, ...]:
        return (bits_per_byte, perplexity, next_token_accuracy)

    @property
    def shared(self) -> int:
        """Tokens that a window of a long text has in common with the one before: read again, told once."""
        return 1 if self.windows is None else self.windows.stride

    @property
    def width(self) -> int:
        """Numbers that are kept of a unit."""
        return 3

    @staticmethod
    def label_of(value: Any, column: str, fail: Fail) -> Label:
        """There are none: a text is its own label."""
        raise fail(f"has a label in '{column}', but in language modelling a text is its own label; set data.label=null")

    def question(self, value: Any) -> Example:
        """A text, or an object with ``text``: the beginning of what is to be written."""
        text = value.get("text") if isinstance(value, dict) else value
        if not isinstance(text, str):
            raise UserError(f'expected a text or {{"text": …}}, got {shown(value)}')
        return Example(text)

    def encode(self, reading: Reading, examples: Sequence[Example]) -> list[Encoded]:
        """Whole texts, in windows where they are long."""
        return reading.encode_whole(examples, self.shared)

    def told(self, encoded: Sequence[Encoded]) -> Iterator[tuple[int, int]]:
        """For each window of a batch the positions [first, last) whose next token is a unit."""
        for e in encoded:
            for i, row in enumerate((e, *e.more)):
                yield (self.shared - 1 if i else 0), len(row.input_ids) - 1

    def units(self, logits: Logits, encoded: Sequence[Encoded]) -> list[Logits]:
        """[R, L, V] to [U, 3] an example."""
        return self._by_example(logits, encoded, _outcome)

    def soft_labels(self, logits: Logits, encoded: Sequence[Encoded]) -> list[Logits]:
        """[R, L, V] to [U, 2k + 1] an example."""
        return self._by_example(logits, encoded, lambda logits, _: _most_likely(logits))

    def _by_example(self, logits: Logits, encoded: Sequence[Encoded], kept: Any) -> list[Logits]:
        rows = iter(zip(logits, rows_of(encoded), self.told(encoded), strict=True))
        found = []
        for e in encoded:
            own = [next(rows) for _ in range(e.windows)]
            units = [kept(row[first:last], ids.input_ids[first + 1 : last + 1]) for row, ids, (first, last) in own]
            found.append(np.concatenate(units).astype(np.float32))
        return found

    def targets(self, example: Example, count: int | None = None) -> NDArray[np.int64]:
        """None: they are the tokens themselves."""
        return np.zeros(0, dtype=np.int64)

    def predictions(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[Foretold]:
        """One a text."""
        found = []
        for u in units:
            best = u[:, 1].astype(np.int64)
            found.append(Foretold(-float(u[:, 0].sum(dtype=np.float64)), best, int((best == u[:, 2]).sum())))
        return found

    def gold(self, examples: Sequence[Example]) -> list[int]:
        """Bytes of each text; one at least, for the token behind an empty text."""
        return [max(1, len(str(e.text).encode())) for e in examples]

    def answers(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[Answer]:
        """One :class:`Likelihood` a text."""
        found: list[Answer] = []
        for told, size in zip(self.predictions(units, examples), self.gold(examples), strict=True):
            tokens = len(told.best)
            found.append(Likelihood(told.nats / math.log(2) / size, math.exp(told.nats / tokens), tokens))
        return found

    def constant(self, gold: Sequence[int]) -> list[Foretold]:
        """Each byte as likely as any other."""
        return [Foretold(size * math.log(256), np.full(size, -1), 0) for size in gold]

    def agreement(self, one: Sequence[Foretold], other: Sequence[Foretold]) -> float:
        """Share of the tokens at which both find the same one most likely."""
        best = [np.concatenate([told.best for told in told_of]) for told_of in (one, other)]
        if not len(best[0]):
            raise ValueError("no answers to compare")
        return float((best[0] == best[1]).mean())

    def sample(self, paired: bool) -> Any:
        """The beginning of a text."""
        return "Once upon a time"


def _outcome(logits: Logits, came: NDArray[np.int64]) -> Logits:
    """[U, V] and the tokens [U] that came, to [U, 3]."""
    logs = _log_softmax(logits)
    return np.stack([logs[np.arange(len(came)), came], logs.argmax(-1), came], axis=-1)


def _most_likely(logits: Logits) -> Logits:
    """[U, V] to [U, 2k + 1], k at most V; the most likely token first."""
    logs = _log_softmax(logits)
    k = min(TOP, logs.shape[-1])
    ids = np.argpartition(-logs, k - 1, axis=-1)[:, :k]
    ids = np.take_along_axis(ids, np.argsort(-np.take_along_axis(logs, ids, -1), axis=-1, kind="stable"), -1)
    kept = np.take_along_axis(logs, ids, -1)
    rest = np.log(np.maximum(1 - np.exp(kept.astype(np.float64)).sum(-1, keepdims=True), 1e-12))
    return np.concatenate([ids, kept, rest], axis=-1)


def _log_softmax(logits: Logits) -> Logits:
    shifted: Logits = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
