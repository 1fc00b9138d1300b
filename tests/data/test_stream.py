"""Texts that are read shard by shard, from Parquet files in a folder and in a bucket."""

import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from distill.config import StreamConfig
from distill.data import Dataset
from distill.data import stream as of_streams
from distill.data.stream import Known, Sieve, Stream, open_stream
from distill.errors import UserError
from distill.text import Example

TEXTS = [f"text {i}" for i in range(41)]


def write(file: Path, texts: Sequence[Any], column: str = "text", **how: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table(
        {"n": list(range(len(texts))), column: pyarrow.array(texts, how.pop("type", pyarrow.string()))}
    )
    parquet.write_table(table, file, **how)


def read(stream: Stream, size: int) -> list[list[str | None]]:
    """The texts of each shard."""
    return [[text for texts in stream.read(shard) for text in texts] for shard in stream.shards(size).values()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "of/b.parquet", TEXTS[17:], row_group_size=5)
    write(tmp_path / "of/a.parquet", TEXTS[:17], row_group_size=4)
    write(tmp_path / "of/none.parquet", [])
    (tmp_path / "of/README.md").write_text("no shard")
    return tmp_path / "of"


@pytest.mark.parametrize("size", [1, 3, 4, 5, 7, 17, 1000])
def test_shards_are_the_rows_of_each_file_in_order(folder: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_streams, "BATCH", 3)  # batches that end inside row groups and shards
    wanted = [part[i : i + size] for part in (TEXTS[:17], TEXTS[17:]) for i in range(0, len(part), size)]
    assert read(open_stream(StreamConfig(str(folder))), size) == wanted


def test_a_batch_is_all_that_is_unfolded_of_a_large_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_streams, "BATCH", 6)
    write(tmp_path / "all.parquet", TEXTS)
    stream = open_stream(StreamConfig(str(tmp_path / "all.parquet")))
    (shard,) = stream.shards(100).values()
    assert [len(texts) for texts in stream.read(shard)] == [6] * 6 + [5]


@pytest.mark.parametrize(("limit", "rows"), [(1, 1), (17, 17), (20, 20), (41, 41), (99, 41)])
def test_a_limit_takes_the_first_rows(folder: Path, limit: int, rows: int) -> None:
    stream = open_stream(StreamConfig(str(folder), limit=limit))
    assert stream.rows == rows
    assert [text for texts in read(stream, 6) for text in texts] == TEXTS[:rows]


@pytest.mark.parametrize(
    "kind", [pyarrow.string(), pyarrow.large_string(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())]
)
def test_texts_are_read_whatever_their_type_and_column(tmp_path: Path, kind: Any) -> None:
    write(tmp_path / "x.parquet", ["one", None, "three"], "body", type=kind)
    assert read(open_stream(StreamConfig(str(tmp_path), text="body")), 10) == [["one", None, "three"]]


@pytest.fixture
def bucket(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same files in fsspec's file system of memory."""
    monkeypatch.setattr(of_streams, "BUCKETS", ("memory",))
    system = fsspec.filesystem("memory")
    for file in folder.glob("*"):
        system.pipe_file(f"/bucket/of/{file.name}", file.read_bytes())
    yield "memory://bucket/of"
    system.rm("/bucket", recursive=True)


def test_a_bucket_is_read_as_a_folder_is(folder: Path, bucket: str) -> None:
    one, other = (open_stream(StreamConfig(path, limit=30)) for path in (str(folder), bucket))
    assert read(one, 7) == read(other, 7)
    assert [(file.state[:2], file.rows) for file in one.files] == [(file.state[:2], file.rows) for file in other.files]
    assert all(file.state[2] for file in (*one.files, *other.files))


def test_a_bucket_without_its_package_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UserError, match=r"data\.stream\.path is s3://x/y, which needs a package .* s3fs"):
        open_stream(StreamConfig("s3://x/y"))


def test_a_bucket_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    def refused(*given: Any, **named: Any) -> None:
        raise PermissionError("Access Denied")

    with monkeypatch.context() as patch:
        patch.setattr(type(fsspec.filesystem("memory")), "find", refused)
        with pytest.raises(UserError, match=r"memory://bucket/of cannot be listed: Access Denied; check its name, and"):
            open_stream(StreamConfig(bucket))


def test_where_files_lie_does_not_matter_and_what_they_hold_does(folder: Path, tmp_path: Path) -> None:
    from distill.stages.stage import identity

    before = identity(open_stream(StreamConfig(str(folder))))
    moved = folder.rename(tmp_path / "elsewhere")
    assert identity(open_stream(StreamConfig(str(moved)))) == before
    write(moved / "a.parquet", TEXTS[1:18], row_group_size=4)
    assert identity(open_stream(StreamConfig(str(moved)))) != before


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nothing", r"stream\.path is .*nothing, where no file ends with \.parquet; name a folder of Parquet files"),
        ("missing", r"missing does not exist: no 'missing' in "),
        ("damaged", r"x\.parquet cannot be read as Parquet: .*; mend it, or take it away"),
        ("numbers", r"x\.parquet: column 'text' holds int64 and no texts; set data\.stream\.text to another one"),
        ("column", r"x\.parquet has no column 'text'; did you mean 'texts'\?; set data\.stream\.text"),
        ("empty", r"the Parquet files of .*empty hold no row; it needs at least one"),
        (
            "ftp://x",
            r"stream\.path is ftp://x, but nothing is read by ftp://; name a folder, or a place of s3://, gs://",
        ),
    ],
)
def test_what_cannot_be_streamed_is_refused_with_the_mend(tmp_path: Path, path: str, message: str) -> None:
    for name in ("nothing", "damaged"):
        (tmp_path / name).mkdir()
    (tmp_path / "damaged/x.parquet").write_bytes(b"PAR1 this is no table PAR1")
    write(tmp_path / "numbers/x.parquet", [1, 2], type=pyarrow.int64())
    write(tmp_path / "column/x.parquet", ["a"], "texts")
    write(tmp_path / "empty/x.parquet", [])
    with pytest.raises(UserError, match=message):
        open_stream(StreamConfig(path if "://" in path else str(tmp_path / path)))


def test_a_file_whose_rows_are_damaged_is_named_when_they_are_read(tmp_path: Path) -> None:
    write(tmp_path / "x.parquet", [f"{text} and more of it" for text in TEXTS])
    stream = open_stream(StreamConfig(str(tmp_path)))
    data = bytearray((tmp_path / "x.parquet").read_bytes())
    data[4:400] = b"\xff" * 396  # the footer is whole
    (tmp_path / "x.parquet").write_bytes(data)
    with pytest.raises(UserError, match=r"x\.parquet cannot be read as Parquet"):
        read(stream, 100)


def test_a_sieve_leaves_out_what_cannot_be_learnt_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_streams, "LONGEST", 13)
    splits = [(Example(f"{name} text"),) for name in ("train", "transfer", "val", "test")]
    known = Known.of(Dataset(*splits, (), {}, "", "", (), out_of_scope=(Example("odd text"),)))
    sieve = Sieve(known)
    given = ["new", None, "  ", "TRAIN\ttext", "transfer text", "val text", "Test  text", "odd text", "NEW ", "x" * 14]
    for part in (given, ["newer", "new"]):
        sieve.see(part)
    assert sieve.kept == [True, *[False] * 7, True, False, True, True]  # what is there twice is found later
    assert sieve.dropped == {
        "stream: empty text": 2,
        "stream: also in train, transfer, validation or test": 5,
        "stream: text of more than 13 characters": 1,
    }


@pytest.mark.parametrize("at_once", [1, 7, 40, 10_000])
def test_of_texts_in_several_shards_the_first_row_stays(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a set that is asked row by row."""
    monkeypatch.setattr(of_streams, "KEYS", at_once)
    generator = random.Random(0)
    shards = [
        [f"text {generator.randrange(60)}{' ' * generator.randrange(2)}" for _ in range(n)] for n in (50, 0, 31, 1)
    ]
    found, start = [], 0
    for texts in shards:
        sieve = Sieve(Known(frozenset()))
        sieve.see(texts)
        keys, rows = sieve.in_order()
        assert (np.diff(keys.astype(object)) >= 0).all()
        found.append((keys, start + rows))
        start += len(texts)
    seen, wanted = set(), []
    for row, text in enumerate(text.strip() for texts in shards for text in texts):
        if text in seen:
            wanted.append(row)
        seen.add(text)
    parts = list(of_streams.repeats(found))
    assert sorted(row for part in parts for row in part.tolist()) == wanted
    assert len(parts) == -(-82 // at_once)
    assert list(of_streams.repeats([])) == []


def test_known_texts_are_told_apart_by_what_they_say_alone() -> None:
    def known(*splits: list[str]) -> Any:
        parts = [tuple(Example(text, label="x") for text in texts) for texts in splits]
        return Known.of(Dataset(*parts, (), {}, "", "", ())).identity

    assert known(["a", "b"], [], ["c"], ["d"]) == known(["d"], ["c"], ["a"], ["b"])  # another split of the same texts
    assert known(["a", "b"], [], ["c"], ["d"]) != known(["a", "b"], [], ["c"], ["e"])
