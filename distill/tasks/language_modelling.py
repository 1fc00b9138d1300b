"""Which token comes next, at each token of a text."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.errors import UserError, shown
from distill.metrics import Metric, TokenPredictions, bits_per_byte, next_token_accuracy, perplexity
from distill.metrics.language import size_of
from distill.tasks.cells import Fail
from distill.tasks.task import Answer, Logits, Task
from distill.text import Encoded, Example, Label, Reading
from distill.text.encoding import Ids


@dataclass(frozen=True)
class Likelihood:
    """How well a text was predicted."""

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
    """A unit is a token that is to be predicted: each one but the first, which stands before the text, and with it the
    one behind the text.

    Of the logits of all V tokens no more is kept than what is asked for, [L, C] for the tokens of a row: where a text
    is answered the three numbers of :func:`outcome`, of a teacher's soft labels the most likely tokens.
    """

    name = "language-modelling"
    kind = "token"
    labelled = False
    own_label = True
    writes = True
    head = "CausalLM"
    no_floor = "a linear model writes no text"
    agreement_is = "same most likely token as the teacher"
    hub_tag = "text-generation"

    def _metrics(self) -> tuple[Metric, ...]:
        return (bits_per_byte, perplexity, next_token_accuracy)

    @property
    def floor_metric(self) -> Metric:
        """Bits per byte where tokens are predicted: perplexity compares models of one tokenizer alone."""
        return bits_per_byte if self.predicts_tokens else self.metric

    def shared_tokens(self, max_length: int) -> int | None:
        """Of neighbouring windows."""
        return self.shared

    @property
    def shared(self) -> int:
        """Tokens that a window of a long text has in common with the one before: read again, predicted once."""
        return 1 if self.windows is None else self.windows.stride

    @property
    def width(self) -> int:
        """Numbers that are kept of a unit."""
        return 3

    @staticmethod
    def label_of(value: Any, column: str, fail: Fail) -> Label:
        """Never asked: a text is its own label."""
        raise fail(f"column '{column}' is read for a label, but a text is its own label")

    def question(self, value: Any) -> Example:
        """A text, or an object with ``text``: the beginning of what is to be written."""
        text = value.get("text") if isinstance(value, dict) else value
        if not isinstance(text, str):
            raise UserError(f'expected a text or {{"text": …}}, got {shown(value)}')
        return Example(text)

    def encode(self, reading: Reading, examples: Sequence[Example]) -> list[Encoded]:
        """Whole texts, in windows where they are long."""
        return reading.encode_whole(examples, self.shared)

    def predicted(self, encoded: Sequence[Encoded]) -> Iterator[tuple[int, int]]:
        """For each window of a batch the positions [first, last) whose next token is a unit."""
        for e in encoded:
            for i, row in enumerate((e, *e.more)):
                yield (self.shared - 1 if i else 0), len(row.input_ids) - 1

    def units(self, logits: Logits, encoded: Sequence[Encoded]) -> list[Logits]:
        """What was kept at each token of the rows, [R, L, C], to [U, C] an example."""
        places = zip(logits, self.predicted(encoded), strict=True)
        units = [row[first:last].astype(np.float32) for row, (first, last) in places]
        cut, start = [], 0
        for e in encoded:
            cut.append(np.concatenate(units[start : start + e.windows]))
            start += e.windows
        return cut

    def targets(self, example: Example, count: int | None = None) -> NDArray[np.int64]:
        """None: they are the tokens themselves."""
        return np.zeros(0, dtype=np.int64)

    def predictions(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[Any]:
        """One a text."""
        found = []
        for u in units:
            best = u[:, 1].astype(np.int64)
            found.append(TokenPredictions(-float(u[:, 0].sum(dtype=np.float64)), best, int((best == u[:, 2]).sum())))
        return found

    def gold(self, examples: Sequence[Example]) -> list[str]:
        """The texts."""
        return [str(e.text) for e in examples]

    def answers(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[Answer]:
        """One :class:`Likelihood` a text."""
        found: list[Answer] = []
        for predicted, text in zip(self.predictions(units, examples), self.gold(examples), strict=True):
            tokens = len(predicted.best)
            bits = predicted.nats / math.log(2) / size_of(text)
            found.append(Likelihood(bits, math.exp(predicted.nats / tokens), tokens))
        return found

    def constant(self, gold: Sequence[str]) -> list[Any]:
        """Each byte as likely as any other."""
        return [TokenPredictions(size * math.log(256), np.full(size, -1), 0) for size in map(size_of, gold)]

    def agreement(self, one: Sequence[Any], other: Sequence[Any]) -> float:
        """Share of the tokens at which both find the same one most likely."""
        best = [np.concatenate([one.best for one in predicted]) for predicted in (one, other)]
        if not len(best[0]):
            raise ValueError("no answers to compare")
        return float((best[0] == best[1]).mean())

    def sample(self, paired: bool) -> Any:
        """The beginning of a text."""
        return "Once upon a time"


def outcome(logits: Logits, ids: Ids) -> Logits:
    """[R, L, V] for rows of ``ids`` [R, L] to [R, L, 3]: at each token the log probability of the next one, the token
    that was the most likely next one, and the next one; behind the last token nothing of meaning."""
    following = np.roll(ids, -1, axis=1)[..., None]
    shifted = logits - logits.max(axis=-1, keepdims=True)
    total = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    log_p = np.take_along_axis(shifted, following, axis=-1) - total
    return np.concatenate([log_p, logits.argmax(-1)[..., None], following], axis=-1).astype(np.float32)
