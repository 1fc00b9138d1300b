"""Rows as tensors: ids, and units with their labels and soft labels."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distill.objectives.logits import NOWHERE
from distill.tasks import Task
from distill.tasks.task import NO_LABEL, Logits
from distill.text import Encoded, Example, pad, rows_of
from distill.training.gathers import Gather, NextTokens, Spans, Whole, Words

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """B examples of up to U units, in R rows (more than B where examples have several windows) of up to L tokens."""

    inputs: dict[str, Tensor]
    """``input_ids``, ``attention_mask``, ``token_type_ids``, each [R, L]"""
    gather: Gather
    """From a model's output to units, [B, U, C]"""
    unit_mask: Tensor
    """[B, U] of bool: real units"""
    labels: Tensor
    """[B, U] of indices, ``NO_LABEL`` where there is none; or numbers [B, U, C], NaN where there is none"""
    teacher: Tensor | None = None
    """[B, U, C] logits, where they are stored"""
    states: dict[str, Tensor] = field(default_factory=dict)
    """What happens inside the teacher, where it is stored: float16 of the ``tokens`` [M, C] that are no padding, row by
    row, and of the ``rows`` [R, C], as :class:`distill.training.states.StateStore` has them"""


def each_tensor(value: T, change: Callable[[Tensor], Tensor]) -> T:
    """The same dataclass, dict or list with every tensor in it changed."""
    found: Any = value
    if isinstance(value, Tensor):
        found = change(value)
    elif isinstance(value, dict):
        found = {key: each_tensor(one, change) for key, one in value.items()}
    elif isinstance(value, list):
        found = [each_tensor(one, change) for one in value]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        found = dataclasses.replace(value, **{f.name: each_tensor(getattr(value, f.name), change) for f in fields})
    return found  # type: ignore[no-any-return]


def make_batch(
    encoded: Sequence[Encoded],
    examples: Sequence[Example],
    task: Task,
    pad_id: int,
    soft: Sequence[Logits] | None = None,
) -> Batch:
    """Pads and stacks; units that the student or the teacher cannot see (cut off, without a piece) are masked.

    ``soft`` are the teacher's logits of each example, [U, C], NaN where it says nothing. Raises ValueError for a pair
    in a task whose examples to learn on are single texts.
    """
    inputs = {name: torch.from_numpy(array) for name, array in pad(rows_of(encoded), pad_id).items()}
    if task.writes:
        return _next_tokens(inputs, encoded, task, soft)
    counts = [len(e.word_starts) if task.words else 1 for e in encoded]
    teacher, known = _soft_labels(soft, counts)
    labels = _labels(examples, task, counts)
    if not task.words:
        windows = np.array([e.windows for e in encoded])
        if task.kind == "vector" and (windows > 1).any():
            raise ValueError("a student of vectors learns on single texts, not on pairs")
        example = torch.from_numpy(np.repeat(np.arange(len(encoded)), windows))
        whole = Whole(example, len(encoded), "mean" if task.windows is None else task.windows.pooling)
        return Batch(inputs, whole, known, labels, teacher)
    starts, ends, visible = _places(encoded, inputs["input_ids"].shape[1], known.shape[1])
    known = known & visible
    if task.kind != "span":
        return Batch(inputs, Words(starts), known, labels, teacher)
    if teacher is not None:
        teacher = teacher.transpose(1, 2).masked_fill(~known.unsqueeze(1), NOWHERE)
    chosen = known.gather(1, labels.clamp(min=0)) & (labels >= 0)
    labels = labels.masked_fill(~chosen, NO_LABEL)
    return Batch(inputs, Spans(starts, ends, known), known.any(1, keepdim=True).expand(-1, 2), labels, teacher)


def _next_tokens(
    inputs: dict[str, Tensor], encoded: Sequence[Encoded], task: Task, soft: Sequence[Logits] | None
) -> Batch:
    """Units, labels and soft labels of all tokens that are to be predicted, one behind another: [1, M]."""
    ids = inputs.get("target_ids", inputs["input_ids"])
    chosen = torch.zeros_like(ids, dtype=torch.bool)
    for row, (first, last) in enumerate(task.predicted(encoded)):
        chosen[row, first:last] = True
    labels = ids.roll(-1, dims=1)[chosen].unsqueeze(0)
    teacher = None if soft is None else torch.from_numpy(np.concatenate(soft)).unsqueeze(0)
    return Batch(inputs, NextTokens(chosen), torch.ones_like(labels, dtype=torch.bool), labels, teacher)


def _labels(examples: Sequence[Example], task: Task, counts: Sequence[int]) -> Tensor:
    """[B, U] of indices or [B, U, C] of numbers; for spans [B, 2]."""
    targets = [task.targets(example, count) for example, count in zip(examples, counts, strict=True)]
    shape = (len(targets), 2 if task.kind == "span" else max(1, *counts))
    labels: NDArray[np.int64] | NDArray[np.float32] = np.full(shape, NO_LABEL, dtype=np.int64)
    if targets[0].dtype.kind == "f":
        labels = np.full((*shape, targets[0].shape[-1]), np.nan, dtype=np.float32)
    for row, target in enumerate(targets):
        labels[row, : len(target)] = target
    return torch.from_numpy(labels)


def _soft_labels(soft: Sequence[Logits] | None, counts: Sequence[int]) -> tuple[Tensor | None, Tensor]:
    """The teacher's logits [B, U, C], and the units [B, U] that are there, and of which it says something."""
    known = np.zeros((len(counts), max(1, *counts)), dtype=bool)
    for row, count in enumerate(counts):
        known[row, :count] = True
    if soft is None:
        return None, torch.from_numpy(known)
    teacher = np.zeros((*known.shape, soft[0].shape[-1]), dtype=np.float32)
    for row, (logits, count) in enumerate(zip(soft, counts, strict=True)):
        said = ~np.isnan(logits[:count, 0])
        teacher[row, : len(said)][said] = logits[:count][said]
        known[row, : len(said)] &= said
        known[row, len(said) :] = False
    return torch.from_numpy(teacher), torch.from_numpy(known)


def _places(encoded: Sequence[Encoded], length: int, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """First and last piece of each word [B, U], as indices into the R · L tokens, and whether it has one [B, U]."""
    places = np.zeros((2, len(encoded), most), dtype=np.int64)
    visible = np.zeros((len(encoded), most), dtype=bool)
    row = 0
    for i, e in enumerate(encoded):
        count = len(e.word_starts)
        for place, at in zip(places, (e.word_starts, e.word_ends), strict=True):
            place[i, :count] = (row + e.word_rows) * length + np.maximum(at, 0)
        visible[i, :count] = e.word_starts >= 0
        row += e.windows
    return torch.from_numpy(places[0]), torch.from_numpy(places[1]), torch.from_numpy(visible)
