"""Rows out of one file: CSV, TSV, JSON Lines, JSON, Parquet or text, compressed or not.

Text formats are read with the standard library alone, so that ``distill evaluate`` works in the base install.
"""

import bz2
import codecs
import csv
import gzip
import json
import lzma
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from distill.data.json_rows import Row, rows_of_json, rows_of_lines
from distill.data.sentences import ENDINGS, sentences_of, unquoted
from distill.errors import UserError
from distill.tasks.cells import shown

OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
LARGEST = 10**9
"""Bytes of a file, unfolded. Reading takes several times as much memory."""
MOST_ROWS = 10**7
"""Rows of a table. In a text format every line end and opening bracket counts, as each may become a row or a list."""
BATCH = 64
"""Rows of a Parquet file that are unfolded at a time."""
CHUNK = 1 << 20
LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
"""Up to its end, whichever kind it has."""
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it starts with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def entries_of(folder: Path) -> list[Path]:
    """What lies in a folder, in order. Raises UserError for a name that is not UTF-8: it could name no label."""
    entries = sorted(folder.iterdir())
    for path in entries:
        try:
            path.name.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{folder} holds {path.name!a}, whose name is not UTF-8; rename it") from error
    return entries


def format_of(path: Path) -> str:
    """The ending that tells the format: ``.csv`` of ``reviews.csv.bz2``."""
    return (Path(path.stem) if path.suffix in OPENERS else path).suffix.lower()


def read_table(path: Path, tagged: tuple[str, str | None] | None = None) -> list[Row]:
    """All rows of a file: column to value.

    ``tagged`` are the columns of words and of tags, if any, where sentences are wanted: a file with a word a line then
    has a row a sentence.

    Raises UserError for a file that cannot be read, is too large, malformed (with its line), in another encoding or of
    an unknown format.
    """
    ending = format_of(path)
    reader = FORMATS.get(ending)
    if reader is None:
        raise UserError(
            f"{path} has an unknown ending; known: {', '.join(FORMATS)}, each also with {', '.join(OPENERS)}"
        )
    data = read_bytes(path)
    sentences = None
    if tagged is not None and ending in WORDS:
        sentences = sentences_of(path, decode(path, data), ending, *tagged)
    return reader(path, data) if sentences is None else sentences


def read_bytes(path: Path) -> bytes:
    """The content, unfolded where it is compressed; never more than ``LARGEST`` bytes are unfolded."""
    chunks, size = [], 0
    try:
        with OPENERS.get(path.suffix, open)(path, "rb") as file:
            while chunk := file.read(CHUNK):
                size += len(chunk)
                if size > LARGEST:
                    raise _too_large(path, f"{LARGEST:,} bytes")
                chunks.append(chunk)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return b"".join(chunks)


def _too_large(path: Path, most: str) -> UserError:
    return UserError(
        f"{path} has more than {most}, unfolded; give a part of it: a run learns from train.steps times "
        "train.batch_size texts"
    )


def encoding_of(data: bytes) -> str:
    """What the byte order mark says; UTF-8 where there is none."""
    return next((name for mark, name in BOMS.items() if data.startswith(mark)), "utf-8")


def decode(path: Path, data: bytes) -> str:
    """Text in UTF-8, or in what its byte order mark says. Raises UserError for another encoding, and for too much."""
    if sum(map(data.count, (b"\n", b"[", b"{"))) > MOST_ROWS:
        raise _too_large(path, f"{MOST_ROWS:,} rows or lists")
    encoding = encoding_of(data)
    start = data[:4096]
    if encoding == "utf-8" and start.count(0) > len(start) // 4:
        order = "BE" if start[::2].count(0) > start[1::2].count(0) else "LE"
        raise UserError(
            f"{path}: many bytes are 0, as in UTF-16 without a byte order mark; save the file as UTF-8, for example "
            f"with `iconv -f UTF-16{order} -t UTF-8`"
        )
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: not {encoding.removesuffix('-sig').upper()} (byte 0x{data[error.start]:02x}); save "
            "the file as UTF-8, for example with `iconv -f WINDOWS-1252 -t UTF-8`"
        ) from error


def lines_of(path: Path, data: bytes) -> list[str]:
    """What stands between line ends; Unicode's other separators, such as U+2028, end no line."""
    lines = decode(path, data).replace("\r\n", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def _read_text(path: Path, data: bytes) -> list[Row]:
    return [{"text": line} for line in lines_of(path, data)]


def _read_words(path: Path, data: bytes) -> list[Row]:
    if not data.strip():
        return []
    raise UserError(f"{path} holds a word a line, which token classification alone reads; give one text a row")


def _read_csv(path: Path, data: bytes) -> list[Row]:
    """Separated by what Excel's first line ``sep=;`` says, else by what the line of column names holds."""
    text, first = decode(path, data), 1
    if stated := re.match(r'"?sep=(.)"?\r?\n', text, re.IGNORECASE):
        text, first = text[stated.end() :], 2
    header = text.split("\n", 1)[0]
    delimiter = stated[1] if stated else next((d for d in ",;\t|" if d in header), ",")
    return _table(path, _csv_records(path, text, delimiter, first))


def _read_tsv(path: Path, data: bytes) -> list[Row]:
    """Tab-separated files are written with quoted cells or with none, where a quote is just a character."""
    text = decode(path, data)
    lines = text.replace("\r\n", "\n").split("\n")
    width = lines[0].count("\t")
    odd = next((number for number, line in enumerate(lines) if line and line.count("\t") != width), None)
    if odd is None:
        return _table(path, ((n, [unquoted(c) for c in line.split("\t")]) for n, line in enumerate(lines, 1) if line))
    try:  # tabs or line ends stand inside quoted cells
        return _table(path, _csv_records(path, text, "\t"))
    except UserError as error:
        fields = lines[odd].count("\t") + 1
        raise UserError(
            f"{path}, line {odd + 1}: {fields} fields, but the first line names {width + 1}; where "
            f"cells are quoted, {error}"
        ) from error


def _csv_records(path: Path, text: str, delimiter: str, first: int = 1) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line it starts at; ``first`` is that of the text."""
    csv.field_size_limit(sys.maxsize)  # else a text of more than 131,072 characters is an error
    line = first
    try:
        # not out of a StringIO, which holds four bytes a character
        reader = csv.reader((one[0] for one in LINE.finditer(text)), delimiter=delimiter, strict=True)
        for record in reader:
            if record:
                yield line, record
            line = reader.line_num + first
    except (csv.Error, TypeError, ValueError) as error:  # the last two for what cannot separate
        raise UserError(f"{path}, line {line}: malformed: {error}; is a quote left open, or not doubled?") from error


def _table(path: Path, records: Iterable[tuple[int, list[str]]]) -> list[Row]:
    records = iter(records)
    _, header = next(records, (0, []))
    names = ", ".join(header)[:200]
    if len(set(header)) < len(header):
        raise UserError(f"{path}: two columns of the first line have one name: {names}")
    rows = []
    for line, record in records:
        if len(record) != len(header):
            raise UserError(
                f"{path}, line {line}: {len(record)} fields, but the first line names {len(header)} ({names}); a field "
                "with a separator in it must stand in quotes"
            )
        rows.append(dict(zip(header, record, strict=True)))
    return rows


def _read_parquet(path: Path, data: bytes) -> list[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(f"{path} needs the package pyarrow: install distill[train]") from error
    rows: list[Row] = []
    size = 0
    try:
        file = parquet.ParquetFile(pyarrow.BufferReader(data))
        if file.metadata.num_rows > MOST_ROWS:
            raise _too_large(path, f"{MOST_ROWS:,} rows")
        for batch in file.iter_batches(BATCH):
            size += batch.nbytes
            if size > LARGEST:
                raise _too_large(path, f"{LARGEST:,} bytes")
            rows += batch.to_pylist()
        about = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
    except UserError:
        raise
    except Exception as error:  # a dozen kinds, for damaged files and for values that Python has no type for
        raise UserError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())[:300]}") from error
    info = about.get("info") if isinstance(about, dict) else None
    features = info.get("features") if isinstance(info, dict) else None
    return name_classes(rows, features if isinstance(features, dict) else {}, str(path))


FORMATS: dict[str, Callable[[Path, bytes], list[Row]]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": lambda path, data: rows_of_lines(path, decode(path, data)),
    ".ndjson": lambda path, data: rows_of_lines(path, decode(path, data)),
    ".json": lambda path, data: rows_of_json(path, decode(path, data)),
    ".parquet": _read_parquet,
    ".txt": _read_text,
    **dict.fromkeys(ENDINGS, _read_words),
}
WORDS = (".csv", ".tsv", ".txt", *ENDINGS)
"""Files that may have a word a line."""


def name_classes(rows: list[Row], features: Mapping[str, Any], where: str) -> list[Row]:
    """Puts class names in the place of class numbers, as the hub's ``features`` of each column say.

    A number below 0 means that there is no label. Values that are names already stay. Raises UserError for others.
    """
    for column, feature in features.items():
        known = _class_names(feature)
        if known is None or not rows or column not in rows[0]:
            continue
        for number, row in enumerate(rows, start=1):
            try:
                row[column] = _named(row[column], known)
            except ValueError as error:
                raise UserError(
                    f"{where}, row {number}: column '{column}' holds {shown(error.args[0])}, which is none of its "
                    f"{len(known)} classes ({', '.join(known)[:200]}); mend the value or the names"
                ) from error
    return rows


def _class_names(feature: Any) -> list[str] | None:
    """The names of the class numbers in a column, or in the lists in it; None where they have none."""
    while isinstance(feature, list | dict):
        if isinstance(feature, list):
            feature = feature[0] if feature else None
        elif feature.get("_type") == "ClassLabel":
            names = feature.get("names")
            return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None
        else:
            feature = feature.get("feature")
    return None


def _named(value: Any, known: list[str]) -> Any:
    """Raises ValueError, which holds the value, for what is neither a class number nor a name."""
    if isinstance(value, list):
        return [_named(v, known) for v in value]
    if value is None or value in known:
        return value
    if isinstance(value, float) and value.is_integer():  # what pandas makes of whole numbers where some are missing
        value = int(value)
    if isinstance(value, float) and value != value:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value >= len(known):
        raise ValueError(value)
    return known[value] if value >= 0 else None
