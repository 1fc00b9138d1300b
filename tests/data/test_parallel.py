"""Translations in two text files, line i of one to line i of the other."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from distill.config.build import build
from distill.config.data import DataConfig, Source, TaskConfig
from distill.data import Dataset, find_split, load_data, load_examples, read_rows
from distill.errors import UserError
from distill.sources import describe

TASK = TaskConfig(name="text-to-text")
COLUMNS = DataConfig(text="source", label="target")
PAIRS = {
    "train": [(f"the cat {i}", f"die Katze {i}\u2028 und\x0bso\x85weiter") for i in range(12)],
    "valid": [("a dog", "ein Hund"), ("a horse", "ein Pferd")],
    "test": [("a wolf\tand a cat", '"ein Wolf" und eine Katze'), ("a cat", "eine Katze")],
}


def write(folder: Path, ending: str = "", packed: Callable[[bytes], bytes] = bytes) -> Path:
    folder.mkdir()
    for split, pairs in PAIRS.items():
        for suffix, lines in zip(("en", "de"), zip(*pairs, strict=True), strict=True):
            text = "".join(f"{line}\n" for line in lines)
            (folder / f"{split}.{suffix}{ending}").write_bytes(packed(text.encode()))
    return folder


def source(path: Path, *suffixes: str) -> Source:
    return Source(path=str(path), suffixes=suffixes or ("en", "de"))


def loaded(train: Source) -> Dataset:
    return load_data(DataConfig(train=train, text="source", label="target"), TASK)


def pair(folder: Path, en: str | bytes, de: str | bytes) -> Source:
    for suffix, content in (("en", en), ("de", de)):
        (folder / f"corpus.{suffix}").write_bytes(content.encode() if isinstance(content, str) else content)
    return source(folder / "corpus")


@pytest.mark.parametrize(
    ("ending", "packed"), [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_a_folder_gives_the_data_set_that_json_lines_give(tmp_path, ending, packed):
    lines = tmp_path / "lines"
    lines.mkdir()
    for split, pairs in PAIRS.items():
        rows = [json.dumps({"source": one, "target": other}) + "\n" for one, other in pairs]
        (lines / f"{split}.jsonl").write_text("".join(rows), "utf-8")
    folder = write(tmp_path / "folder", ending, packed)
    (folder / "README.md").write_text("what the files are")
    assert loaded(source(folder)).fingerprint == loaded(Source(path=str(lines))).fingerprint
    assert {find_split(source(folder), name) for name in ("train", "validation", "test")} == set(PAIRS)


def test_the_suffix_that_is_named_first_is_the_source(tmp_path):
    rows = read_rows(source(write(tmp_path / "folder"), "de", "en"), "validation")
    assert rows[0] == {"source": "ein Hund", "target": "a dog"}


def test_what_stands_before_the_suffixes_names_one_pair_of_which_splits_are_held_out(tmp_path):
    folder = write(tmp_path / "folder")
    for name in ("europarl-v7.de-en.", "train."):
        for suffix in ("en", "de"):
            (folder / f"{name}{suffix}").write_bytes((folder / f"train.{suffix}").read_bytes())
    for name in ("train", "europarl-v7.de-en"):
        data = loaded(source(folder / name))
        assert len(data.train) + len(data.validation) + len(data.test) == len(PAIRS["train"])
    assert describe(source(folder / "train")) == f"files {folder}/train.en and {folder}/train.de"
    config = DataConfig(train=source(folder), splits={"train": "europarl-v7.de-en"}, text="source", label="target")
    assert len(load_data(config, TASK).train) == len(PAIRS["train"])


def test_windows_line_ends_and_a_byte_order_mark_are_no_text(tmp_path):
    read = pair(tmp_path, "\ufeffa cat\r\na dog\r\n", "eine Katze\nein Hund")
    assert [tuple(row.values()) for row in read_rows(read)] == [("a cat", "eine Katze"), ("a dog", "ein Hund")]
    read = pair(tmp_path, "a cat\na dog\n".encode("utf-16"), "eine Katze\nein Hund\n")
    assert [row["source"] for row in read_rows(read)] == ["a cat", "a dog"]


def test_a_pair_with_an_empty_side_is_left_out_of_every_split_and_counted(tmp_path):
    folder = write(tmp_path / "folder")
    for split in ("train", "test"):
        for suffix, more in (("en", "\n\nalone\n"), ("de", "allein\n\n \n")):
            with (folder / f"{split}.{suffix}").open("a", encoding="utf-8") as file:
                file.write(more)
    data = loaded(source(folder))
    assert data.dropped == {"empty line on a side": 3, "test: empty line on a side": 3}
    assert (len(data.train), len(data.test)) == (12, 2)
    examples, left_out = load_examples(source(folder), COLUMNS, TASK, ())
    assert (len(examples), left_out) == (2, {"empty line on a side": 3})


@pytest.mark.parametrize(
    ("en", "de", "message"),
    [
        ("a\nb\nc\n", "a\nb\n", r"lines do not belong together: corpus\.en 3 and corpus\.de 2 of them"),
        ("a\n\n", "a\n", r"corpus\.en 2 and corpus\.de 1 of them"),
        ("a\u2028b\n", "a\nb\n", r"corpus\.en 1 and corpus\.de 2 of them"),
        ("a\nb\n", b"a\n\xfcber\n", r"corpus\.de, line 2: not UTF-8 \(byte 0xfc\)"),
        ("", "", r"corpus\.en and .*corpus\.de is empty"),
    ],
)
def test_files_that_are_no_pair_are_refused(tmp_path, en, de, message):
    with pytest.raises(UserError, match=message):
        read_rows(pair(tmp_path, en, de))


def test_a_missing_file_is_named(tmp_path):
    folder = write(tmp_path / "folder")
    (folder / "train.de").unlink()
    for read in (source(folder), source(folder / "train")):
        with pytest.raises(
            UserError, match=r"folder holds no train\.de, also not with \.gz, .*did you mean 'train\.en'"
        ):
            read_rows(read)
    assert read_rows(source(folder), "test"), "of which both are there"
    (folder / "valid.en.gz").write_bytes(gzip.compress(b"one\n"))
    with pytest.raises(UserError, match=r"holds valid\.en and valid\.en\.gz; keep one of them"):
        read_rows(source(folder), "validation")
    with pytest.raises(UserError, match=r"folder holds no file whose name ends in \.fr or \.en\.txt"):
        read_rows(source(folder, "fr", "en.txt"))
    with pytest.raises(UserError, match=r"valid\.de is one file; with suffixes, path is the folder of two, or what "):
        read_rows(source(folder / "valid.de"))
    with pytest.raises(UserError, match=r"nowhere/train does not exist: no 'nowhere' in "):
        read_rows(source(tmp_path / "nowhere" / "train"))
    (folder / "train.en").unlink()
    with pytest.raises(UserError, match=r"has no split 'train' \(it has: test, valid\); name it with data\.splits"):
        read_rows(source(folder))


@pytest.mark.parametrize("suffixes", [("en",), ("en", "en"), ("en", ""), ("en", "de", "fr")])
def test_suffixes_are_two(tmp_path, suffixes):
    with pytest.raises(UserError, match=r"data\.train\.suffixes is \[.*\]; give those of two text files"):
        loaded(source(write(tmp_path / "folder"), *suffixes))


def test_suffixes_go_with_files():
    with pytest.raises(UserError, match=r"data\.train\.suffixes is .*beside path"):
        loaded(Source(hub="wmt/wmt14", suffixes=("en", "de")))


def test_norwegian_in_yaml_is_explained():
    with pytest.raises(UserError, match=r"suffixes\[1\] is False; expected a text; YAML reads yes, no"):
        build(Source, {"path": "data", "suffixes": ["en", False]}, "data.train")
