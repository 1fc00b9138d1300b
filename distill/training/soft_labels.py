"""The teacher's logits, computed once, read from a memory-mapped file by the content of the row."""

import shutil
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from distill.tasks.task import Logits
from distill.text import Example


class ByText:
    """N texts found by their content: ``keys.npy`` [N] of 16 bytes in a folder."""

    def __init__(self, directory: Path) -> None:
        keys = np.load(directory / "keys.npy", allow_pickle=False).view("S16")
        self.order = np.argsort(keys)
        """[N], rows by their keys: a dictionary of them would take 20 times as much memory as the keys."""
        self.keys = keys[self.order]

    def __len__(self) -> int:
        return len(self.keys)

    def rows_of(self, examples: Sequence[Example]) -> NDArray[np.int64]:
        """[M], where texts stand. Raises KeyError where the teacher never saw one."""
        asked = keys_of(examples)
        places = np.searchsorted(self.keys, asked)
        if len(places) and (places.max() == len(self.keys) or (self.keys[places] != asked).any()):
            raise KeyError(f"{type(self).__name__} has no row for a text; it was written for other data")
        rows: NDArray[np.int64] = self.order[places]
        return rows


class SoftLabelStore(ByText):
    """Logits by text: ``logits.npy`` [units of all texts, C], ``offsets.npy`` [N + 1], ``keys.npy`` [N] of 16 bytes.

    Raw logits are kept; temperature is applied when they are read. Teacher, tokenizer and maximum length are part of
    the fingerprint of the stage that writes the store; the row's key is its text, and the target that is to be written
    of it: a source that stands there with two targets has two rows.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.logits: Logits = np.load(directory / "logits.npy", mmap_mode="r", allow_pickle=False)
        self.offsets: NDArray[np.int64] = np.load(directory / "offsets.npy", mmap_mode="r", allow_pickle=False)

    @property
    def width(self) -> int:
        """C"""
        return int(self.logits.shape[-1])

    def __contains__(self, example: Example) -> bool:
        try:
            self.row_of(example)
        except KeyError:
            return False
        return True

    def __getitem__(self, example: Example) -> Logits:
        """[U, C] of a text. Raises KeyError where the teacher never saw it."""
        return self.at(self.row_of(example))

    def row_of(self, example: Example) -> int:
        """Where a text stands. Raises KeyError where the teacher never saw it."""
        return int(self.rows_of([example])[0])

    def at(self, row: int) -> Logits:
        """[U, C] of the text that stands there."""
        return self.logits[self.offsets[row] : self.offsets[row + 1]]

    @staticmethod
    def write(directory: Path, examples: Sequence[Example], units: Iterable[Logits]) -> None:
        """Writes the store; rows that repeat are kept once. ``units`` may be a generator: what was written is
        forgotten."""
        keys = keys_of(examples)
        kept = np.zeros(len(keys), dtype=np.bool_)
        kept[first_of_each(keys)] = True
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        until = array("q", [0])
        width = 0
        with (directory / "logits.npy").open("wb") as file:
            for first_of_its_kind, unit in zip(kept.tolist(), units, strict=True):
                if not until[-1] and not file.tell():
                    width = unit.shape[-1]
                    _write_header(file, 0, width)
                if first_of_its_kind:
                    file.write(unit.astype(np.float32).tobytes())
                    until.append(until[-1] + len(unit))
            file.seek(0)
            _write_header(file, until[-1], width)
        np.save(directory / "offsets.npy", np.frombuffer(until, dtype=np.int64))
        np.save(directory / "keys.npy", keys[kept].view("V16"))


def keys_of(examples: Sequence[Example]) -> NDArray[np.bytes_]:
    """[M], of 16 bytes each."""
    return np.frombuffer(b"".join(e.key for e in examples), dtype="S16")


def first_of_each(keys: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """[N], where each of the texts with these keys stands for the first time, in their order."""
    return np.sort(np.unique(keys, return_index=True)[1])


def _write_header(file: BinaryIO, rows: int, width: int) -> None:
    """The beginning of a ``.npy`` file of float32 [rows, width]; numpy leaves room in it for any number of rows."""
    described = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
    np.lib.format.write_array_header_1_0(file, described)
