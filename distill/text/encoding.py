"""The ids of examples, and batches of them: windows and padding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

PAD_TOKENS = ("[PAD]", "<pad>", "<|pad|>", "<|padding|>")
"""What the padding token is usually called."""

AT_ONCE = 10_000
"""Texts that are read at a time: what the tokenizers library gives takes several kB a text."""

T = TypeVar("T")
Ids = NDArray[np.int64]
EMPTY: Ids = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Encoded:
    """The ids of one example, not padded; of its first window, where it is read in several.

    L is their number, W the number of words that fit.
    """

    input_ids: Ids
    """[L]"""
    token_type_ids: Ids
    """[L], 1 on the second text of a pair where the tokenizer says so"""
    word_starts: Ids
    """[W], the position of the first piece of each word; empty unless the example is made of words. A word that
    truncation cut off has none, and a word without any piece has -1."""
    truncated: bool
    """True where the text was longer than the maximum, and a part of it is in no window."""
    word_ends: Ids = field(default_factory=lambda: EMPTY)
    """[W], the position of the last piece of each word."""
    word_rows: Ids = field(default_factory=lambda: EMPTY)
    """[W], the window of each word: one with its first piece, of these the one with most of its pieces, then with most
    context on both sides."""
    more: "tuple[Encoded, ...]" = ()
    """Further windows."""
    target_ids: Ids = field(default_factory=lambda: EMPTY)
    """[T], of a text that is to be written, from the token that the decoder starts with to the end; empty where there
    is none."""

    @property
    def windows(self) -> int:
        """How many there are, this one included."""
        return 1 + len(self.more)

    @property
    def second_length(self) -> int:
        """Tokens of the second text of a pair, where the tokenizer marks it."""
        return int((self.token_type_ids == 1).sum())

    def followed_by(self, other: "Encoded") -> "Encoded":
        """The same example with another row behind its own."""
        return replace(self, more=(*self.more, other))


def in_parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """One part of at most :data:`AT_ONCE` after the other."""
    return (items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE))


def rows_of(encoded: Sequence[Encoded]) -> list[Encoded]:
    """The windows of all examples, one after another: the rows of a batch."""
    return [row for e in encoded for row in (e, *e.more)]


def pad(batch: Sequence[Encoded], pad_id: int, length: int | None = None) -> dict[str, Ids]:
    """Pads on the right to the longest, or to ``length``.

    Returns ``input_ids``, ``attention_mask`` and ``token_type_ids``, each [B, L] of int64, and ``target_ids`` [B, T]
    where there are some.
    """
    width = length or max(len(e.input_ids) for e in batch)
    ids = np.full((len(batch), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(batch), width), dtype=np.int64)
    types = np.zeros((len(batch), width), dtype=np.int64)
    for row, e in enumerate(batch):
        n = len(e.input_ids)
        ids[row, :n], mask[row, :n], types[row, :n] = e.input_ids, 1, e.token_type_ids
    padded = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    if longest := max(len(e.target_ids) for e in batch):
        padded["target_ids"] = np.full((len(batch), longest), pad_id, dtype=np.int64)
        for row, e in enumerate(batch):
            padded["target_ids"][row, : len(e.target_ids)] = e.target_ids
    return padded
