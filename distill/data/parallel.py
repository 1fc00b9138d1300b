"""Translations as they are handed out: two text files, line i of one belongs to line i of the other."""

import os
from pathlib import Path

from distill.config.data import Source
from distill.data.json_rows import Row
from distill.data.tables import OPENERS, entries_of, lines_of, read_bytes
from distill.errors import UserError, nearest
from distill.sources import describe, locate

COLUMNS = ("source", "target")

Sides = dict[str, list[Path]]
"""The files of each suffix."""


def splits_of(source: Source) -> dict[str, Sides] | None:
    """By what stands before the suffixes, as ``train`` in ``train.en.gz``; None for a ``path`` that names one pair.

    Raises UserError for a folder without any.
    """
    path = _folder_or_beginning(source)
    if not path.is_dir():
        return None
    if pairs := _pairs_in(path, source.suffixes):
        return pairs
    raise UserError(f"{describe(source)} holds no file whose name ends in .{' or .'.join(source.suffixes)}")


def read_parallel(source: Source, name: str) -> list[Row]:
    """The columns ``source`` and ``target`` of one split, a row a line.

    Raises UserError for a file that is missing, there twice or no text, and for files of unequal length.
    """
    path = _folder_or_beginning(source)
    folder, name = (path, name) if path.is_dir() else (path.parent, path.name)
    sides = _pairs_in(folder, source.suffixes).get(name, {})
    files = [_the_file(folder, f"{name}.{suffix}", sides.get(suffix, [])) for suffix in source.suffixes]
    texts = [lines_of(file, read_bytes(file)) for file in files]
    if len(texts[0]) != len(texts[1]):
        counts = " and ".join(f"{file.name} {len(lines):,}" for file, lines in zip(files, texts, strict=True))
        raise UserError(f"{folder}: lines do not belong together: {counts} of them; give files of equally many lines")
    return [dict(zip(COLUMNS, pair, strict=True)) for pair in zip(*texts, strict=True)]


def _folder_or_beginning(source: Source) -> Path:
    if source.wheel:
        return locate(source)
    path = Path(os.path.expanduser(source.path or ""))
    if path.is_file():
        raise UserError(
            f"{path} is one file; with suffixes, path is the folder of two, or what stands before"
            f" {' and '.join(f'.{suffix}' for suffix in source.suffixes)}"
        )
    return path if path.parent.is_dir() else locate(source)


def _pairs_in(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Sides]:
    found: dict[str, Sides] = {}
    for file in entries_of(folder):
        name = file.stem if file.suffix in OPENERS else file.name
        for suffix in suffixes:
            if name.endswith(f".{suffix}") and file.is_file():
                found.setdefault(name.removesuffix(f".{suffix}"), {}).setdefault(suffix, []).append(file)
    return found


def _the_file(folder: Path, name: str, files: list[Path]) -> Path:
    if not files:
        near = nearest(name, (file.name for file in entries_of(folder)))
        raise UserError(f"{folder} holds no {name}, also not with {', '.join(OPENERS)}{near}")
    if len(files) > 1:
        raise UserError(f"{folder} holds {' and '.join(file.name for file in files)}; keep one of them")
    return files[0]
