"""What happens inside the teacher, computed once, read from memory-mapped files by the content of the row; numpy
alone."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.results import from_plain
from distill.text import Example
from distill.training.soft_labels import ByText, keys_of

States = NDArray[np.float16]
SHARD = 2**27
"""Bytes that are written at a time; a single text may be above."""
BYTES = 2
"""Of a number in float16"""


@dataclass(frozen=True)
class Compared:
    """Layers of the teacher that terms compare the student's with; 0 is the embeddings."""

    hidden: tuple[int, ...] = ()
    """Whose hidden states are compared at each token"""
    first: tuple[int, ...] = ()
    """Whose hidden states are compared at the first token of each row alone"""
    qkv: tuple[int, ...] = ()
    """Whose queries, keys and values are compared"""
    state_size: int = 0
    """Of a hidden state"""
    query_size: int = 0
    """Of a layer's queries, of all heads; of its keys and values likewise"""

    @property
    def of_token(self) -> int:
        """Numbers that are kept of each token."""
        return len(self.hidden) * self.state_size + 3 * len(self.qkv) * self.query_size

    @property
    def of_row(self) -> int:
        """Numbers that are kept of each row besides, of its first token."""
        return len(self.first) * self.state_size

    def numbers(self, tokens: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """[N], how many are kept of so many tokens in so many rows."""
        return tokens * self.of_token + rows * self.of_row


class StateStore(ByText):
    """States by text, in float16: ``tokens_until.npy`` and ``rows_until.npy`` [N + 1], ``keys.npy`` [N] of 16 bytes,
    ``compared.json``, and shards of neighbouring texts, each named after the first of them.

    A shard is one line of numbers, of each text [T, :attr:`Compared.of_token`] of its T tokens, row by row without
    padding, then [R, :attr:`Compared.of_row`] of its R rows. Float16 rounds to 11 significant bits, by a share of 2⁻¹¹
    at most (0.05 %) from 6.1e-5 to 65504, and by 3e-8 at most below; what is above does not belong in a store.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.compared = from_plain(Compared, json.loads((directory / "compared.json").read_text(encoding="utf-8")))
        self.tokens_until: NDArray[np.int64] = np.load(directory / "tokens_until.npy", mmap_mode="r")
        self.rows_until: NDArray[np.int64] = np.load(directory / "rows_until.npy", mmap_mode="r")
        files = sorted(directory.glob("[0-9]*.npy"))
        self.firsts = np.array([int(file.stem) for file in files], dtype=np.int64)
        self.shards: list[States] = [np.load(file, mmap_mode="r", allow_pickle=False) for file in files]

    def at(self, row: int) -> tuple[States, States]:
        """Of the text that stands there, its tokens' [T, :attr:`Compared.of_token`], and its rows'
        [R, :attr:`Compared.of_row`]."""
        shard = int(np.searchsorted(self.firsts, row, side="right")) - 1
        tokens, rows = (int(until[row + 1] - until[row]) for until in (self.tokens_until, self.rows_until))
        begin = self._numbers_until(row) - self._numbers_until(int(self.firsts[shard]))
        middle = begin + tokens * self.compared.of_token
        end = middle + rows * self.compared.of_row
        numbers = self.shards[shard]
        return (
            numbers[begin:middle].reshape(tokens, self.compared.of_token),
            numbers[middle:end].reshape(rows, self.compared.of_row),
        )

    def of(self, rows: Sequence[int]) -> tuple[States, States]:
        """The same of several texts, one after another."""
        found = [self.at(row) for row in rows]
        tokens, firsts = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return tokens, firsts

    def _numbers_until(self, row: int) -> int:
        return int(self.compared.numbers(self.tokens_until[row], self.rows_until[row]))


@dataclass(frozen=True)
class Sizes:
    """N texts that states are to be kept of."""

    tokens_until: NDArray[np.int64]
    """[N + 1], tokens of all texts before each"""
    rows_until: NDArray[np.int64]
    """[N + 1], rows likewise"""

    def shards(self, compared: Compared) -> list[tuple[int, int]]:
        """Neighbouring texts, the first and the one behind the last, of :data:`SHARD` bytes at most, or of one text."""
        until = compared.numbers(self.tokens_until, self.rows_until)
        found: list[tuple[int, int]] = []
        while (first := found[-1][1] if found else 0) < len(until) - 1:
            end = int(np.searchsorted(until, until[first] + SHARD // BYTES, side="right")) - 1
            found.append((first, max(end, first + 1)))
        return found


def name_of(first: int) -> str:
    """Of the shard that begins with this text."""
    return f"{first:012}.npy"


def write_shard(folder: Path, first: int, states: Sequence[tuple[States, States]]) -> None:
    """Keeps what :meth:`StateStore.at` gives of neighbouring texts. What has its name is whole: until then it begins
    with a dot."""
    aside = folder / f".{name_of(first)}-{os.getpid()}"
    with aside.open("wb") as file:
        np.save(file, np.concatenate([part.ravel() for text in states for part in text]))
    aside.rename(folder / name_of(first))


def write_index(folder: Path, compared: Compared, examples: Sequence[Example], sizes: Sizes) -> None:
    """What is kept, and what leads from a text to where it stands in the shards."""
    (folder / "compared.json").write_text(json.dumps(asdict(compared)))
    np.save(folder / "tokens_until.npy", sizes.tokens_until)
    np.save(folder / "rows_until.npy", sizes.rows_until)
    np.save(folder / "keys.npy", keys_of(examples).view("V16"))
