"""Rows become examples: columns picked by name, labels mapped, every cell checked."""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distill.config.data import DataConfig, Source, TaskConfig
from distill.data.readers import read_rows
from distill.errors import UserError, nearest
from distill.sources import describe, validate
from distill.tasks import Task, find
from distill.tasks.cells import Fail, missing, names_of, shown, whole, words_of
from distill.text.example import Example, Label, Target

LONGEST = 5_000_000
"""Characters of a cell. A tokenizer needs hundreds of bytes of memory for each token, also for those that are cut."""

LONGEST_LABEL = 200
"""Characters of a label's name: what is longer is a text, out of another column."""

EMPTY_TEXT = "empty text"
"""Why a row with a blank text is left out."""


@dataclass
class Seen:
    """What was found beside the examples, over all splits that were read."""

    dropped: Counter[str] = field(default_factory=Counter)
    """Rows that were left out, by reason."""
    labels: set[str] = field(default_factory=set)
    """Labels as the data writes them, those of rows that were left out, too."""


def load_examples(
    source: Source, config: DataConfig, task: TaskConfig, labels: Sequence[str]
) -> tuple[list[Example], dict[str, int]]:
    """The labelled rows of a source (its test split where it has several), with the columns that ``config`` names, and
    how many were left out, by reason.

    Raises UserError as ``load_data`` does, also for a label that is not among ``labels``, and where no row is left.
    """
    validate(source, "data")
    seen = Seen()
    examples = read_examples(source, "test", config, task, seen)
    if not examples:
        raise UserError(f"no row of {describe(source)} is left to score; left out: {in_words(seen.dropped)}")
    check_known({"the data": examples}, labels, "the model's labels")
    return examples, dict(seen.dropped)


def in_words(left_out: Mapping[str, int]) -> str:
    """Rows that were left out: ``12 empty text, 3 label 'unsure'``."""
    return ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())


def load_texts(source: Source, config: DataConfig, task: TaskConfig, section: str = "data") -> list[Example]:
    """The texts of a source, empty ones included, without labels. Raises UserError as ``read_rows`` does; ``section``
    of a recipe names the columns."""
    validate(source, "texts")
    return read_examples(source, "transfer", config, task, Seen(), section)


def read_examples(
    source: Source, split: str, config: DataConfig, task: TaskConfig, seen: Seen, section: str = "data"
) -> list[Example]:
    """Examples of one split. The label column of ``transfer`` and ``out_of_scope`` is not looked at; their labels are
    None. So is that of texts which a task without labels is learnt on (``train``, ``transfer``), and of a pair each
    text becomes an example.

    Rows with a label in ``config.drop_labels``, as the data writes it or ``config.label_map`` names it, those whose
    empty label says nothing, of files whose lines belong together those with an empty line on a side, and of ``test``
    and ``validation`` blank texts that are their own label, in which nothing is to be predicted, are left out and
    counted. Any other empty text is an example.
    Raises UserError for missing columns, and with the number of the row for what a cell lacks.
    """
    asked = find(task.name)
    single = asked.label_free and split in ("train", "transfer")
    if config.pair is None and asked.pair_holds and not single:
        raise UserError(
            f"data.pair is not set; {task.name} needs the column of {asked.pair_holds} beside data.text "
            "(of a command without a recipe: --pair-column)"
        )
    label = None if single or asked.own_label or split in ("transfer", "out_of_scope") else config.label
    rows = read_rows(source, split, config.splits, (config.text, label) if asked.tagged else None)
    columns = set().union(*rows)
    text = "text" if columns == {"text"} else config.text  # a plain text file has this column only
    pair = config.pair if not single or config.pair in columns else None
    group = config.group if config.group in columns or (split == "train" and config.group) else None
    used = [column for column in (text, pair, label, group) if column]
    check_columns(source, columns, {"text": text, "pair": pair, "label": label, "group": group}, section)
    examples = []
    for number in range(1, len(rows) + 1):
        row, rows[number - 1] = rows[number - 1], {}  # of a million rows and examples, one is there at a time

        def fail(message: str, number: int = number) -> UserError:
            return UserError(f"{describe(source)}, {split} row {number}: {message}")

        for column in used:
            _check_cell(row.get(column), column, fail)
        if source.suffixes and any(missing(row.get(column)) for column in used):
            seen.dropped["empty line on a side"] += 1
            continue
        named, unwanted = _label(row.get(label), label, config, asked, seen, fail) if label else (None, "")
        if unwanted:
            seen.dropped[unwanted] += 1
            continue
        example = Example(
            text=words_of(row.get(text), text, fail) if asked.tagged else _text(row.get(text), text, fail),
            pair=_text(row.get(pair), pair, fail) if pair else None,
            label=named,
            group=None if group is None or missing(row.get(group)) else str(whole(row[group])),
        )
        if label and (misfit := asked.misfit(example, text, label)):
            raise fail(misfit)
        if asked.own_label and split in ("test", "validation") and blank(example):
            seen.dropped[EMPTY_TEXT] += 1
            continue
        examples.append(example)
    return single_texts(examples) if single else examples


def _label(
    cell: Any, column: str, config: DataConfig, asked: type[Task], seen: Seen, fail: Fail
) -> tuple[Label | None, str]:
    """The label that a cell says, as ``config.label_map`` names it, and why its row is left out; empty where it is
    not."""
    own = asked.label_of(cell, column, fail)
    written = {str(cell).strip()} if isinstance(own, float) else names_of(own)
    if long := next((name for name in written if len(name) > LONGEST_LABEL), ""):
        raise fail(f"column '{column}' holds a label of {len(long):,} characters; name the column of labels")
    seen.labels.update(written)
    named = None if own is None else asked.renamed(own, config.label_map)
    if found := {*written, *names_of(named)}.intersection(config.drop_labels):
        return named, f"label '{min(found)}'"
    return named, asked.empty_label if own == () else ""


def check_columns(source: Source, known: Collection[str], used: Mapping[str, str | None], section: str) -> None:
    """Raises UserError for a column that a source lacks. ``used`` has them by the key of the recipe's ``section``."""
    for key, column in used.items():
        if column and column not in known:
            option = f" (of a command without a recipe: --{key}-column)" if section == "data" and key != "group" else ""
            complaint = f"{describe(source)} has no column '{column}'{nearest(column, known)}"
            raise UserError(f"{complaint}; set {section}.{key}{option}")


def blank(example: Example) -> bool:
    """Whether its text, or the second one of a pair, has nothing but white space."""
    text = " ".join(example.text) if isinstance(example.text, tuple) else example.text
    return not text.strip() or (example.pair is not None and not example.pair.strip())


def single_texts(examples: Sequence[Example]) -> list[Example]:
    """Each text of a pair, and each that is to be written, as an example of its own, without a label."""
    return [Example(text, group=e.group) for e in examples for text in texts_in(e)]


def texts_in(example: Example) -> list[str | tuple[str, ...]]:
    """The text or texts of an example, and the one that is to be written."""
    texts = [example.text, example.pair, example.label.text if isinstance(example.label, Target) else None]
    return [text for text in texts if text is not None]


def _check_cell(value: Any, column: str, fail: Fail) -> None:
    """Raises the UserError that ``fail`` makes for what is too long, too deep or no Unicode, wherever in the cell."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        text.encode()
    except UnicodeEncodeError as error:  # JSON can say \ud800
        raise fail(f"column '{column}' holds half of a character at {error.start}; mend the text") from error
    except RecursionError as error:
        raise fail(f"column '{column}' holds lists or objects nested too deep; leave the row out") from error
    if len(text) > LONGEST:
        raise fail(f"column '{column}' holds {len(text):,} characters; give at most {LONGEST:,} a row")


def _text(value: Any, column: str, fail: Fail) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise fail(f"column '{column}' holds {shown(value)}, a {type(value).__name__} and no text")
    return value


def label_counts(examples: Sequence[Example]) -> Counter[str]:
    """How many examples have each label, or each tag in them."""
    counts: Counter[str] = Counter()
    for example in examples:
        counts.update(set(names_of(example.label)))
    return counts


def check_known(splits: Mapping[str, Sequence[Example]], labels: Sequence[str], where: str, mend: str = "") -> None:
    """Raises UserError, with the nearest label or the ``mend``, for a label of any split that is not in ``labels``."""
    for split, examples in splits.items():
        for label, count in label_counts(examples).items():
            if label not in labels:
                raise UserError(
                    f"label '{label}' ({count} rows of {split}) is not in {where}{mend or nearest(label, labels)}"
                )
