"""Sentences out of files with a word a line and blank lines between sentences, as those of CoNLL's shared tasks."""

import csv
import sys
from pathlib import Path

from distill.data.json_rows import Row
from distill.errors import UserError
from distill.tasks.cells import cut_at_blanks

ENDINGS = (".conll", ".bio", ".iob")
"""Of files that hold nothing else."""
DOCUMENT = "-DOCSTART-"
"""Begins a line of CoNLL 2003 that is no word."""
HEADS = ("word", "words", "token", "tokens", "text", "form")
"""What a first column of words is called."""
Line = tuple[int, list[str]]
"""Its number and fields."""


def sentences_of(path: Path, text: str, ending: str, word: str, tag: str | None) -> list[Row] | None:
    """A row a sentence, each column a list; None for a file of another kind.

    The columns are those of the header where there is one, else ``word`` for the first one and ``tag``, unless it is
    None, for the last one. A ``.tsv``, ``.csv`` or ``.txt`` is such a file where blank lines stand between its rows and
    the cells hold single words. Raises UserError for a line with a field too few or too many.
    """
    if ending == ".txt" and tag is None:  # one text a line
        return None
    try:
        sentences = _cut(text, ending)
    except csv.Error:  # whose reader tells of it
        return None
    if not sentences or (ending not in ENDINGS and len(sentences) == 1):
        return None
    start, names = sentences[0][0]
    others = [line for sentence in sentences for line in sentence][1:]
    titled = word in names or names[0].lower() in HEADS
    header = titled and names[-1] not in {fields[-1] for _, fields in others}  # the first word may be "text", too
    places = [names.index(one) if header and one in names else place for one, place in ((word, 0), (tag, -1))]
    cells = [fields[place] for _, fields in others for place in places if place < len(fields)]
    if ending not in ENDINGS and (len(names) == 1 or any(map(_holds_sentence, cells))):
        return None
    for line, fields in others:
        if len(fields) != len(names):
            raise UserError(
                f"{path}, line {line}: {len(fields)} fields, but line {start} has {len(names)}; give each word a line "
                "with the same columns, and no other lines than blank ones between sentences"
            )
    if header:
        del sentences[0][0]
        columns = dict(zip(names, range(len(names)), strict=True))
    elif tag is not None and len(names) == 1:
        raise UserError(f"{path}, line {start}: no tag beside the word; give it in the last column of each line")
    else:
        columns = {word: 0} if tag is None else {word: 0, tag: -1}
    return [{name: [fields[i] for _, fields in one] for name, i in columns.items()} for one in sentences if one]


def _cut(text: str, ending: str) -> list[list[Line]]:
    """The lines of each sentence. Columns stand between tabs (commas, semicolons in a CSV), else between blanks."""
    lines = text.replace("\r\n", "\n").split("\n")
    first = next((line for line in lines if line.strip() and not line.startswith(DOCUMENT)), "")
    delimiter = next((one for one in ("\t,;|" if ending == ".csv" else "\t") if one in first), "")
    csv.field_size_limit(sys.maxsize)
    sentences: list[list[Line]] = [[]]
    for number, line in enumerate(lines, start=1):
        if delimiter == "\t":
            fields = [unquoted(cell) for cell in line.split("\t")]
        else:
            fields = next(csv.reader([line], delimiter=delimiter), []) if delimiter else cut_at_blanks(line)
        if any(map(str.strip, fields)) and fields[0] != DOCUMENT:
            sentences[-1].append((number, fields))
        elif sentences[-1]:
            sentences.append([])
    return [sentence for sentence in sentences if sentence]


def _holds_sentence(cell: str) -> bool:
    return len(cut_at_blanks(cell)) > 1 or cell.startswith(('["', "['", "[]"))


def unquoted(cell: str) -> str:
    """The content of a cell that is properly quoted, else the cell as it is."""
    inner = cell[1:-1]
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if quoted else cell
