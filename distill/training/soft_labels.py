"""The teacher's logits, computed once, read from a memory-mapped file by the content of the row."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.tasks.task import Logits
from distill.text import Example


class SoftLabelStore:
    """Logits by text: ``logits.npy`` [units of all texts, C], ``offsets.npy`` [N + 1], ``keys.npy`` [N] of 16 bytes.

    Raw logits are kept; temperature is applied when they are read. Teacher, tokenizer and maximum length are part of
    the fingerprint of the stage that writes the store; the row's key is its text.
    """

    def __init__(self, directory: Path) -> None:
        self.logits: Logits = np.load(directory / "logits.npy", mmap_mode="r", allow_pickle=False)
        self.offsets: NDArray[np.int64] = np.load(directory / "offsets.npy", allow_pickle=False)
        keys = np.load(directory / "keys.npy", allow_pickle=False)
        self.row = {key.tobytes(): i for i, key in enumerate(keys)}

    @property
    def width(self) -> int:
        """C"""
        return int(self.logits.shape[-1])

    def __len__(self) -> int:
        return len(self.row)

    def __contains__(self, example: Example) -> bool:
        return example.key in self.row

    def __getitem__(self, example: Example) -> Logits:
        """[U, C] of a text. Raises KeyError where the teacher never saw it."""
        return self.at(self.row_of(example))

    def row_of(self, example: Example) -> int:
        """Where a text stands. Raises KeyError where the teacher never saw it."""
        if example.key not in self.row:
            raise KeyError("the soft-label store has no row for a text; it was written for other data")
        return self.row[example.key]

    def at(self, row: int) -> Logits:
        """[U, C] of the text that stands there."""
        return self.logits[self.offsets[row] : self.offsets[row + 1]]

    @staticmethod
    def write(directory: Path, examples: Sequence[Example], units: Sequence[Logits]) -> None:
        """Writes the store; texts that repeat are kept once."""
        rows: dict[bytes, Logits] = {}
        for example, unit in zip(examples, units, strict=True):
            rows.setdefault(example.key, unit)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        sizes = [len(unit) for unit in rows.values()]
        np.save(directory / "logits.npy", np.concatenate(list(rows.values())).astype(np.float32))
        np.save(directory / "offsets.npy", np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))
        np.save(directory / "keys.npy", np.frombuffer(b"".join(rows), dtype="V16"))
