"""Files with a word a line and blank lines between sentences are read as sentences where words have tags."""

import csv
from pathlib import Path
from typing import Any

import pytest

from distill.config.data import DataConfig, Source, TaskConfig
from distill.data import load_data, load_examples, load_texts, read_rows
from distill.errors import UserError
from distill.text import Example

TAGGING = TaskConfig(name="token-classification")
TAGS = ("O", "B-LOC", "B-PER", "I-PER")
TAGGED = [
    [("Ada", "B-PER"), ("Byron", "I-PER"), ("left", "O"), ('"', "O"), ("London", "B-LOC")],
    [("text", "O")],
    [("#", "O"), ("10\u00a0000", "O"), (",", "O"), ("O", "O")],
]
SENTENCES = [Example(tuple(word for word, _ in one), label=tuple(tag for _, tag in one)) for one in TAGGED]


def source(path: Path, content: str) -> Source:
    path.write_text(content, "utf-8")
    return Source(path=str(path))


def read(path: Path, content: str, **columns: Any) -> list[Example]:
    return load_examples(source(path, content), DataConfig(**columns), TAGGING, TAGS)[0]


def lines(between: str, middle: str = "") -> str:
    """The sentences, with ``middle`` between words and tags."""
    return "\n".join("".join(f"{word}{middle}{between}{tag}\n" for word, tag in one) for one in TAGGED)


@pytest.mark.parametrize("ending", [".txt", ".conll", ".bio", ".iob", ".tsv"])
@pytest.mark.parametrize("between", [" ", "\t"])
@pytest.mark.parametrize("header", ["", "text{}label\n", "Token{}ner\n\n"])
def test_words_a_line_are_sentences(tmp_path: Path, ending: str, between: str, header: str) -> None:
    columns = {"text": "Token", "label": "ner"} if "ner" in header else {}
    text = header.format(between) + lines(between)
    assert read(tmp_path / f"a{ending}", text, **columns) == SENTENCES
    assert read(tmp_path / f"a{ending}", text.replace("\n", "\r\n") + "\r\n\r\n", **columns) == SENTENCES


def test_a_csv_of_words_keeps_its_quotes(tmp_path: Path) -> None:
    for delimiter, blank in ((",", []), (";", []), (",", ["", ""])):
        with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerow(["text", "label"])
            for one in TAGGED:
                writer.writerows(one)
                writer.writerow(blank)
        assert load_examples(Source(path=str(tmp_path / "a.csv")), DataConfig(), TAGGING, TAGS)[0] == SENTENCES


def test_conll_2003_has_four_columns_and_documents(tmp_path: Path) -> None:
    start = "-DOCSTART- -X- -X- O\n\n"
    text = start + lines(" ", " NNP B-NP") + "\n" + start + lines(" ", " NNP B-NP")
    assert read(tmp_path / "train.txt", text) == SENTENCES * 2
    named = "word pos chunk ner\n" + text
    assert read(tmp_path / "train.txt", named, text="word", label="ner") == SENTENCES * 2
    with pytest.raises(UserError, match=r"train\.txt has no column 'label'; known: chunk, ner, pos, word"):
        read(tmp_path / "train.txt", named, text="word")


def test_a_folder_of_such_files_is_a_data_set(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        sentences = (f"{split}{i} O\nRome B-LOC\n" for i in range(20))
        source(tmp_path / f"{split}.conll", "\n".join(sentences))
    data = load_data(DataConfig(train=Source(path=str(tmp_path))), TAGGING)
    assert (len(data.train), len(data.validation), len(data.test)) == (20, 20, 20)
    assert data.labels == ("B-LOC", "O")


def test_other_tables_are_read_as_before(tmp_path: Path) -> None:
    """One sentence a row, with a blank line that nothing means."""
    whole = [Example(("in", "Rome"), label=("O", "B-LOC")), Example(("Rome",), label=("B-LOC",))]
    lists = '"[""in"", ""Rome""]","[""O"", ""B-LOC""]"\n\n"[""Rome""]","[""B-LOC""]"\n'
    for rows in ("in Rome,O B-LOC\n\nRome,B-LOC\n", lists):
        assert read(tmp_path / "a.csv", f"text,label\n{rows}") == whole
    words = [Example(("Rome",), label=("B-LOC",)), Example(("text",), label=("O",))]
    assert read(tmp_path / "a.tsv", "text\tlabel\nRome\tB-LOC\ntext\tO\n") == words
    texts = source(tmp_path / "a.txt", "two words\n\ntwo others\n")
    assert [e.text for e in load_texts(texts, DataConfig(), TAGGING)] == [("two", "words"), (), ("two", "others")]
    assert len(read_rows(source(tmp_path / "a.tsv", "text\tlabel\na\tO\n\nb\tO\n"))) == 2  # of another task


def test_the_first_line_is_a_header_where_it_names_columns(tmp_path: Path) -> None:
    rest = "\nin O\nRome B-LOC\n"
    assert [e.text for e in read(tmp_path / "a.txt", f"text O\n{rest}")] == [("text",), ("in", "Rome")]
    assert [e.text for e in read(tmp_path / "a.txt", f"text label\n{rest}")] == [("in", "Rome")]
    with pytest.raises(UserError, match=r"a\.conll has no column 'text'; .*ner.*; set data\.text"):
        read(tmp_path / "a.conll", f"Form ner\n{rest}")


def test_cells_are_read_as_in_other_tables(tmp_path: Path) -> None:
    csv.field_size_limit(131_072)  # as it is when Python starts
    long = "x" * 200_000
    assert [e.text for e in read(tmp_path / "a.csv", f"text,label\na,O\n{long},O\n\nb,O\n")] == [("a", long), ("b",)]
    quoted = 'text\tlabel\n""""\tO\n"\tO\n\n"a"\tO\n'
    assert [e.text for e in read(tmp_path / "a.tsv", quoted)] == [('"', '"'), ("a",)]


def test_words_without_tags_are_texts(tmp_path: Path) -> None:
    texts = load_texts(source(tmp_path / "a.conll", "in\nRome\n\nParis\n"), DataConfig(), TAGGING)
    assert texts == [Example(("in", "Rome")), Example(("Paris",))]
    with pytest.raises(UserError, match=r"a\.conll, line 1: no tag beside the word; give it in the last column"):
        read(tmp_path / "a.conll", "in\nRome\n\nParis\n")


def test_a_line_with_another_number_of_fields_is_named(tmp_path: Path) -> None:
    for ending in (".txt", ".tsv", ".conll"):
        with pytest.raises(UserError, match=rf"a\{ending}, line 4: 3 fields, but line 1 has 2; give each word a line"):
            read(tmp_path / f"a{ending}", "in\tO\nRome\tB-LOC\n\na\tb\tO\n")


def test_another_task_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.conll holds a word a line, which token classification alone reads"):
        read_rows(source(tmp_path / "a.conll", "in O\n"))
    with pytest.raises(UserError, match=r"a\.conll is empty"):
        read(tmp_path / "a.conll", "\n")
