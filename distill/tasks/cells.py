"""What a cell of the label column says: a label, tags, a set of labels, a number or answers, as a task reads it."""

import json
import math
import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from distill.errors import UserError
from distill.text.example import Label, Span

Fail = Callable[[str], UserError]
"""Makes an error that names the source, the split and the row."""


BLANKS = re.compile(r"[ \t\r\n]+")
"""What stands between the words of a text. Unicode's other blanks, such as U+00A0, are part of a word, or one."""


def cut_at_blanks(text: str) -> list[str]:
    """The words of a text."""
    return [word for word in BLANKS.split(text) if word]


def words_of(value: Any, column: str, fail: Fail) -> tuple[str, ...]:
    """A list of words, also one written as JSON or with spaces between them.

    A list as Python prints it, ``['a', 'b']``, is refused.
    """
    if isinstance(value, str):
        if value.startswith(('["', "['", "[]")) and value.endswith("]"):
            mend = 'give a list of words, also as JSON such as ["a", "b"], or words with spaces between them'
            value = _from_json(value, column, mend, fail)
        else:
            value = cut_at_blanks(value)
    if not isinstance(value, list | None) or not all(isinstance(word, str | int) for word in value or ()):
        raise fail(f"column '{column}' holds {shown(value)} and no list of words")
    return tuple(map(str, value or ()))


def whole(value: Any) -> Any:
    """1 for 1.0, which pandas makes of whole numbers where some are missing; all else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def class_of(value: Any, column: str, fail: Fail) -> str:
    """One label. A number without decimals is the same label whether it is stored as 1 or as 1.0."""
    _require(value, column, fail)
    value = whole(value)
    if not isinstance(value, str | int | float) or value in (math.inf, -math.inf):
        raise fail(f"column '{column}' holds {shown(value)}; a row has one label")
    return str(value).strip()


def tags_of(value: Any, column: str, fail: Fail) -> tuple[str, ...]:
    """One tag a word."""
    _require(value, column, fail)
    tags = words_of(value, column, fail)
    if any(not tag.strip() for tag in tags):
        raise fail(f"column '{column}' holds {shown(value)}, where a tag is empty; give one tag a word")
    return tags


def set_of(value: Any, column: str, fail: Fail) -> tuple[str, ...]:
    """A set of labels, sorted: a list, a list written as JSON, or names with semicolons or commas between them.

    A name with a semicolon or comma in it must stand in a list. An empty list says that no label applies; an empty text
    says nothing, and is refused. So is a list of 0 and 1, one a label: it does not say which label is which.
    """
    mend = 'give a list of labels, [] where none applies, or text such as ["joy", "love"] or joy;love'
    if missing(value):
        raise fail(f"no labels in column '{column}'; {mend}")
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            labels = _from_json(value, column, mend, fail)
        else:
            labels = [name for name in re.split("[;,]", value) if name.strip()]
    else:
        labels = value
    if not isinstance(labels, list):
        raise fail(f"column '{column}' holds {shown(value)}; {mend}")
    for label in labels:
        if not isinstance(label, str | int) or not str(label).strip():
            raise fail(f"column '{column}' holds a list with {shown(label)} in it; {mend}")
    names = [str(label).strip() for label in labels]
    if names and set(names) <= {"0", "1", "True", "False"} and len(set(names)) < len(names):
        raise fail(f"column '{column}' holds {shown(value)}, one number a label; {mend}")
    return tuple(sorted(set(names)))


def number_of(value: Any, column: str, fail: Fail) -> float:
    """A finite number, also one written as text."""
    _require(value, column, fail)
    no_number = isinstance(value, bool) or (isinstance(value, str) and "_" in value)  # Python reads 3_5 as 35
    try:
        number = math.nan if no_number else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise fail(f"column '{column}' holds {shown(value)}; give a finite number such as 2.5, or leave the row out")
    return number


def spans_of(value: Any, column: str, fail: Fail) -> tuple[Span, ...]:
    """The accepted answers to a question as SQuAD writes them, ``{"text": [...], "answer_start": [...]}``, or a list of
    objects with a ``text`` and an ``answer_start`` each; also as JSON in a text. Empty where the lists are."""
    mend = 'give {"text": ["..."], "answer_start": [0]}, the answers and the characters of the passage where they start'
    if missing(value):
        raise fail(
            f"no answers in column '{column}'; {mend}. Questions without an answer, as in SQuAD 2, are not supported: "
            "leave these rows out, or give them empty lists"
        )
    answers = _from_json(value, column, mend, fail) if isinstance(value, str) else value
    if isinstance(answers, dict):
        texts, starts = answers.get("text"), answers.get("answer_start")
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            raise fail(f"column '{column}' holds {shown(value)}, not two lists of one length; {mend}")
        answers = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    if not isinstance(answers, list):
        raise fail(f"column '{column}' holds {shown(value)}; {mend}")
    spans = []
    for answer in answers:
        text, start = (answer.get("text"), answer.get("answer_start")) if isinstance(answer, dict) else (None, None)
        if not isinstance(text, str) or not text or not isinstance(start, int) or isinstance(start, bool) or start < 0:
            raise fail(f"column '{column}' holds the answer {shown(answer)}; {mend}")
        spans.append(Span(text, start))
    return tuple(spans)


def renamed(label: Label, label_map: Mapping[str, str]) -> Label:
    """Labels and tags by the names that ``data.label_map`` gives them; numbers and spans as they are."""
    if isinstance(label, str):
        return label_map.get(label, label)
    names = names_of(label)
    return tuple(label_map.get(name, name) for name in names) if names else label


def names_of(label: Label | None) -> tuple[str, ...]:
    """The label, the labels of a set or the tags of a sentence; none where the label is a number or holds spans."""
    if isinstance(label, str):
        return (label,)
    return tuple(name for name in label if isinstance(name, str)) if isinstance(label, tuple) else ()


def missing(value: Any) -> bool:
    """Whether a cell says nothing: null, NaN or blanks."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and not value.strip())


def shown(value: Any) -> str:
    """The beginning of a value, for a message; of lists in lists the outer ones."""
    return repr((value if isinstance(value, str) else reprlib.repr(value))[:40])


def _require(value: Any, column: str, fail: Fail) -> None:
    if missing(value):
        raise fail(f"no label in column '{column}'; label the row, or leave it out of this file")


def _from_json(value: str, column: str, mend: str, fail: Fail) -> Any:
    try:
        parsed = json.loads(value)
        json.dumps(parsed, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise fail(f"column '{column}' holds {shown(value)}, which is not JSON ({error.msg}); {mend}") from error
    except (ValueError, RecursionError) as error:
        what = "too many digits, too many brackets, or half of a character"
        raise fail(f"column '{column}' holds {shown(value)}, JSON with {what}; {mend}") from error
    return parsed
