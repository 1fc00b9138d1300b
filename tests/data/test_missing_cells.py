"""A cell that says nothing, or too much, is an error that names the row, in every format and task."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from distill.config.data import DataConfig, Source, TaskConfig
from distill.data import examples, load_data, load_examples
from distill.errors import UserError

NOTHING = [None, math.nan, "", " \t"]
SQUAD = {"text": ["Rome"], "answer_start": [3]}
TASKS: dict[str, dict[str, Any]] = {
    "text-classification": {"text": "a", "label": "good"},
    "multi-label-classification": {"text": "a", "label": ["joy"]},
    "regression": {"text": "a", "label": 2.5},
    "token-classification": {"text": ["a", "b"], "label": ["O", "B-x"]},
    "question-answering": {"text": "where", "other": "in Rome", "label": SQUAD},
}


def write(path: Path, rows: list[dict[str, Any]]) -> Source:
    if path.suffix == ".parquet":
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        parquet.write_table(pyarrow.table(columns), path)
    elif path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter="," if path.suffix == ".csv" else "\t")
            writer.writerow(rows[0])
            for row in rows:
                writer.writerow(c if isinstance(c, str) else "" if c is None else json.dumps(c) for c in row.values())
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), "utf-8")
    else:
        path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return Source(path=str(path))


def read(source: Source, task: str) -> None:
    pair = "other" if task == "question-answering" else None
    load_examples(source, DataConfig(pair=pair), TaskConfig(name=task), ("good", "joy", "O", "B-x"))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".json"])
def test_a_missing_label_names_its_row(tmp_path: Path, task: str, ending: str) -> None:
    row = TASKS[task]
    read(write(tmp_path / f"fine{ending}", [row, row]), task)
    for nothing in NOTHING:
        if nothing is math.nan and ending in (".csv", ".tsv"):  # there "NaN" is a text
            continue
        source = write(tmp_path / f"a{ending}", [row, {**row, "label": nothing}])
        with pytest.raises(UserError, match=rf"a\{ending}, test row 2: no (label|labels|answers) in column 'label'"):
            read(source, task)


@pytest.mark.parametrize("values", [["good", None], ["good", " "], [1.0, math.nan], [1, None], [["a"], None]])
@pytest.mark.parametrize("task", ["text-classification", "multi-label-classification", "regression"])
def test_a_missing_label_of_parquet_names_its_row(tmp_path: Path, task: str, values: list[Any]) -> None:
    source = write(tmp_path / "a.parquet", [{"text": "x", "label": value} for value in values])
    with pytest.raises(
        UserError, match=r"a.parquet, test row (1: column 'label' holds|2: no labels? in column 'label')"
    ):
        read(source, task)


@pytest.mark.parametrize("tag", [None, math.nan, "", " "])
def test_a_tag_that_is_missing_names_its_row(tmp_path: Path, tag: Any) -> None:
    row = TASKS["token-classification"]
    source = write(tmp_path / "a.jsonl", [row, {**row, "label": ["O", tag]}])
    with pytest.raises(UserError, match=r"test row 2: column 'label' holds .*(no list of words|a tag is empty)"):
        read(source, "token-classification")


def test_infinity_is_no_label(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [{"text": "x", "label": math.inf}])
    with pytest.raises(UserError, match=r"test row 1: column 'label' holds 'inf'; a row has one label"):
        read(source, "text-classification")


def test_a_whole_number_stored_as_a_float_is_the_label_that_a_csv_writes(tmp_path: Path) -> None:
    """pandas makes floats of whole numbers where some are missing."""
    numbers: list[Any] = [1.0, 0.0, -2.0, 2.5, 1e15]
    cells = {".csv": ["1", "0", "-2", "2.5", "1.0"], ".parquet": numbers, ".jsonl": numbers}
    known = ("1", "0", "-2", "2.5", "1.0", "1000000000000000")
    labels = {}
    for ending, column in cells.items():
        source = write(tmp_path / f"a{ending}", [{"text": "x", "label": cell} for cell in column])
        labels[ending] = [e.label for e in load_examples(source, DataConfig(), TaskConfig(), known)[0]]
    assert labels[".csv"] == ["1", "0", "-2", "2.5", "1.0"]  # a text stays as it is
    assert labels[".parquet"] == labels[".jsonl"] == ["1", "0", "-2", "2.5", "1000000000000000"]
    source = write(tmp_path / "films.parquet", [{"text": "x", "label": "a", "film": film} for film in (1.0, None, 2.5)])
    assert [e.group for e in load_examples(source, DataConfig(group="film"), TaskConfig(), ["a"])[0]] == [
        "1",
        None,
        "2.5",
    ]


@pytest.mark.parametrize("vector", [[0, 1, 0], [0, 0], [1, 1, 1], [True, False, False], ["0", "1", "0"]])
@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_a_vector_in_the_place_of_labels_is_refused(tmp_path: Path, vector: list[Any], ending: str) -> None:
    source = write(tmp_path / f"a{ending}", [{"text": "x", "label": vector}])
    with pytest.raises(
        UserError, match=r"test row 1: column 'label' holds .*, one number a label; give a list of labels"
    ):
        read(source, "multi-label-classification")


def test_numbers_of_labels_are_no_vector(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": [[0], [1, 0], [2, 1, 0], []][i % 4]} for i in range(40)]
    data = load_data(DataConfig(train=write(tmp_path / "a.jsonl", rows)), TaskConfig(name="multi-label-classification"))
    assert data.labels == ("0", "1", "2")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"text": "x" * 200}, "column 'text' holds 200 characters; give at most 100 a row"),
        ({"text": ["x"] * 40}, "column 'text' holds 200 characters; give at most 100 a row"),
        ({"label": "x" * 200}, "column 'label' holds 200 characters; give at most 100 a row"),
        ({"text": "a\ud800"}, "column 'text' holds half of a character at 1"),
        ({"label": "a\ud800"}, "column 'label' holds half of a character at 1"),
        ({"text": ["a", "\ud800"]}, "column 'text' holds half of a character at"),
        ({"other": "\udfff"}, "column 'other' holds half of a character at 0"),
    ],
)
def test_a_cell_of_any_column_that_cannot_be_read_names_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(examples, "LONGEST", 100)
    row = {"text": "x", "other": "y", "label": "good", "unused": "x" * 1_000 + "\ud800"}
    task = "token-classification" if isinstance(cells.get("text"), list) else "text-classification"
    source = write(tmp_path / "a.jsonl", [row, {**row, **cells}])
    with pytest.raises(UserError, match=f"test row 2: {message}"):
        load_examples(source, DataConfig(pair="other"), TaskConfig(name=task), ("good",))


@pytest.mark.parametrize("cell", ['"\\ud800"', "9" * 5_000, "[" * 5_000])
@pytest.mark.parametrize("column", ["text", "label"])
def test_json_in_a_text_is_no_way_around(tmp_path: Path, column: str, cell: str) -> None:
    row = TASKS["token-classification"]
    source = write(tmp_path / "a.csv", [{**row, column: f'["O", {cell}]'}])
    with pytest.raises(UserError, match=rf"test row 1: column '{column}' holds .*, JSON with too many digits"):
        read(source, "token-classification")


def test_a_text_of_twenty_million_characters_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", [{"text": "x" * 20_000_000, "label": "good"}])
    with pytest.raises(UserError, match=r"column 'text' holds 20,000,000 characters; give at most 5,000,000 a row"):
        read(source, "text-classification")


def test_a_label_as_long_as_a_text_is_told(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", [{"text": "x", "label": "good " * 50}])
    with pytest.raises(UserError, match=r"test row 1: column 'label' holds a label of 249 characters; name the column"):
        read(source, "text-classification")
