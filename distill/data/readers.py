"""Rows out of files, folders and hub data sets.

A *table* is one file; what holds several splits is a hub data set, a folder that ``datasets.save_to_disk`` wrote, or a
folder with a file for each split. A folder of text files for each label is a table, too; with such folders for each
split, it holds several. Text formats are read with the standard library alone, so that ``distill evaluate`` works in
the base install.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from distill.config.schema import Source
from distill.errors import UserError, nearest
from distill.sources import describe, hub_splits, load_hub_dataset, locate

Row = dict[str, Any]

# How a split is called where the configuration does not say.
SPLIT_NAMES = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
    "transfer": ("transfer", "unsupervised", "train"),
    "out_of_scope": ("out_of_scope", "oos", "oos_test"),
}
DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
}


def read_rows(source: Source, split: str = "train", splits: Mapping[str, str] | None = None) -> list[Row]:
    """All rows of one split: column to value.

    ``split`` is train, validation, test, transfer or out_of_scope, ``splits`` gives it another name; a single file is
    its own only split. A text file has one column, ``text``. Columns of class numbers in data sets become their names
    (None for the hub's -1, "no label").

    Raises UserError for what is missing, empty, malformed (with its line), not UTF-8 or of an unknown format.
    """
    name = find_split(source, split, splits)
    if name is None:
        raise UserError(
            f"{describe(source)} has no split '{split}' (it has: {', '.join(_split_names(source) or ())});"
            f" name it with data.splits.{split}"
        )
    if source.hub:
        rows = _dataset_rows(load_hub_dataset(source, name))
    else:
        path = locate(source)
        if path.is_file():
            rows = _read_file(path)
        elif _saved_to_disk(path):
            rows = _dataset_rows(_load_from_disk(path, name))
        elif by_split := _split_files(path):
            files = by_split[name]
            if len(files) > 1:
                raise UserError(f"{path} holds {' and '.join(f.name for f in files)}; keep one file for each split")
            rows = _read_file(files[0])
        else:
            rows = _read_label_folders(_label_folders(path) or _label_folders(path / name))
    if not rows:
        raise UserError(f"{describe(source)} is empty; it needs at least one row")
    return rows


def find_split(source: Source, split: str, splits: Mapping[str, str] | None = None) -> str | None:
    """How the source calls a split, or None where it has none. A single file is any split that it is asked for.

    A name in ``splits`` must be there; an empty one says that the split is not to be used.
    """
    names = _split_names(source)
    if names is None:
        return split
    wanted = (splits or {}).get(split)
    if wanted is None:
        return next((name for name in SPLIT_NAMES[split] if name in names), None)
    if wanted and wanted not in names:
        raise UserError(f"data.splits.{split} is '{wanted}', but {describe(source)} has none{nearest(wanted, names)}")
    return wanted or None


def is_table(source: Source) -> bool:
    """True for a single file, which has no splits."""
    return _split_names(source) is None


def _split_names(source: Source) -> tuple[str, ...] | None:
    """Names of the splits; None for a single table."""
    if source.hub:
        return hub_splits(source)
    path = locate(source)
    if path.is_file() or (path / "state.json").is_file():
        return None
    if (path / "dataset_dict.json").is_file():
        return tuple(json.loads((path / "dataset_dict.json").read_text("utf-8"))["splits"])
    if names := tuple(_split_files(path)):
        return names
    if _label_folders(path):
        return None
    if names := tuple(folder.name for folder in sorted(path.iterdir()) if folder.is_dir() and _label_folders(folder)):
        return names
    raise UserError(
        f"{describe(source)} holds no data: neither what datasets.save_to_disk writes, nor files called train,"
        f" validation or test with one of the endings {', '.join(FORMATS)}, nor a folder of .txt files for each label"
    )


def _split_files(folder: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for path in sorted(p for p in folder.iterdir() if p.is_file() and _format(p) in FORMATS):
        files.setdefault(path.name.split(".")[0], []).append(path)
    return files


def _label_folders(path: Path) -> dict[str, list[Path]]:
    """The text files of each folder in ``path``, by its name; empty where there are none."""
    if not path.is_dir():
        return {}
    found = {folder.name: sorted(folder.glob("*.txt")) for folder in sorted(path.iterdir()) if folder.is_dir()}
    return {label: files for label, files in found.items() if files}


def _read_label_folders(by_label: Mapping[str, list[Path]]) -> list[Row]:
    """One row a file: ``text`` and ``label``. Old corpora mix encodings: what is not UTF-8 is read as Windows-1252."""
    rows = []
    for label, files in by_label.items():
        for path in files:
            data = path.read_bytes()
            try:
                text = data.decode("utf-8-sig")
            except UnicodeDecodeError:
                text = data.decode("windows-1252", errors="replace")
            rows.append({"text": text, "label": label})
    return rows


def _saved_to_disk(path: Path) -> bool:
    return (path / "state.json").is_file() or (path / "dataset_dict.json").is_file()


def _load_from_disk(path: Path, split: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise UserError(f"{path} needs the package datasets: pip install 'distill[train]'") from error
    try:
        loaded = datasets.load_from_disk(str(path))
    except Exception as error:
        raise UserError(f"{path} cannot be read as what datasets.save_to_disk writes: {error}") from error
    return loaded[split] if isinstance(loaded, dict) else loaded


def _dataset_rows(dataset: Any) -> list[Row]:
    names = {}
    for column, feature in dataset.features.items():
        feature = getattr(feature, "feature", feature)  # a list of class numbers, one a word
        if hasattr(feature, "int2str"):
            names[column] = feature.names
    return _name_classes(dataset.to_list(), names)


def _name_classes(rows: list[Row], names: Mapping[str, list[str]]) -> list[Row]:
    """Puts class names in the place of class numbers; a number below 0 means that there is no label."""

    def name(value: Any, known: list[str]) -> Any:
        if isinstance(value, list):
            return [name(v, known) for v in value]
        return known[value] if value is not None and value >= 0 else None

    for row in rows:
        for column, known in names.items():
            row[column] = name(row[column], known)
    return rows


def _format(path: Path) -> str:
    """The ending that tells the format: ``.csv`` of ``reviews.csv.bz2``."""
    return (Path(path.stem) if path.suffix in DECOMPRESS else path).suffix.lower()


def _read_file(path: Path) -> list[Row]:
    reader = FORMATS.get(_format(path))
    if reader is None:
        raise UserError(
            f"{path} has an unknown ending; known: {', '.join(FORMATS)}, each also with {', '.join(DECOMPRESS)}"
        )
    try:
        data = path.read_bytes()
        if path.suffix in DECOMPRESS:
            data = DECOMPRESS[path.suffix](data)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return reader(path, data)


def _decode(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: not UTF-8 (byte 0x{data[error.start]:02x}); save the file as UTF-8, for example with"
            " `iconv -f WINDOWS-1252 -t UTF-8`"
        ) from error


def _read_text(path: Path, data: bytes) -> list[Row]:
    lines = _decode(path, data).replace("\r\n", "\n").split("\n")
    return [{"text": line} for line in (lines if lines[-1] else lines[:-1])]


def _read_json(path: Path, data: bytes) -> list[Row]:
    try:
        rows = json.loads(_decode(path, data))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from error
    if not isinstance(rows, list):
        raise UserError(f"{path} holds no list of objects; for one object a line call it .jsonl")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise UserError(f"{path}, item {number}: {str(row)[:40]!r} is no object of columns and values")
    return rows


def _read_json_lines(path: Path, data: bytes) -> list[Row]:
    rows = []
    for number, line in enumerate(_decode(path, data).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: not JSON: {error.msg} at column {error.colno}") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: {line[:40]!r} is no object of columns and values")
        rows.append(row)
    return rows


def _read_csv(path: Path, data: bytes) -> list[Row]:
    text = _decode(path, data)
    header = text.split("\n", 1)[0]
    return _table(path, _csv_records(path, text, next((d for d in ",;\t" if d in header), ",")))


def _read_tsv(path: Path, data: bytes) -> list[Row]:
    """Tab-separated files are written with quoted cells or with none, where a quote is just a character."""
    lines = _decode(path, data).replace("\r\n", "\n").split("\n")
    width = lines[0].count("\t")
    if any(line and line.count("\t") != width for line in lines):  # tabs or line ends stand inside quoted cells
        return _table(path, _csv_records(path, _decode(path, data), "\t"))
    return _table(path, ((n, [_unquote(c) for c in line.split("\t")]) for n, line in enumerate(lines, 1) if line))


def _unquote(cell: str) -> str:
    """The content of a cell that is properly quoted, else the cell as it is."""
    inner = cell[1:-1]
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if quoted else cell


def _csv_records(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line it starts at."""
    csv.field_size_limit(sys.maxsize)  # else a text of more than 131,072 characters is an error
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for record in reader:
            if record:
                yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {line}: malformed: {error}; is a quote left open, or not doubled?") from error


def _table(path: Path, records: Iterable[tuple[int, list[str]]]) -> list[Row]:
    records = iter(records)
    _, header = next(records, (0, []))
    if len(set(header)) < len(header):
        raise UserError(f"{path}: two columns of the first line have one name: {', '.join(header)}")
    rows = []
    for line, record in records:
        if len(record) != len(header):
            raise UserError(
                f"{path}, line {line}: {len(record)} fields, but the first line names {len(header)}"
                f" ({', '.join(header)}); a field with a separator in it must stand in quotes"
            )
        rows.append(dict(zip(header, record, strict=True)))
    return rows


def _read_parquet(path: Path, data: bytes) -> list[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(f"{path} needs the package pyarrow: pip install 'distill[train]'") from error
    try:
        table = parquet.read_table(pyarrow.BufferReader(data))
    except pyarrow.ArrowException as error:
        raise UserError(f"{path} cannot be read as Parquet: {error}") from error
    names = {}  # files of the hub carry the names of their classes
    about = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    for column, feature in about.get("info", {}).get("features", {}).items():
        feature = feature.get("feature", feature) if isinstance(feature, dict) else {}
        if feature.get("_type") == "ClassLabel":
            names[column] = feature["names"]
    return _name_classes(table.to_pylist(), names)


FORMATS: dict[str, Callable[[Path, bytes], list[Row]]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": _read_json,
    ".parquet": _read_parquet,
    ".txt": _read_text,
}
