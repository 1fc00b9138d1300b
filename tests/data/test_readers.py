import bz2
import codecs
import csv
import gzip
import json
import lzma
import os
import tracemalloc
from pathlib import Path

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from distill.config.data import DataConfig, Source, TaskConfig
from distill.data import find_split, load_examples, read_rows, tables
from distill.data.readers import is_table
from distill.errors import UserError
from distill.text import Example, Span

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
        ("a.tsv", 'text\tlabel\n" a\tb\nc\td\ne\n', "^[^ ]*a.tsv, line 4: 1 fields, but .*; where cells are quoted"),
        ("a.tsv", 'text\tlabel\n"a\tb"\tc\nd\n', "a.tsv, line 2: 3 fields, .*; where cells are quoted, .*, line 3"),
        ("a.jsonl", '{"text": "a"}\n\n{"text": "b"\n', "a.jsonl, line 3: not JSON: Expecting ',' delimiter at column"),
        ("a.jsonl", '{"text": "a"}\n["b"]\n', "a.jsonl, line 2: '\\[\"b\"\\]' is no object"),
        ("a.json", '[{"text": "a"},\n {"text" "b"}]', "a.json, line 2: not JSON"),
        ("a.json", '{"text": "a"}\n{"text" "b"}', "a.json, line 2: not JSON"),
        ("a.json", '"text"', "a.json holds no list of objects, and not one object a line"),
        ("a.json", '[{"text": "a"}, 3]', "a.json, item 2: '3' is no object"),
        ("a.json", '{"text":\n ["a"], "label": ["b"]}', "holds no list of objects, .*; give .* as {.data.: "),
        ("a.json", '{"data": [\n{"text": "a"}, 3]}', "a.json, item 2: '3' is no object"),
        ("a.json", '{"data": [\n{"text" "a"}]}', "a.json, line 2: not JSON: Expecting ':'"),
        ("a.json", '{"data": [{"paragraphs": [{"qas": [{"question": "a"}]}]}]}', "a.json, item 1: not as SQuAD has it"),
        ("a.json", '{"data": [{"paragraphs": 3}]}', "a.json, item 1: not as SQuAD has it"),
        ("a.json", '{"data": [{"paragraphs": [{"qas": ["a"], "context": "b"}]}]}', "item 1: not as SQuAD has it"),
        ("a.txt", "", "a.txt is empty"),
        ("a.parquet", "PAR1", "a.parquet cannot be read as Parquet"),
        ("a.xlsx", "PK", "a.xlsx has an unknown ending; known: .csv, .tsv"),
        ("a.jsonl", '{"text": "a"}\n{"text": ' + "[" * 100_000, "a.jsonl: lists or objects nested too deep .* line 2"),
        ("a.json", "[" * 100_000, "a.json: lists or objects nested too deep"),
        ("a.json", "[" * 900 + "]" * 900, "a.json, item 1: .* is no object"),
        (
            "a.jsonl",
            '{"text": ' + "9" * 5_000 + "}",
            "a.jsonl: a number of thousands of digits in what starts at line 1",
        ),
        ("a.csv", "x" * 1_000_000 + ",b\nc\n", "a.csv, line 2: 1 fields, but the first line names 2 .x{200}.; a field"),
    ],
)
def test_bad_file_names_itself_and_the_line(tmp_path, name, content, message):
    with pytest.raises(UserError, match=message):
        rows_of(tmp_path / name, content)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".json", ".txt"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig"])
def test_what_the_byte_order_mark_says_is_read(tmp_path, ending, encoding):
    rows = [{"text": row["text"].replace("\n", " ")} for row in ROWS[:2]]
    path = tmp_path / f"a{ending}"
    if ending == ".txt":
        path.write_text("\n".join(row["text"] for row in rows), "utf-8")
    else:
        write(path, rows)
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""  # Python writes the others' itself
    path.write_bytes(mark + path.read_text("utf-8").encode(encoding))
    assert read_rows(Source(path=str(path))) == rows


@pytest.mark.parametrize("indent", [None, 1])
def test_objects_under_data_are_rows(tmp_path, indent):
    text = json.dumps({"version": "1", "data": ROWS}, indent=indent)
    assert rows_of(tmp_path / "a.json", f"\n{text}\n") == ROWS


def test_an_object_a_line_stays_a_row_whatever_its_columns(tmp_path):
    """Also a single one, with a column that is called data."""
    for rows in ([{"text": "a", "data": ["b"]}], [{"data": []}], [{"data": [{"text": "a"}]}] * 2, ROWS[:1]):
        assert rows_of(tmp_path / "a.json", "\n".join(map(json.dumps, rows))) == rows
    assert rows_of(tmp_path / "a.jsonl", '{"data": [{"text": "a"}]}') == [{"data": [{"text": "a"}]}]


@pytest.mark.parametrize("indent", [None, 2])
def test_squad_as_its_authors_write_it_has_a_row_a_question(tmp_path, indent):
    answer = {"text": "Rome", "answer_start": 3}
    paragraphs = [
        {"context": "in Rome", "qas": [{"id": "1", "question": "where", "answers": [answer, answer]}]},
        {
            "context": "in Paris",
            "qas": [
                {"question": "why", "is_impossible": True, "answers": [], "plausible_answers": [answer]},
                {"question": "where", "id": "3", "is_impossible": False, "answers": [{**answer, "text": "Paris"}]},
            ],
        },
    ]
    articles = [{"title": "Rome", "paragraphs": paragraphs[:1]}, {"title": "Paris", "paragraphs": paragraphs[1:]}]
    path = tmp_path / "a.json"
    rows = rows_of(path, json.dumps({"version": "v2.0", "data": articles}, indent=indent))
    assert [(row["id"], row["title"]) for row in rows] == [("1", "Rome"), (None, "Paris"), ("3", "Paris")]
    columns = DataConfig(text="question", pair="context", label="answers", group="title")
    assert load_examples(Source(path=str(path)), columns, TaskConfig(name="question-answering"), ())[0] == [
        Example("where", "in Rome", (Span("Rome", 3), Span("Rome", 3)), "Rome"),
        Example("where", "in Paris", (Span("Paris", 3),), "Paris"),
    ]


def test_utf_16_without_a_mark_is_named(tmp_path):
    for order in ("le", "be"):
        said = f"a.csv: many bytes are 0, as in UTF-16 without .*iconv -f UTF-16{order.upper()}"
        with pytest.raises(UserError, match=said):
            rows_of(tmp_path / "a.csv", "text,label\nx,y\n".encode(f"utf-16-{order}"))
    assert rows_of(tmp_path / "a.txt", "one\0two\n") == [{"text": "one\0two"}]
    with pytest.raises(UserError, match=r"a.csv, line 1: not UTF-16 .byte"):
        rows_of(tmp_path / "a.csv", codecs.BOM_UTF16_LE + b"a\0b\0\0\xd8")


@pytest.mark.parametrize("line", ["sep=;", "SEP=|", '"sep=~"', "sep=\t"])
def test_the_separator_that_excel_states_is_taken(tmp_path, line):
    mark = line.strip('"')[-1]
    content = f'{line}\r\ntext{mark}label\r\n"a{mark}b, c"{mark}y\r\n'
    assert rows_of(tmp_path / "a.csv", content) == [{"text": f"a{mark}b, c", "label": "y"}]
    with pytest.raises(UserError, match=r"a.csv, line 4: 3 fields"):
        rows_of(tmp_path / "a.csv", f"{content}d{mark}e{mark}f\r\n")
    with pytest.raises(UserError, match=r"a.csv is empty"):
        rows_of(tmp_path / "a.csv", f"{line}\n")


def test_one_object_a_line_is_read_from_json_too(tmp_path):
    assert rows_of(tmp_path / "a.json", '\n{"text": "a"}\n\n{"text": "b"}\n') == [{"text": "a"}, {"text": "b"}]


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


def with_features(table: pyarrow.Table, features: object) -> pyarrow.Table:
    return table.replace_schema_metadata({b"huggingface": json.dumps({"info": {"features": features}}).encode()})


NAMES = {"names": ["rotten", "fresh"], "_type": "ClassLabel"}


@pytest.mark.parametrize(
    ("values", "feature", "expected"),
    [
        ([1, 0, -1, None], NAMES, ["fresh", "rotten", None, None]),
        (["fresh", "rotten", None], NAMES, ["fresh", "rotten", None]),
        ([1.0, float("nan"), -1.0], NAMES, ["fresh", None, None]),
        ([[1, 0], []], [NAMES], [["fresh", "rotten"], []]),
        ([[1, 0], None], {"feature": NAMES, "_type": "Sequence"}, [["fresh", "rotten"], None]),
        ([["fresh"], ["rotten", None]], {"feature": NAMES, "_type": "LargeList"}, [["fresh"], ["rotten", None]]),
        ([[[1], [0]]], {"feature": {"feature": NAMES}}, [[["fresh"], ["rotten"]]]),
        ([1, 0], {"num_classes": 2, "_type": "ClassLabel"}, [1, 0]),
        ([1, 0], {"names": None, "_type": "ClassLabel"}, [1, 0]),
        ([1, 0], {"names": [0, 1], "_type": "ClassLabel"}, [1, 0]),
        ([1, 0], {"dtype": "int64", "_type": "Value"}, [1, 0]),
        ([1, 0], None, [1, 0]),
        ([1, 0], [], [1, 0]),
    ],
)
def test_parquet_files_carry_the_names_of_their_classes(tmp_path, values, feature, expected):
    table = with_features(pyarrow.table({"label": values}), {"label": feature, "absent": NAMES})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert [row["label"] for row in read_rows(Source(path=str(tmp_path / "a.parquet")))] == expected


@pytest.mark.parametrize("values", [[0, 2], [0.0, 0.5], ["fresh", "frseh"], [[0], [2]], [True]])
def test_what_is_no_class_of_the_metadata_names_the_row(tmp_path, values):
    parquet.write_table(with_features(pyarrow.table({"label": values}), {"label": NAMES}), tmp_path / "a.parquet")
    message = (
        rf"a.parquet, row {len(values)}: column 'label' holds '.*', which is none of its 2 classes .rotten, fresh."
    )
    with pytest.raises(UserError, match=message):
        read_rows(Source(path=str(tmp_path / "a.parquet")))


@pytest.mark.parametrize(
    "metadata",
    [b"[]", b"null", b'{"info": []}', b'{"info": {"features": [1]}}', b'{"info": {"features": null}}'],
)
def test_metadata_of_another_shape_names_no_classes(tmp_path, metadata):
    table = pyarrow.table({"label": [1, 0]}).replace_schema_metadata({b"huggingface": metadata})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert [row["label"] for row in read_rows(Source(path=str(tmp_path / "a.parquet")))] == [1, 0]


def test_values_that_python_has_no_type_for_are_told(tmp_path):
    far = pyarrow.array([2**62], pyarrow.timestamp("us"))
    parquet.write_table(pyarrow.table({"text": ["a"], "when": far}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a.parquet cannot be read as Parquet"):
        read_rows(Source(path=str(tmp_path / "a.parquet")))


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".json", ".txt", ".parquet"])
@pytest.mark.parametrize("compression", ["", ".gz", ".bz2", ".xz"])
def test_a_file_is_unfolded_up_to_a_limit(tmp_path, monkeypatch, ending, compression):
    monkeypatch.setattr(tables, "LARGEST", 100_000)
    path = tmp_path / f"a{ending}"
    if ending == ".parquet":  # small, and large in memory
        parquet.write_table(pyarrow.table({"text": ["x" * 50_000] * 300}), path, compression="gzip")
    else:
        path.write_bytes(b'{"text": "' + b"x" * 20_000_000)
    if compression:
        module = {".gz": gzip, ".bz2": bz2, ".xz": lzma}[compression]
        path = path.with_name(path.name + compression)
        path.write_bytes(module.compress(path.with_suffix("").read_bytes()))
    tracemalloc.start()
    with pytest.raises(UserError, match=r"a\..* has more than 100,000 bytes, unfolded; give a part of it"):
        read_rows(Source(path=str(path)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 15_000_000  # the dictionary of .xz alone takes 9 million


def test_a_table_has_rows_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "MOST_ROWS", 100)
    for name, content in (("a.csv", "text\n" * 102), ("a.json", "[" + "{}," * 101), ("a.txt", "\n" * 101)):
        with pytest.raises(UserError, match=r"has more than 100 rows or lists"):
            rows_of(tmp_path / name, content)
    parquet.write_table(pyarrow.table({"nothing": pyarrow.nulls(101)}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"has more than 100 rows"):
        read_rows(Source(path=str(tmp_path / "a.parquet")))
    assert len(rows_of(tmp_path / "a.csv", "text\n" * 100)) == 99


def test_entries_of_a_folder_that_are_not_utf_8_are_named(tmp_path):
    for name in (b"caf\xe9", b"notes\xff.md"):
        folder = tmp_path / str(len(name))
        _write_tree(folder, {"pos/1.txt": b"good", "neg/1.txt": b"bad"})
        os.mkdir(os.fsencode(folder) + b"/" + name)
        with pytest.raises(UserError, match=r"\\udc.*whose name is not UTF-8; rename it"):
            read_rows(Source(path=str(folder)))


def test_a_damaged_list_of_splits_is_told(tmp_path):
    for content in ("[]", "{}", "{", "[" * 100_000, '{"splits": 3}'):
        (tmp_path / "dataset_dict.json").write_text(content)
        with pytest.raises(UserError, match=r"dataset_dict.json does not list the splits"):
            read_rows(Source(path=str(tmp_path)))


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
