"""Damaged and odd tables: each read gives examples or a UserError, quickly.

``FUZZED_TABLES=2000 pytest tests/data/test_fuzzed_tables.py`` tries more than the suite does.
"""

import bz2
import csv
import datetime
import decimal
import gzip
import io
import json
import lzma
import os
import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from distill.config.data import DataConfig, Source, TaskConfig
from distill.data import load_data, load_examples, load_texts
from distill.errors import UserError

COUNT = int(os.environ.get("FUZZED_TABLES", "150"))
SECONDS = 10
"""Of processor time, for one table."""
PASSAGE = "Agnès Varda made it in Paris."
TASKS: dict[str, tuple[DataConfig, dict[str, Any]]] = {
    "text-classification": (DataConfig(group="film"), {"text": "fine", "label": "good", "film": "Cléo"}),
    "multi-label-classification": (DataConfig(), {"text": "fine", "label": ["joy", "love"]}),
    "regression": (DataConfig(pair="other"), {"text": "fine", "other": "good", "label": 3.5}),
    "token-classification": (DataConfig(), {"text": ["in", "Rome"], "label": ["O", "B-LOC"]}),
    "question-answering": (
        DataConfig(pair="other"),
        {"text": "where", "other": PASSAGE, "label": {"text": ["Paris"], "answer_start": [23]}},
    ),
}


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


ODD_CELLS: list[Any] = [
    *(None, float("nan"), float("inf"), True, False, 0, -1, 10**4000, 1e308, "", " ", "nan", "\ud800", "\0", "\u2028"),
    *(
        [],
        {},
        [None],
        [float("nan")],
        [[]],
        [0, 1, 0],
        ["O", " "],
        ["\ud800"],
        {"text": None},
        nested(500),
        nested(900),
    ),
    *('["', "['a']", "[" * 2000, "{}", "[1e999]", "9" * 5000, "a\tb", 'a"b', "a\r\nb", "x" * 100_000, "sep=;", "=1+1"),
    *(" ".join("ab" * 500), {"text": "Paris", "answer_start": [-1]}, {"text": ["a"], "answer_start": [10**9]}),
]
ODD_BYTES = [
    *(b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\r", b"\n", b",", b"\t", b";", b"sep=;\n", b'"'),
    *(b'""', b"'", b"\\"),
    *(
        b"[" * 3000,
        b'{"a":' * 3000,
        b"]",
        b"}",
        b"9" * 5000,
        b"NaN",
        b"null",
        b"\\ud800",
        b"-1",
        b"1e999",
        b"x" * 10**5,
    ),
]
ODD_COLUMNS = [
    pyarrow.array([2**62], pyarrow.timestamp("us")),
    pyarrow.array([-(2**62)], pyarrow.time64("us")),
    pyarrow.array([b"\xff\xfe"], pyarrow.binary()),
    pyarrow.array([decimal.Decimal("1.5")]),
    pyarrow.array([datetime.timedelta(days=99999)]),
    pyarrow.array([[("a", 1)]], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
    pyarrow.array([{"a": [None]}]),
    pyarrow.array(["a"]).dictionary_encode(),
    pyarrow.nulls(1),
    pyarrow.array([float("nan")]),
    pyarrow.array([7]),
]
ODD_METADATA: list[Any] = [
    *(
        None,
        [],
        3,
        "x",
        {},
        {"names": None},
        {"names": ["a"]},
        {"names": []},
        {"names": {"a": 1}},
        {"names": [1, None]},
    ),
    *({"names": ["good", "bad"]}, [[{"names": ["O"]}]], {"feature": {"names": ["joy"]}}, {"feature": []}),
]


def rows_of(random_: random.Random, row: dict[str, Any], nest: bool) -> list[dict[str, Any]]:
    """40 rows, some with an odd cell; lists as JSON where the format has none."""
    rows = []
    for i in range(40):
        made = dict(row)
        made["text"] = [f"w{i}", "x"] if isinstance(made["text"], list) else f"{made['text']} {i}"
        if made["label"] == "good" and i % 2:
            made["label"] = "bad"
        rows.append(made)
    for _ in range(random_.choice([0, 1, 1, 40])):
        odd = random_.choice(rows)
        odd[random_.choice(list(odd))] = random_.choice(ODD_CELLS)
    if not nest:
        rows = [{k: v if isinstance(v, str) else dumped(v) for k, v in row.items()} for row in rows]
    return rows


def dumped(value: Any) -> str:
    """JSON, also of what only some writers would write."""
    try:
        return json.dumps(value)
    except (RecursionError, ValueError):
        return "[" * 900


def table(random_: random.Random, row: dict[str, Any], ending: str) -> bytes:
    if ending in (".csv", ".tsv"):
        file = io.StringIO(newline="")
        writer = csv.DictWriter(file, list(row), delimiter="\t" if ending == ".tsv" else random_.choice(",;|"))
        writer.writeheader()
        writer.writerows(rows_of(random_, row, False))
        return file.getvalue().encode(random_.choice(["utf-8", "utf-8", "utf-16", "latin-1"]), "replace")
    if ending == ".parquet":
        return parquet_table(random_, row)
    rows = rows_of(random_, row, True)
    if ending == ".json" and random_.random() < 0.5:
        return ("[" + ",\n".join(map(dumped, rows)) + "]").encode()
    return "\n".join(map(dumped, rows)).encode()


def parquet_table(random_: random.Random, row: dict[str, Any]) -> bytes:
    rows = [{**row, "text": row["text"] if isinstance(row["text"], list) else str(i)} for i in range(40)]
    made = pyarrow.Table.from_pylist(rows)
    if random_.random() < 0.5:
        column = random_.choice(ODD_COLUMNS)
        odd = pyarrow.chunked_array([column] * len(made), column.type)
        at = random_.randrange(made.num_columns)
        name = random_.choice([made.column_names[at], "new", "text"])
        made = made.set_column(at, name, odd) if random_.random() < 0.5 else made.append_column(name, odd)
    feature = random_.choice(ODD_METADATA)
    if isinstance(feature, dict) and "names" in feature:
        feature = {**feature, "_type": "ClassLabel"}
    about = [
        {"info": {"features": {random_.choice(list(row)): feature}}},
        {"info": feature},
        feature,
        {"info": [feature]},
    ]
    metadata = json.dumps(random_.choice(about)).encode() if random_.random() < 0.9 else b"{" * 5000
    file = io.BytesIO()
    parquet.write_table(made.replace_schema_metadata({b"huggingface": metadata}), file)
    return file.getvalue()


def damaged(random_: random.Random, data: bytes) -> bytes:
    at, width = random_.randrange(len(data) + 1), random_.randrange(1, 50)
    kind = random_.randrange(6)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + data[at + width :]
    if kind == 2:
        return data[:at] + data[at : at + width] * 2 + data[at + width :]
    if kind == 3:
        changed = bytearray(data)
        for _ in range(min(width, len(data))):
            changed[random_.randrange(len(data))] = random_.randrange(256)
        return bytes(changed)
    return data[:at] + random_.choice(ODD_BYTES) + data[at:]


def folder_of_labels(random_: random.Random, folder: Path) -> Path:
    """A folder for each label, among them some with odd names and files."""
    for label in random_.sample([b"good", b"bad", b"caf\xe9", b"a b", b" ", "film\u2028".encode(), b"x" * 200], 4):
        place = os.fsencode(folder) + b"/" + label
        os.makedirs(place)
        for name in random_.sample([b"1.txt", b"2.txt", b"\xff.txt", b"notes.md", b"3.TXT"], 3):
            with open(place + b"/" + name, "wb") as file:
                file.write(random_.choice(ODD_BYTES))
    if random_.random() < 0.3:
        (folder / random_.choice(["state.json", "dataset_dict.json"])).write_bytes(random_.choice(ODD_BYTES))
    return folder


def written(random_: random.Random, place: Path, row: dict[str, Any]) -> Path:
    """A table, perhaps in an archive, perhaps damaged before or after it was packed."""
    ending = random_.choice([".csv", ".tsv", ".jsonl", ".json", ".parquet", ".parquet", ".txt", ""])
    if not ending:
        return folder_of_labels(random_, place / "folder")
    data = table(random_, row, ending)
    if random_.random() < 0.4:
        data = damaged(random_, data)
    if random_.random() < 0.2:
        packing, pack = random_.choice([(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
        ending, data = ending + packing, pack(data)
        if random_.random() < 0.5:
            data = damaged(random_, data)
    path = place / f"a{ending}"
    path.write_bytes(data)
    return path


def test_every_table_gives_examples_or_a_user_error(tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(COUNT):
        random_ = random.Random(seed)
        name, (config, row) = random_.choice(list(TASKS.items()))
        place = tmp_path / str(seed)
        place.mkdir()
        source = Source(path=str(written(random_, place, row)))
        long = False
        started = time.process_time()
        for read in (read_data, read_examples, read_texts):
            try:
                read(source, config, TaskConfig(name=name))
                outcomes["read"] += 1
            except UserError as error:
                outcomes["refused"] += 1
                long = long or len(str(error)) > 2_000
            except BaseException as error:
                raise AssertionError(f"seed {seed}: {source.path} with {name}: {type(error).__name__}") from error
        assert not long, seed
        assert time.process_time() - started < SECONDS, seed
    assert min(outcomes["read"], outcomes["refused"]) > COUNT / 3, outcomes


def read_data(source: Source, config: DataConfig, task: TaskConfig) -> None:
    load_data(replace(config, train=source), task).fingerprint  # noqa: B018


def read_examples(source: Source, config: DataConfig, task: TaskConfig) -> None:
    load_examples(source, config, task, ("good", "bad", "joy", "love", "O", "B-LOC"))


def read_texts(source: Source, config: DataConfig, task: TaskConfig) -> None:
    load_texts(source, config, task)
