"""Rows out of files, folders and hub data sets.

A *table* is one file; what holds several splits is a hub data set, a folder that ``datasets.save_to_disk`` wrote, or a
folder with a file for each split. A folder of text files for each label is a table, too; with such folders for each
split, it holds several.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.config.data import Source
from distill.data.json_rows import Row
from distill.data.parallel import read_parallel, splits_of
from distill.data.tables import FORMATS, encoding_of, entries_of, format_of, name_classes, read_bytes, read_table
from distill.errors import UserError, nearest
from distill.sources import describe, hub_splits, load_hub_dataset, locate

# How a split is called where the configuration does not say.
SPLIT_NAMES = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
    "transfer": ("transfer", "unsupervised", "train"),
    "out_of_scope": ("out_of_scope", "oos", "oos_test"),
}


def read_rows(
    source: Source,
    split: str = "train",
    splits: Mapping[str, str] | None = None,
    tagged: tuple[str, str | None] | None = None,
) -> list[Row]:
    """All rows of one split: column to value.

    ``split`` is train, validation, test, transfer or out_of_scope, ``splits`` gives it another name; a single file is
    its own only split. A text file has one column, ``text``. Columns of class numbers in data sets become their names
    (None for the hub's -1, "no label"). ``tagged`` are the columns of words and of tags where a file may have a word a
    line, and blank lines between sentences, each of which is a row then.

    Raises UserError for what is missing, empty, malformed (with its line), too large or of an unknown format.
    """
    name = find_split(source, split, splits)
    if name is None:
        raise UserError(
            f"{describe(source)} has no split '{split}' (it has: {', '.join(_split_names(source) or ())});"
            f" name it with data.splits.{split}"
        )
    if source.hub:
        rows = _dataset_rows(load_hub_dataset(source, name), describe(source))
    elif source.suffixes:
        rows = read_parallel(source, name)
    else:
        path = locate(source)
        if path.is_file():
            rows = read_table(path, tagged)
        elif _saved_to_disk(path):
            rows = _dataset_rows(_load_from_disk(path, name), str(path))
        elif by_split := _split_files(path):
            files = by_split[name]
            if len(files) > 1:
                raise UserError(f"{path} holds {' and '.join(f.name for f in files)}; keep one file for each split")
            rows = read_table(files[0], tagged)
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
    if source.suffixes:
        pairs = splits_of(source)
        return None if pairs is None else tuple(pairs)
    path = locate(source)
    if path.is_file() or (path / "state.json").is_file():
        return None
    if (path / "dataset_dict.json").is_file():
        try:
            return tuple(map(str, json.loads((path / "dataset_dict.json").read_text("utf-8"))["splits"]))
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise UserError(f"{path / 'dataset_dict.json'} does not list the splits of a data set: {error}") from error
    if names := tuple(_split_files(path)):
        return names
    if _label_folders(path):
        return None
    if names := tuple(folder.name for folder in entries_of(path) if folder.is_dir() and _label_folders(folder)):
        return names
    raise UserError(
        f"{describe(source)} holds no data: neither what datasets.save_to_disk writes, nor files called train,"
        f" validation or test with one of the endings {', '.join(FORMATS)}, nor a folder of .txt files for each label"
    )


def _split_files(folder: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for path in (p for p in entries_of(folder) if p.is_file() and format_of(p) in FORMATS):
        files.setdefault(path.name.split(".")[0], []).append(path)
    return files


def _label_folders(path: Path) -> dict[str, list[Path]]:
    """The text files of each folder in ``path``, by its name; empty where there are none."""
    if not path.is_dir():
        return {}
    found = {folder.name: sorted(folder.glob("*.txt")) for folder in entries_of(path) if folder.is_dir()}
    return {label: files for label, files in found.items() if files}


def _read_label_folders(by_label: Mapping[str, list[Path]]) -> list[Row]:
    """One row a file: ``text`` and ``label``. Old corpora mix encodings: what is not UTF-8 is read as Windows-1252."""
    rows = []
    for label, files in by_label.items():
        for path in files:
            data = read_bytes(path)
            try:
                text = data.decode(encoding_of(data))
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
        raise UserError(f"{path} needs the package datasets: install distill[train]") from error
    try:
        loaded = datasets.load_from_disk(str(path))
    except Exception as error:
        raise UserError(f"{path} cannot be read as what datasets.save_to_disk writes: {error}") from error
    return loaded[split] if isinstance(loaded, dict) else loaded


def _dataset_rows(dataset: Any, where: str) -> list[Row]:
    try:
        rows = dataset.to_list()
    except Exception as error:  # of a dozen kinds, for values that Python has no type for
        raise UserError(f"{where} cannot be read: {' '.join(str(error).split())[:300]}") from error
    return name_classes(rows, dataset.features.to_dict(), where)
