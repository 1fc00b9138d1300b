"""Rows as tensors: ids, and units with their labels and soft labels."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distill.objectives.logits import NOWHERE
from distill.tasks import Task
from distill.tasks.task import NO_LABEL
from distill.text import Encoded, Example, pad, rows_of
from distill.training.soft_labels import SoftLabelStore


@dataclass(frozen=True)
class Batch:
    """B examples of up to U units, in R rows (more than B where examples have several windows) of up to L tokens."""

    inputs: dict[str, Tensor]
    """``input_ids``, ``attention_mask``, ``token_type_ids``, each [R, L]"""
    example: Tensor
    """[R], the example of each row"""
    starts: Tensor | None
    """[B, U], where a unit is a word: its first piece, as an index into the R · L tokens"""
    ends: Tensor | None
    """[B, U], where a unit can start or end a span: its last piece"""
    pooling: str
    """How rows of one example become one unit, where a unit is the whole text: ``mean`` or ``max``"""
    unit_mask: Tensor
    """[B, U] of bool: real units. For spans [B, 2], start and end, as units are what is chosen from there."""
    labels: Tensor
    """[B, U] of indices, ``NO_LABEL`` where there is none; or numbers [B, U, C], NaN where there is none"""
    teacher: Tensor | None
    """[B, U, C] logits; for spans [B, 2, U]"""
    choices: Tensor | None
    """[B, U] of bool, for spans: the units that are there to choose from"""

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        moved: dict[str, Any] = {
            field.name: value.to(device, non_blocking=True)
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        inputs = {name: tensor.to(device, non_blocking=True) for name, tensor in self.inputs.items()}
        return dataclasses.replace(self, inputs=inputs, **moved)

    def units(self, logits: Tensor) -> Tensor:
        """A model's answer, [R, C] or [R, L, C], as [B, U, C]; for spans as [B, 2, U]."""
        if self.starts is None:
            return self._pooled(logits)
        tokens = logits.flatten(0, 1)
        if self.choices is None:
            return tokens[self.starts]
        assert self.ends is not None
        both = torch.stack([tokens[self.starts][..., 0], tokens[self.ends][..., 1]], dim=1)
        return both.masked_fill(~self.choices.unsqueeze(1), NOWHERE)

    def _pooled(self, logits: Tensor) -> Tensor:
        count, rows = len(self.unit_mask), len(logits)
        if rows == count:
            return logits.unsqueeze(1)
        index = self.example.unsqueeze(-1).expand_as(logits)
        empty = logits.new_zeros(count, logits.shape[-1])
        how = "amax" if self.pooling == "max" else "mean"
        return empty.scatter_reduce(0, index, logits, how, include_self=False).unsqueeze(1)


def make_batch(
    encoded: Sequence[Encoded], examples: Sequence[Example], task: Task, pad_id: int, store: SoftLabelStore | None
) -> Batch:
    """Pads and stacks; units that the student or the teacher cannot see (cut off, without a piece) are masked.

    Raises ValueError for a pair in a task whose examples to learn on are single texts.
    """
    rows = rows_of(encoded)
    inputs = {name: torch.from_numpy(array) for name, array in pad(rows, pad_id).items()}
    length = inputs["input_ids"].shape[1]
    windows = np.array([e.windows for e in encoded])
    first_row = np.cumsum(windows) - windows
    if task.kind == "vector" and (windows > 1).any():
        raise ValueError("a student of vectors learns on single texts, not on pairs")
    counts = [len(e.word_starts) if task.words else 1 for e in encoded]
    shape = (len(encoded), max(1, *counts))
    mask = np.zeros(shape, dtype=bool)
    places = np.zeros((2, *shape), dtype=np.int64)
    targets = [task.targets(example, count) for example, count in zip(examples, counts, strict=True)]
    width = targets[0].shape[-1] if task.kind != "span" else 2
    labels: NDArray[np.int64] | NDArray[np.float32] = np.full(shape, NO_LABEL, dtype=np.int64)
    if task.kind == "span":
        labels = np.full((len(encoded), 2), NO_LABEL, dtype=np.int64)
    elif targets[0].dtype.kind == "f":
        labels = np.full((*shape, width), np.nan, dtype=np.float32)
    soft = None if store is None else [store[example][:count] for example, count in zip(examples, counts, strict=True)]
    teacher = None if soft is None else np.zeros((*shape, soft[0].shape[-1]), dtype=np.float32)
    for row, (e, target, count) in enumerate(zip(encoded, targets, counts, strict=True)):
        labels[row, : len(target)] = target
        mask[row, :count] = True
        if task.words:
            for place, at in zip(places, (e.word_starts, e.word_ends), strict=True):
                place[row, :count] = (first_row[row] + e.word_rows) * length + np.maximum(at, 0)
            mask[row, :count] = e.word_starts >= 0
        if soft is not None and teacher is not None:
            known = ~np.isnan(soft[row][:, 0])
            teacher[row, : len(known)][known] = soft[row][known]
            mask[row, : len(known)] &= known
            mask[row, len(known) :] = False
    choices = torch.from_numpy(mask) if task.kind == "span" else None
    soft_labels = None if teacher is None else torch.from_numpy(teacher)
    unit_mask, hard_labels = torch.from_numpy(mask), torch.from_numpy(labels)
    if choices is not None:
        if soft_labels is not None:
            soft_labels = soft_labels.transpose(1, 2).masked_fill(~choices.unsqueeze(1), NOWHERE)
        unit_mask = choices.any(1, keepdim=True).expand(-1, 2)
        chosen = choices.gather(1, hard_labels.clamp(min=0)) & (hard_labels >= 0)
        hard_labels = hard_labels.masked_fill(~chosen, NO_LABEL)
    return Batch(
        inputs,
        torch.from_numpy(np.repeat(np.arange(len(encoded)), windows)),
        torch.from_numpy(places[0]) if task.words else None,
        torch.from_numpy(places[1]) if task.words else None,
        "mean" if task.windows is None else task.windows.pooling,
        unit_mask,
        hard_labels,
        soft_labels,
        choices,
    )
