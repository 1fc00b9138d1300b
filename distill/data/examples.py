"""Rows become examples: columns picked by name, labels mapped, every cell checked."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distill.config.schema import DataConfig, Source, TaskConfig
from distill.data.readers import read_rows
from distill.errors import UserError, nearest
from distill.sources import describe, validate
from distill.text.example import Example

Fail = Callable[[str], UserError]
Label = str | tuple[str, ...] | None


def load_examples(source: Source, config: DataConfig, task: TaskConfig, labels: Sequence[str]) -> list[Example]:
    """The labelled rows of a source (its test split where it has several), with the columns that ``config`` names.

    Raises UserError as ``load_data`` does, also for a label that is not among ``labels``.
    """
    validate(source, "data")
    examples = read_examples(source, "test", config, task, Counter())
    check_known({"the data": examples}, labels, "the model's labels")
    return examples


def load_texts(source: Source, config: DataConfig, task: TaskConfig) -> list[Example]:
    """The texts of a source, empty ones included, without labels. Raises UserError as ``read_rows`` does."""
    validate(source, "texts")
    return read_examples(source, "transfer", config, task, Counter())


def read_examples(
    source: Source, split: str, config: DataConfig, task: TaskConfig, dropped: Counter[str]
) -> list[Example]:
    """Examples of one split. The label column of transfer texts is not looked at; their labels are None.

    Rows with a label in ``config.drop_labels`` are left out and counted. Raises UserError for missing columns, and with
    the number of the row for what a cell lacks.
    """
    rows = read_rows(source, split, config.splits)
    columns = set().union(*rows)
    text = "text" if columns == {"text"} else config.text  # a plain text file has this column only
    label = None if split == "transfer" else config.label
    group = config.group if config.group in columns or (split == "train" and config.group) else None
    for column in filter(None, (text, config.pair, label, group)):
        if column not in columns:
            raise UserError(f"{describe(source)} has no column '{column}'{nearest(column, columns)}")
    words = task.name == "token-classification"
    unwanted = set(config.drop_labels)
    examples = []
    for number, row in enumerate(rows, start=1):

        def fail(message: str, number: int = number) -> UserError:
            return UserError(f"{describe(source)}, {split} row {number}: {message}")

        tags = _tags(row.get(label), label, words, fail) if label else None
        if found := unwanted.intersection([tags] if isinstance(tags, str) else tags or ()):
            dropped[f"label '{min(found)}'"] += 1
            continue
        example = Example(
            text=_words(row.get(text), text, fail) if words else _text(row.get(text), text, fail),
            pair=_text(row.get(config.pair), config.pair, fail) if config.pair else None,
            label=_mapped(tags, config.label_map),
            group=str(row[group]) if group and row.get(group) is not None else None,
        )
        if words and isinstance(tags, tuple) and len(tags) != len(example.text):
            raise fail(f"{len(example.text)} words in '{text}', but {len(tags)} tags in '{label}'; give one tag a word")
        examples.append(example)
    return examples


def _text(value: Any, column: str, fail: Fail) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise fail(f"column '{column}' holds {str(value)[:40]!r}, a {type(value).__name__} and no text")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can say \ud800
        raise fail(f"column '{column}' holds half of a character at {error.start}; mend the text") from error
    return value


def _words(value: Any, column: str, fail: Fail) -> tuple[str, ...]:
    """A list of words, also one written as JSON or with spaces between them."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.startswith("[") else value.split()
        except json.JSONDecodeError:
            value = value.split()
    if not isinstance(value, list | None) or not all(isinstance(word, str | int) for word in value or ()):
        raise fail(f"column '{column}' holds {str(value)[:40]!r} and no list of words")
    return tuple(map(str, value or ()))


def _tags(value: Any, column: str, words: bool, fail: Fail) -> str | tuple[str, ...]:
    """The value of the label column, as it stands in the data."""
    if value is None or value == "":
        raise fail(f"no label in column '{column}'; label the row, or leave it out of this file")
    if words:
        return _words(value, column, fail)
    if not isinstance(value, str | int | float):
        raise fail(f"column '{column}' holds {str(value)[:40]!r}; a row has one label")
    return str(value).strip()


def _mapped(tags: Label, label_map: Mapping[str, str]) -> Label:
    if tags is None or not label_map:
        return tags
    return label_map.get(tags, tags) if isinstance(tags, str) else tuple(label_map.get(tag, tag) for tag in tags)


def label_counts(examples: Sequence[Example]) -> Counter[str]:
    """How many examples have each label, or each tag in them."""
    counts: Counter[str] = Counter()
    for example in examples:
        if example.label is not None:
            counts.update({example.label} if isinstance(example.label, str) else set(example.label))
    return counts


def check_known(splits: Mapping[str, Sequence[Example]], labels: Sequence[str], where: str, mend: str = "") -> None:
    """Raises UserError, with the nearest label or the ``mend``, for a label of any split that is not in ``labels``."""
    for split, examples in splits.items():
        for label, count in label_counts(examples).items():
            if label not in labels:
                raise UserError(
                    f"label '{label}' ({count} rows of {split}) is not in {where}{mend or nearest(label, labels)}"
                )
