"""How well a language model foretells texts. Scores are better the higher they are, so that what is better the lower
it is stands with a minus: -0.9 is 0.9 bits a byte."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.metrics.metric import Metric, Statistics, column_sums


@dataclass(frozen=True)
class TokenPredictions:
    """What a language model said of one text, token by token, before it saw the token."""

    nats: float
    """-log p of all tokens together"""
    best: NDArray[np.int64]
    """[U], the most likely token at each place"""
    right: int
    """How many of these stood there."""


def size_of(text: str) -> int:
    """Its bytes in UTF-8; one at least, for the token behind an empty text."""
    return max(1, len(text.encode()))


def _counts(predictions: Sequence[TokenPredictions], gold: Sequence[str]) -> Statistics:
    """[n, 4]: nats, tokens, tokens predicted right, bytes. ``gold`` are the texts."""
    rows = [(p.nats, len(p.best), p.right, size_of(text)) for p, text in zip(predictions, gold, strict=True)]
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def _bits_per_byte(statistics: Statistics) -> NDArray[np.float64]:
    nats, _, _, size = np.moveaxis(column_sums(statistics), -1, 0)
    return np.asarray(-nats / size / math.log(2))


def _perplexity(statistics: Statistics) -> NDArray[np.float64]:
    nats, tokens, _, _ = np.moveaxis(column_sums(statistics), -1, 0)
    return np.asarray(-np.exp(nats / tokens))


def _next_token(statistics: Statistics) -> NDArray[np.float64]:
    _, tokens, right, _ = np.moveaxis(column_sums(statistics), -1, 0)
    return np.asarray(right / tokens)


bits_per_byte = Metric("bits_per_byte", "bits per byte", _counts, _bits_per_byte, least=-math.inf, greatest=0.0)
"""-log₂ p of all texts over their bytes in UTF-8: comparable between tokenizers."""
perplexity = Metric("perplexity", "perplexity", _counts, _perplexity, least=-math.inf, greatest=-1.0)
"""exp of -log p over tokens: comparable between models of one tokenizer alone."""
next_token_accuracy = Metric("next_token_accuracy", "next-token accuracy", _counts, _next_token)
"""Share of the tokens that were the most likely one."""
