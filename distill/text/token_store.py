"""Texts that were read once, in memory-mapped files."""

from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from distill.errors import UserError
from distill.text.encoding import EMPTY, Encoded, rows_of

FLAT = ("input_ids", "token_type_ids", "word_starts", "word_ends", "word_rows", "target_ids")
"""Of all rows one after another, each in the smallest type that holds it."""
OFFSETS = ("tokens_until", "words_until", "targets_until", "rows_until")
"""Where tokens, words and target of each row [R + 1], and the rows of each example [N + 1], begin and end."""
FILES = (*FLAT, *OFFSETS, "truncated")
CHUNK = 1 << 16
"""Numbers that are looked at at a time."""


class TokenStore(Sequence[Encoded]):
    """The ids of N texts, in the order in which they were given, in a folder of ``.npy`` files.

    Made once by :meth:`write` and shared by all who read the same texts with the same
    :class:`~distill.text.Reading`; soft labels of these texts stand in the same order. Opening maps the files into
    memory and reads nothing; an example is put together when it is asked for. A row is a window of an example; an
    example that is read whole has one.
    """

    def __init__(self, folder: Path) -> None:
        """Raises UserError where a file is missing, or is no array."""
        arrays: dict[str, NDArray[Any]] = {}
        for name in FILES:
            path = folder / f"{name}.npy"
            try:
                arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise UserError(f"{path} is not an array of read texts ({error}); make {folder} again") from error
        self._arrays = arrays

    @staticmethod
    def write(folder: Path, encoded: Iterable[Encoded]) -> None:
        """Writes a store. ``encoded`` may be a generator: what was written of an example is forgotten.

        Raises ValueError for windows that have windows themselves.
        """
        flat = {name: bytearray() for name in FLAT}
        until = {name: array("q", [0]) for name in OFFSETS}
        truncated: list[bool] = []
        for example in encoded:
            for row in rows_of([example]):
                if row is not example and row.more:
                    raise ValueError("a window of an example has windows of its own; a store keeps one level of them")
                for name, column in flat.items():
                    column += getattr(row, name).astype(np.int32).tobytes()
                truncated.append(row.truncated)
                until["tokens_until"].append(until["tokens_until"][-1] + len(row.input_ids))
                until["words_until"].append(until["words_until"][-1] + len(row.word_starts))
                until["targets_until"].append(until["targets_until"][-1] + len(row.target_ids))
            until["rows_until"].append(until["rows_until"][-1] + example.windows)
        folder.mkdir(parents=True, exist_ok=True)
        for name, column in flat.items():
            np.save(folder / f"{name}.npy", _narrowed(np.frombuffer(column, dtype=np.int32)))
        for name, ends in until.items():
            np.save(folder / f"{name}.npy", np.frombuffer(ends, dtype=np.int64))
        np.save(folder / "truncated.npy", np.array(truncated, dtype=np.bool_))

    @staticmethod
    def join(folder: Path, parts: Sequence[Path]) -> None:
        """Writes the store of all texts of several stores (their folders), one array of one of them in memory at a
        time."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            join_arrays(folder / f"{name}.npy", [part / f"{name}.npy" for part in parts], offsets=name in OFFSETS)

    def __len__(self) -> int:
        return len(self._arrays["rows_until"]) - 1

    @overload
    def __getitem__(self, index: int) -> Encoded: ...

    @overload
    def __getitem__(self, index: slice) -> list[Encoded]: ...

    def __getitem__(self, index: int | slice) -> Encoded | list[Encoded]:
        """Equal to what was given to :meth:`write`; its arrays are copies, so that nothing keeps the files open."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i = int(index) + (len(self) if index < 0 else 0)
        if not 0 <= i < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        first, end = self._arrays["rows_until"][i : i + 2]
        further = tuple(self._row(row, ()) for row in range(first + 1, end))
        return self._row(first, further)

    def counts(self, size: int) -> NDArray[np.int64]:
        """[V], how often each of ``size`` pieces stands in what is written, or read where nothing is to be written."""
        ids = self._arrays["target_ids"] if len(self._arrays["target_ids"]) else self._arrays["input_ids"]
        counts = np.zeros(size, dtype=np.int64)
        for start in range(0, len(ids), CHUNK):
            counts += np.bincount(ids[start : start + CHUNK], minlength=size)
        return counts

    def _row(self, row: int, more: tuple[Encoded, ...]) -> Encoded:
        offsets = {"input_ids": "tokens_until", "token_type_ids": "tokens_until", "target_ids": "targets_until"}

        def part(name: str) -> NDArray[np.int64]:
            here = slice(*self._arrays[offsets.get(name, "words_until")][row : row + 2])
            found: NDArray[np.int64] = self._arrays[name][here].astype(np.int64) if here.start < here.stop else EMPTY
            return found

        return Encoded(
            part("input_ids"),
            part("token_type_ids"),
            part("word_starts"),
            bool(self._arrays["truncated"][row]),
            part("word_ends"),
            part("word_rows"),
            more,
            part("target_ids"),
        )

    @property
    def truncated(self) -> int:
        """Rows that lost a part of their text."""
        return int(np.count_nonzero(self._arrays["truncated"]))

    @property
    def windows(self) -> NDArray[np.int64]:
        """[N], the rows of each example."""
        return np.diff(self._arrays["rows_until"])

    @property
    def tokens(self) -> NDArray[np.int64]:
        """[N], the tokens of all rows of each example."""
        found: NDArray[np.int64] = np.diff(self._arrays["tokens_until"][self._arrays["rows_until"]])
        return found

    @property
    def predicted(self) -> NDArray[np.int64]:
        """[N], the tokens of what is to be written, or of all rows where nothing is."""
        until = self._arrays["targets_until" if len(self._arrays["target_ids"]) else "tokens_until"]
        found: NDArray[np.int64] = np.diff(until[self._arrays["rows_until"]])
        return found

    @property
    def first_lengths(self) -> NDArray[np.int32]:
        """[N], the tokens of the first row of each example, found in little more memory than that."""
        found = np.empty(len(self), dtype=np.int32)
        for start in range(0, len(self), CHUNK):
            rows = self._arrays["rows_until"][:-1][start : start + CHUNK]
            until = self._arrays["tokens_until"]
            found[start : start + CHUNK] = until[rows + 1] - until[rows]
        return found

    @property
    def longest(self) -> NDArray[np.int64]:
        """[N], the tokens of the longest row of each example."""
        if not len(self):
            return EMPTY
        rows = np.diff(self._arrays["tokens_until"])
        found: NDArray[np.int64] = np.maximum.reduceat(rows, self._arrays["rows_until"][:-1])
        return found

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[N], the tokens that each example takes in a batch of its own: its rows, all padded to the longest."""
        return self.windows * self.longest


def join_arrays(file: Path, parts: Sequence[Path], offsets: bool = False) -> None:
    """Writes one ``.npy`` file of several, one behind another along the first axis, in the smallest type that holds
    them. ``offsets`` begin with 0, and each part's where those of the part before it end."""
    heads = []
    for part in parts:
        array = np.load(part, mmap_mode="r", allow_pickle=False)
        heads.append((len(array) - offsets, array.shape[1:], array.dtype))
    kind = np.result_type(*([dtype for count, _, dtype in heads if count] or [heads[0][2]]))
    shape = (sum(count for count, _, _ in heads) + offsets, *heads[0][1])
    end = np.zeros(1, dtype=kind)
    with file.open("wb") as out:
        described = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(out, described)
        if offsets:
            out.write(end.tobytes())
        for part in parts:
            array = np.load(part, allow_pickle=False).astype(kind)
            if offsets:
                array = array[1:] + end
                end = array[-1:] if len(array) else end
            out.write(array.tobytes())


def _narrowed(values: NDArray[np.int32]) -> NDArray[Any]:
    """The same numbers in the smallest type that holds them all."""
    if not len(values):
        return values
    return values.astype(np.result_type(np.min_scalar_type(values.min()), np.min_scalar_type(values.max())))
