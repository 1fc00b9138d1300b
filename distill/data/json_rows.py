"""Rows out of JSON: a list of objects, one object a line, or SQuAD's articles."""

import json
from pathlib import Path
from typing import Any

from distill.errors import UserError
from distill.tasks.cells import shown

Row = dict[str, Any]
"""Column to value."""


def rows_of_json(path: Path, text: str) -> list[Row]:
    """A list of objects, by itself or under the key ``data``, that of SQuAD among them; or one object a line, as many
    tools write them."""
    if text.lstrip().startswith("{") and (rows := _objects_of_lines(path, text)) is not None:
        return rows
    found = _parsed(path, text, 1)
    rows = found.get("data") if isinstance(found, dict) else found
    if not isinstance(rows, list):
        raise UserError(
            f"{path} holds no list of objects, and not one object a line; give the objects of columns and values as a "
            'list, by itself or as {"data": [...]}'
        )
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise UserError(f"{path}, item {number}: {shown(row)} is no object of columns and values")
    return _questions(path, rows) if rows and all("paragraphs" in row for row in rows) else rows


def _objects_of_lines(path: Path, text: str) -> list[Row] | None:
    """One object a line; None where the first line holds none, or is all there is and holds the list of objects."""
    first, _, more = text.strip().partition("\n")
    try:
        data = json.loads(first).get("data")
    except (ValueError, RecursionError):
        return None
    holds_all = not more and isinstance(data, list) and data and all(isinstance(row, dict) for row in data)
    return None if holds_all else rows_of_lines(path, text)


def rows_of_lines(path: Path, text: str) -> list[Row]:
    """One object a line; empty lines are none."""
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        row = _parsed(path, line, number)
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: {line[:40]!r} is no object of columns and values")
        rows.append(row)
    return rows


def _questions(path: Path, articles: list[Row]) -> list[Row]:
    """A row a question of SQuAD's own layout: articles, their paragraphs, and what is asked about each of these."""
    rows = []
    for number, article in enumerate(articles, start=1):
        try:
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    answers = [] if asked.get("is_impossible") else asked.get("answers")
                    known = {"title": article.get("title"), "context": paragraph["context"], "id": asked.get("id")}
                    rows.append({**known, "question": asked["question"], "answers": answers})
        except (AttributeError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}, item {number}: not as SQuAD has it, paragraphs with a context and qas, each with a question "
                "and answers"
            ) from error
    return rows


def _parsed(path: Path, text: str, line: int) -> Any:
    """JSON that starts at a line."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{path}, line {line + error.lineno - 1}"
        raise UserError(f"{where}: not JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:  # more digits than Python turns into a number; a thousand brackets
        what = (
            "a number of thousands of digits" if isinstance(error, ValueError) else "lists or objects nested too deep"
        )
        raise UserError(f"{path}: {what} in what starts at line {line}; leave it out") from error
