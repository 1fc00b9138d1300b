"""Texts without labels in Parquet files, too many for memory: read shard by shard, in a folder or in a bucket."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.config.data import NO_MATTER, Source, StreamConfig
from distill.data.dataset import Dataset
from distill.data.examples import LONGEST
from distill.data.variants import normal_form, pieces_of
from distill.errors import UserError, nearest
from distill.sources import locate

Keys = NDArray[np.uint64]
Rows = NDArray[np.int64]

BUCKETS = ("s3", "gs", "gcs", "az", "abfs", "hf")
"""Protocols of places that are not on a disk; ``hf`` is the hub."""
BATCH = 1024
"""Texts that are unfolded at a time."""
KEYS = 1 << 20
"""Keys of texts that are compared at a time."""
BUFFER = 1 << 20
"""Bytes of a file that are fetched at a time."""
STATES = ("mtime", "ETag", "etag", "md5Hash", "blob_id", "LastModified", "last_modified", "updated", "created")
"""What places call that which changes when a file does, the surest first."""


@dataclass(frozen=True)
class ParquetFile:
    """One file of a stream."""

    place: str = field(metadata=NO_MATTER)
    """As its file system names it."""
    state: tuple[str, int, str]
    """Name, size, and what changes when it does."""
    rows: int
    """That are read: all, but for the limit of the stream."""


@dataclass(frozen=True)
class Shard:
    """Neighbouring rows of a file."""

    file: ParquetFile
    start: int
    rows: int


@dataclass(frozen=True)
class Stream:
    """Parquet files with a column of texts. Nothing of a text is read before a shard is asked for."""

    place: str = field(metadata=NO_MATTER)
    """A folder or a file, on a disk or in a bucket."""
    column: str
    files: tuple[ParquetFile, ...]

    @property
    def rows(self) -> int:
        """Of all files."""
        return sum(file.rows for file in self.files)

    def shards(self, size: int) -> dict[str, Shard]:
        """By name: the rows of each file, at most ``size`` at a time."""
        return {
            f"{number:06}-{start:012}-{size}": Shard(file, start, min(size, file.rows - start))
            for number, file in enumerate(self.files)
            for start in range(0, file.rows, size)
        }

    def read(self, shard: Shard) -> Iterator[list[str | None]]:
        """The texts of a shard, at most :data:`BATCH` at a time, None where a row has none. Raises UserError for what
        cannot be read."""
        stop = shard.start + shard.rows
        with opened(self.place, shard.file.place) as file:
            groups, at, first = list[int](), 0, 0
            for number in range(file.num_row_groups):
                rows = file.metadata.row_group(number).num_rows
                if first + rows > shard.start and first < stop:
                    at = at if groups else first
                    groups.append(number)
                first += rows
            for batch in file.iter_batches(BATCH, row_groups=groups, columns=[self.column]):
                begin, end = max(shard.start - at, 0), min(stop - at, len(batch))
                if begin < end:
                    yield batch.column(0).slice(begin, end - begin).to_pylist()
                at += len(batch)
                if at >= stop:
                    return


@dataclass(frozen=True)
class Known:
    """Texts that a stream must not repeat: those of the splits."""

    keys: frozenset[bytes]
    """Of 16 bytes."""

    @classmethod
    def of(cls, dataset: Dataset) -> "Known":
        """All that the run trains on, chooses by or tests on."""
        splits = ("train", "transfer", "validation", "test", "out_of_scope")
        return cls(frozenset(key_of(piece) for e in dataset.part(*splits).examples for piece in pieces_of(e)))

    @property
    def identity(self) -> str:
        """Digest: the same for the same texts, whichever split they are in and whatever their labels."""
        return hashlib.blake2b(b"".join(sorted(self.keys)), digest_size=16).hexdigest()


class Sieve:
    """Which rows of a shard can be learnt from. A text in another case or with other blanks is the same."""

    def __init__(self, known: Known) -> None:
        self.known = known.keys
        self.kept: list[bool] = []
        """Of each row so far."""
        self.keys: list[int] = []
        """Of 8 bytes, of the rows that stay."""
        self.dropped: Counter[str] = Counter()
        """Rows that were left out, by reason."""

    def see(self, texts: Sequence[str | None]) -> None:
        """Looks at the next rows."""
        for text in texts:
            key = key_of(text or "")
            reason = self.reason(text or "", key)
            self.kept.append(not reason)
            if reason:
                self.dropped[f"stream: {reason}"] += 1
            else:
                self.keys.append(int.from_bytes(key[:8], "big"))

    def reason(self, text: str, key: bytes) -> str:
        """Why a text is left out; empty where it is not, but for what other rows say."""
        if not text.strip():
            return "empty text"
        if len(text) > LONGEST:
            return f"text of more than {LONGEST:,} characters"
        return "also in train, transfer, validation or test" if key in self.known else ""

    def in_order(self) -> tuple[Keys, Rows]:
        """The keys in order, and the row of each."""
        keys, rows = np.array(self.keys, dtype=np.uint64), np.flatnonzero(self.kept)
        order = np.argsort(keys, kind="stable")
        return keys[order], rows[order]


def repeats(shards: Sequence[tuple[Keys, Rows]]) -> Iterator[Rows]:
    """The rows whose text an earlier row has, in parts. ``shards``: the keys of each in order, and the row of each key
    among those of all shards.

    About :data:`KEYS` keys are in memory at a time: keys are digests, spread evenly, and a part is a range of them. Two
    different texts have one key of 8 bytes with a probability of 3 in 10,000 among 10⁸ texts; then one is left out.
    """
    parts = -(-sum(len(keys) for keys, _ in shards) // KEYS)
    edges = [2**64 * part // parts for part in range(parts)]
    for part, low in enumerate(edges):
        found = []
        for keys, rows in shards:
            start = np.searchsorted(keys, np.uint64(low))
            stop = np.searchsorted(keys, np.uint64(edges[part + 1])) if part + 1 < parts else len(keys)
            found.append((keys[start:stop], rows[start:stop]))
        keys, rows = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        order = np.lexsort((rows, keys))
        keys, rows = keys[order], rows[order]
        yield rows[1:][keys[1:] == keys[:-1]]


def key_of(text: str) -> bytes:
    """16 bytes, the same for every variant of a text in case and blanks."""
    return hashlib.blake2b(normal_form(text).encode(), digest_size=16).digest()


def open_stream(config: StreamConfig) -> Stream:
    """Finds the files and reads how many rows each has; no text is read.

    Raises UserError where there is none, where one cannot be read, or has no such column of texts.
    """
    system, root = file_system(config.path)
    with telling(config.path, "cannot be listed", "check its name, and that it can be reached and read from here"):
        found = {place: state for place, state in system.find(root, detail=True).items() if place.endswith(".parquet")}
    if not found:
        raise UserError(
            f"data.stream.path is {config.path}, where no file ends with .parquet; name a folder of Parquet files"
        )
    left = config.limit
    files = []
    for place, state in sorted(found.items()):
        if left == 0:
            break
        with opened(config.path, place) as file:
            check_column(place, file.schema_arrow, config.text)
            rows = file.metadata.num_rows if left is None else min(left, file.metadata.num_rows)
        left = None if left is None else left - rows
        changes = next((str(state[key]) for key in STATES if state.get(key)), "")
        name = place.removeprefix(root).strip("/") or place.rpartition("/")[2]
        files.append(ParquetFile(place, (name, int(state["size"]), changes), rows))
    stream = Stream(config.path, config.text, tuple(files))
    if not stream.rows:
        raise UserError(f"the Parquet files of {config.path} hold no row; it needs at least one")
    return stream


def check_column(place: str, schema: Any, column: str) -> None:
    """Raises UserError where a file has no such column, or no texts in it."""
    from pyarrow import types

    if column not in schema.names:
        raise UserError(f"{place} has no column '{column}'{nearest(column, schema.names)}; set data.stream.text")
    kind = schema.field(column).type
    values = kind.value_type if types.is_dictionary(kind) else kind
    if not (types.is_string(values) or types.is_large_string(values) or types.is_string_view(values)):
        raise UserError(f"{place}: column '{column}' holds {kind} and no texts; set data.stream.text to another one")


def file_system(path: str) -> tuple[Any, str]:
    """What reads there, and the path as it writes it. Raises UserError where that is unknown or not installed."""
    import fsspec

    protocol, bucket, _ = path.partition("://")
    if not bucket:
        return fsspec.core.url_to_fs(str(locate(Source(path=path)).absolute()))  # type: ignore[no-any-return]
    if protocol not in BUCKETS:
        raise UserError(
            f"data.stream.path is {path}, but nothing is read by {protocol}://; name a folder, or a place of "
            f"{', '.join(f'{name}://' for name in BUCKETS)}"
        )
    try:
        return fsspec.core.url_to_fs(path)  # type: ignore[no-any-return]
    except ImportError as error:  # it names the package
        raise UserError(f"data.stream.path is {path}, which needs a package that is not here: {error}") from error


@contextmanager
def opened(path: str, place: str) -> Iterator[Any]:
    """A Parquet file. Raises UserError for what goes wrong with it, here or while it is read."""
    from pyarrow import parquet

    system, _ = file_system(path)
    with telling(place, "cannot be read as Parquet", "mend it, or take it away"), system.open(place, "rb") as handle:
        yield parquet.ParquetFile(handle, buffer_size=BUFFER)


@contextmanager
def telling(place: str, what: str, mend: str) -> Iterator[None]:
    """Raises UserError for what goes wrong there."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of a dozen kinds: of the network, of rights, of damaged files
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(f"{place} {what}: {said}; {mend}") from error
