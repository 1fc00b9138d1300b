import bz2
import csv
import gzip
import json
import lzma
from pathlib import Path

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from distill.config.schema import Source
from distill.data import find_split, read_rows
from distill.data.readers import is_table
from distill.errors import UserError

ROWS = [
    {"text": 'a "gorgeous", witty movie', "label": "fresh"},
    {"text": "two\nlines, and a comma; Ünïcode\u2028\ttab", "label": "rotten"},
    {"text": "", "label": "fresh"},
]


def write(path: Path, rows: list[dict[str, str]] = ROWS) -> Path:
    if path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1, ensure_ascii=False), "utf-8")
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def rows_of(path: Path, text: str | bytes) -> list[dict[str, str]]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_rows(Source(path=str(path)))


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet"])
def test_every_format_gives_the_same_rows(tmp_path, ending):
    path = write(tmp_path / f"reviews{ending}")
    assert read_rows(Source(path=str(path))) == ROWS
    for compression, module in ((".gz", gzip), (".bz2", bz2), (".xz", lzma)):
        packed = tmp_path / (path.name + compression)
        packed.write_bytes(module.compress(path.read_bytes()))
        assert read_rows(Source(path=str(packed))) == ROWS
        packed.write_bytes(module.compress(path.read_bytes())[:20])
        with pytest.raises(UserError, match=f"{packed.name} cannot be read"):
            read_rows(Source(path=str(packed)))


def test_text_file_has_one_text_a_line(tmp_path):
    assert rows_of(tmp_path / "texts.txt", "one\r\n\ntwo \u2028 three\n") == [
        {"text": "one"},
        {"text": ""},
        {"text": "two \u2028 three"},
    ]


def test_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    assert rows_of(tmp_path / "a.csv", "\ufefftext,label\nx,y\n") == [{"text": "x", "label": "y"}]


def test_semicolons_separate_where_the_first_line_has_them_only(tmp_path):
    assert rows_of(tmp_path / "a.csv", 'text;label\n"a;b, c";y\n') == [{"text": "a;b, c", "label": "y"}]


def test_quotes_in_a_tsv_without_quoting_are_characters(tmp_path):
    content = 'text\tlabel\n"Amrozi accused\tyes\nhis brother" said\tno\n"all quoted ""twice"""\tno\n'
    assert [row["text"] for row in rows_of(tmp_path / "a.tsv", content)] == [
        '"Amrozi accused',
        'his brother" said',
        'all quoted "twice"',
    ]


def test_text_longer_than_the_csv_modules_limit_is_read(tmp_path):
    assert rows_of(tmp_path / "a.csv", "text\n" + "x" * 200_000)[0]["text"] == "x" * 200_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,label\na,b\n\nc,d,e\n", "a.csv, line 4: 3 fields, but the first line names 2 "),
        ("a.csv", 'text,label\n"a\nb",c\nd\n', "a.csv, line 4: 1 fields"),
        ("a.csv", 'text,label\na,b\n"c,d\ne,f\n', "a.csv, line 3: malformed: .* is a quote left open"),
        ("a.csv", "text,text\na,b\n", "two columns of the first line have one name: text, text"),
        ("a.csv", b"text,label\na,b\nna\xefve,c\n", "a.csv, line 3: not UTF-8 .byte 0xef.; save the file as UTF-8"),
        ("a.csv", "text,label\n", "a.csv is empty"),
        ("a.csv", "", "a.csv is empty"),
        ("a.tsv", "text\tlabel\na\tb\tc\n", "a.tsv, line 2: 3 fields"),
        ("a.jsonl", '{"text": "a"}\n\n{"text": "b"\n', "a.jsonl, line 3: not JSON: Expecting ',' delimiter at column"),
        ("a.jsonl", '{"text": "a"}\n["b"]\n', "a.jsonl, line 2: '\\[\"b\"\\]' is no object"),
        ("a.json", '[{"text": "a"},\n {"text" "b"}]', "a.json, line 2: not JSON"),
        ("a.json", '{"text": "a"}', "holds no list of objects; for one object a line call it .jsonl"),
        ("a.json", '[{"text": "a"}, 3]', "a.json, item 2: '3' is no object"),
        ("a.txt", "", "a.txt is empty"),
        ("a.parquet", "PAR1", "a.parquet cannot be read as Parquet"),
        ("a.xlsx", "PK", "a.xlsx has an unknown ending; known: .csv, .tsv"),
    ],
)
def test_bad_file_names_itself_and_the_line(tmp_path, name, content, message):
    with pytest.raises(UserError, match=message):
        rows_of(tmp_path / name, content)


def test_folder_with_a_file_for_each_split(tmp_path):
    for name in ("train", "dev", "test", "README"):
        write(tmp_path / f"{name}.jsonl", [{"text": name}])
    source = Source(path=str(tmp_path))
    assert read_rows(source, "train") == [{"text": "train"}]
    assert read_rows(source, "validation") == [{"text": "dev"}]
    assert read_rows(source, "test", {"test": "README"}) == [{"text": "README"}]
    assert find_split(source, "validation", {"validation": ""}) is None
    with pytest.raises(UserError, match=r"data.splits.test is 'tset', but folder .* did you mean 'test'"):
        read_rows(source, "test", {"test": "tset"})
    write(tmp_path / "train.csv", [{"text": "x"}])
    with pytest.raises(UserError, match=r"holds train.csv and train.jsonl; keep one"):
        read_rows(source, "train")
    (tmp_path / "dev.jsonl").unlink()
    with pytest.raises(UserError, match=r"has no split 'validation' .*name it with data.splits.validation"):
        read_rows(source, "validation")


def _write_tree(folder: Path, tree: dict[str, bytes]) -> Path:
    for name, content in tree.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_folder_of_text_files_for_each_label_is_one_table(tmp_path):
    tree = {"sport/2.txt": b"won\n\nagain", "sport/1.txt": "£15m".encode("windows-1252"), "art/9.txt": "£".encode()}
    source = Source(path=str(_write_tree(tmp_path, {**tree, "art/notes.md": b"no text", "empty/x.md": b""})))
    assert is_table(source)
    rows = [
        {"text": "£", "label": "art"},
        {"text": "£15m", "label": "sport"},
        {"text": "won\n\nagain", "label": "sport"},
    ]
    assert read_rows(source) == rows


def test_folders_of_labels_for_each_split(tmp_path):
    tree = {"train/pos/1.txt": b"good", "train/neg/1.txt": b"bad", "test/pos/1.txt": b"fine"}
    source = Source(path=str(_write_tree(tmp_path, tree)))
    assert not is_table(source)
    assert find_split(source, "validation") is None
    assert read_rows(source, "train") == [{"text": "bad", "label": "neg"}, {"text": "good", "label": "pos"}]
    assert read_rows(source, "test") == [{"text": "fine", "label": "pos"}]


def test_files_of_splits_go_before_folders_of_texts(tmp_path):
    write(tmp_path / "train.jsonl")
    assert read_rows(Source(path=str(_write_tree(tmp_path, {"notes/1.txt": b"no"})))) == ROWS


def test_folder_without_data_says_what_it_could_hold(tmp_path):
    with pytest.raises(UserError, match=r"holds no data: neither what datasets.save_to_disk writes"):
        read_rows(Source(path=str(tmp_path)))


def labelled(texts: list[str], labels: list[int]) -> datasets.Dataset:
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["rotten", "fresh"]),
            "tags": datasets.List(datasets.ClassLabel(names=["O", "B-film"])),
        }
    )
    return datasets.Dataset.from_dict(
        {"text": texts, "label": labels, "tags": [[0, 1]] * len(texts)}, features=features
    )


def test_class_numbers_of_data_sets_become_names(tmp_path):
    train, test = labelled(["a", "b"], [1, 0]), labelled(["c"], [-1])
    expected = [
        {"text": "a", "label": "fresh", "tags": ["O", "B-film"]},
        {"text": "b", "label": "rotten", "tags": ["O", "B-film"]},
    ]
    train.save_to_disk(tmp_path / "single")
    assert read_rows(Source(path=str(tmp_path / "single"))) == expected
    datasets.DatasetDict(train=train, test=test).save_to_disk(tmp_path / "several")
    several = Source(path=str(tmp_path / "several"))
    assert read_rows(several, "train") == expected
    assert read_rows(several, "test") == [{"text": "c", "label": None, "tags": ["O", "B-film"]}]
    assert find_split(several, "validation") is None
    train.to_parquet(tmp_path / "train.parquet")
    assert read_rows(Source(path=str(tmp_path / "train.parquet"))) == expected


def test_hub_splits_are_read_by_name(monkeypatch):
    asked = []
    monkeypatch.setattr("distill.data.readers.hub_splits", lambda source: ("train", "validation_matched"))

    def load(source: Source, split: str) -> datasets.Dataset:
        asked.append(split)
        return labelled(["a"], [1])

    monkeypatch.setattr("distill.data.readers.load_hub_dataset", load)
    source = Source(hub="nyu-mll/glue", subset="mnli")
    assert find_split(source, "validation") is None
    assert read_rows(source, "validation", {"validation": "validation_matched"})[0]["label"] == "fresh"
    assert asked == ["validation_matched"]
