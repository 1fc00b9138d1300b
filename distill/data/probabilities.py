"""A file of probabilities in the place of a teacher: what an API or a person says of each text."""

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.config.data import DataConfig
from distill.config.models import ProbabilitiesTeacher
from distill.data.json_rows import Row
from distill.data.readers import read_rows
from distill.errors import UserError
from distill.tasks import Task
from distill.tasks.cells import shown
from distill.text.example import Example

LEAST = 1e-12
"""What a probability of 0 counts as, since its logarithm has no end."""


def load_probabilities(
    teacher: ProbabilitiesTeacher, data: DataConfig, task: Task, examples: Sequence[Example]
) -> list[NDArray[np.float32]]:
    """For each example the logarithms of its probabilities in the teacher's file, [U, C]: U units, C labels in the
    task's order. The file has the text columns that ``data`` names.

    Raises UserError, with the number of the row, for labels that are not the task's and for values that are no
    distribution, and for examples without a row.
    """
    name = teacher.source.path or "the teacher's file"
    found: dict[bytes, NDArray[np.float32]] = {}
    for number, row in enumerate(read_rows(teacher.source, "train", {}), start=1):
        where = f"{name}, row {number}"
        for column in (data.text, *([data.pair] if data.pair else []), teacher.column):
            if column not in row:
                raise UserError(f"{where} has no column '{column}'; it has {', '.join(map(str, row))}")
        text = row[data.text]
        example = Example(
            tuple(text) if isinstance(text, list) else str(text), str(row[data.pair]) if data.pair else None
        )
        found[example.key] = _distributions(row, data.text, teacher.column, task, where)
    missing = sum(e.key not in found for e in examples)
    if missing:
        raise UserError(
            f"{name} has no row for {missing} of {len(examples)} texts of the data; ask the teacher "
            "about these too, or leave them out of the data (texts must be equal to the letter)"
        )
    return [found[e.key] for e in examples]


def _distributions(row: Row, text: str, column: str, task: Task, where: str) -> NDArray[np.float32]:
    """[U, C] of a row: one object from label to probability, or a list of them, one a word."""
    value = row[column]
    objects = value if isinstance(value, list) else [value]
    units = len(row[text]) if task.words and isinstance(row[text], list) else 1
    if len(objects) != units:
        raise UserError(f"{where}: {column} has {len(objects)} distributions; expected {units}, one an answer")
    matrix = np.empty((units, len(task.labels)), dtype=np.float32)
    for i, probabilities in enumerate(objects):
        if isinstance(probabilities, str):
            with contextlib.suppress(ValueError, RecursionError):  # then it is a text, which is told below
                probabilities = json.loads(probabilities)
        if not isinstance(probabilities, dict):
            raise UserError(f'{where}: {column} is {shown(probabilities)}; expected {{"label": probability, …}}')
        matrix[i] = _logarithms(probabilities, task.labels, where)
    return matrix


def _logarithms(probabilities: Mapping[str, Any], labels: Sequence[str], where: str) -> NDArray[np.float64]:
    """[C]"""
    if sorted(probabilities) != sorted(labels):
        raise UserError(
            f"{where}: the teacher's labels {sorted(probabilities)} differ from the data's {sorted(labels)}"
        )
    try:
        p = np.array([float(probabilities[label]) for label in labels])
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{where}: the probabilities are {shown(dict(probabilities))}; give numbers") from error
    if not np.isfinite(p).all() or (p < 0).any() or abs(p.sum() - 1) > 0.01:
        raise UserError(f"{where}: the probabilities sum to {p.sum():.4g}; they must be 0 or more and sum to 1")
    logarithms: NDArray[np.float64] = np.log(np.maximum(p / p.sum(), LEAST))
    return logarithms
