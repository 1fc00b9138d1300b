"""A text that is written from another one: translation, and any pair of columns."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from distill.errors import UserError, shown
from distill.metrics import Metric, TokenPredictions, bits_per_byte, bleu, chrf, next_token_accuracy, perplexity
from distill.metrics.translation import signature
from distill.tasks.cells import Fail, missing
from distill.tasks.language_modelling import LanguageModelling
from distill.tasks.task import Answer, Logits, Windows
from distill.text import Encoded, Example, Label, Reading, Target

NEXT_TOKEN_METRICS = (bits_per_byte, perplexity, next_token_accuracy)


@dataclass(frozen=True)
class Translation:
    """What was written."""

    text: str

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def as_line(self) -> str:
        """The text, a line of it a blank."""
        return " ".join(self.text.split("\n"))


class TextToText(LanguageModelling):
    """The label of a text is the one that is to be written.

    It is measured on what a model writes: the units of an answered text are the bytes of that, [U, 1]. Where a model
    is trained, and for soft labels, units are the tokens of the target, each predicted from the source and from those
    before it. With a ``metric`` of language modelling, the task is that of predicting them, :attr:`next_token`.
    """

    name = "text-to-text"
    own_label = False
    head = "Seq2SeqLM"
    label_noun = "target"
    agreement_is = "same text as the teacher's"
    hub_tag = "translation"

    def __init__(
        self,
        labels: tuple[str, ...],
        metric: str = "",
        windows: Windows | None = None,
        thresholds: tuple[float, ...] = (),
    ) -> None:
        super().__init__(labels, metric, windows, thresholds)
        self.metrics = tuple(m for m in self.metrics if (m in NEXT_TOKEN_METRICS) == self.predicts_tokens)

    def _metrics(self) -> tuple[Metric, ...]:
        return (bleu, chrf, *NEXT_TOKEN_METRICS)

    @property
    def counted(self) -> tuple[str, ...]:
        """sacrebleu's signatures."""
        return tuple(f"{m.title}: {signature(m.name)}" for m in self.metrics) if not self.predicts_tokens else ()

    @property
    def next_token(self) -> "TextToText":
        """The task of predicting the target's tokens."""
        return type(self)(self.labels, bits_per_byte.name, self.windows)

    @property
    def predicts_tokens(self) -> bool:
        """Whether it is measured by the tokens of the target."""
        return self.metric in NEXT_TOKEN_METRICS

    def shared_tokens(self, max_length: int) -> int | None:
        """None: a source that is longer is cut."""
        return None

    @staticmethod
    def label_of(value: Any, column: str, fail: Fail) -> Label:
        """The text that is to be written."""
        if missing(value):
            raise fail(f"no text in column '{column}', which holds what is to be written")
        if not isinstance(value, str):
            raise fail(f"column '{column}' holds {shown(value)} and no text")
        return Target(value)

    def question(self, value: Any) -> Example:
        """A text, or an object with ``text`` or ``source``."""
        text = value.get("text", value.get("source")) if isinstance(value, dict) else value
        if not isinstance(text, str):
            raise UserError(f'expected a text or {{"text": …}}, got {shown(value)}')
        return Example(text)

    def encode(self, reading: Reading, examples: Sequence[Example]) -> list[Encoded]:
        """The source, cut where it is longer than the maximum, and the target where there is one."""
        sources = reading.encode([Example(e.text) for e in examples])
        written = [e.label.text for e in examples if isinstance(e.label, Target)]
        targets = iter(reading.encode_targets(written))
        return [
            replace(source, target_ids=next(targets)) if isinstance(e.label, Target) else source
            for source, e in zip(sources, examples, strict=True)
        ]

    def predicted(self, encoded: Sequence[Encoded]) -> Iterator[tuple[int, int]]:
        """The tokens of the target from which the next one is predicted."""
        for e in encoded:
            yield 0, max(0, len(e.target_ids) - 1)

    def predictions(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[Any]:
        """What was written; of predicted tokens one :class:`TokenPredictions` a text."""
        return super().predictions(units, examples) if self.predicts_tokens else [text_of(u) for u in units]

    def gold(self, examples: Sequence[Example]) -> list[str]:
        """The targets; empty where a text has none."""
        return [e.label.text if isinstance(e.label, Target) else "" for e in examples]

    def answers(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[Answer]:
        """One :class:`Translation` a text."""
        return super().answers(units, examples) if self.predicts_tokens else [Translation(text_of(u)) for u in units]

    def constant(self, gold: Sequence[str]) -> list[Any]:
        """Nothing is written, whatever the source; or each byte is as likely as any other."""
        return super().constant(gold) if self.predicts_tokens else [""] * len(gold)

    def agreement(self, one: Sequence[Any], other: Sequence[Any]) -> float:
        """Share of equal texts, or of equal most likely tokens."""
        if one and isinstance(one[0], TokenPredictions):
            return super().agreement(one, other)
        if not one:
            raise ValueError("no answers to compare")
        return sum(bool(a == b) for a, b in zip(one, other, strict=True)) / len(one)

    def labels_of(self, predictions: Sequence[str]) -> list[Label]:
        """What was written, as targets."""
        return [Target(text) for text in predictions]

    def sample(self, paired: bool) -> Any:
        """A source."""
        return "A man is sitting on a bench."


def units_of(text: str) -> Logits:
    """What was written as units: its bytes, [U, 1]."""
    return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.float32)[:, None]


def text_of(units: Logits) -> str:
    """The inverse of :func:`units_of`."""
    return units[:, 0].astype(np.uint8).tobytes().decode()
