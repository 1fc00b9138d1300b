"""Rows as tensors: ids, and units with their labels and soft labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from distill.tasks import Task
from distill.tasks.task import NO_LABEL
from distill.text import Encoded, Example, pad
from distill.training.soft_labels import SoftLabelStore


@dataclass(frozen=True)
class Batch:
    """B examples of up to L tokens and U units."""

    inputs: dict[str, Tensor]
    """``input_ids``, ``attention_mask``, ``token_type_ids``, each [B, L]"""
    positions: Tensor | None
    """[B, U], the token that speaks for each unit; None where a unit is the whole text"""
    unit_mask: Tensor
    """[B, U] of bool: real units"""
    labels: Tensor
    """[B, U], ``NO_LABEL`` where there is none"""
    teacher: Tensor | None
    """[B, U, C] logits"""

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(device, non_blocking=True)

        return Batch(
            {name: tensor.to(device, non_blocking=True) for name, tensor in self.inputs.items()},
            move(self.positions),
            self.unit_mask.to(device),
            self.labels.to(device),
            move(self.teacher),
        )

    def units(self, logits: Tensor) -> Tensor:
        """A model's logits, [B, C] or [B, L, C], as [B, U, C]."""
        if self.positions is None:
            return logits.unsqueeze(1)
        return logits.gather(1, self.positions.unsqueeze(-1).expand(-1, -1, logits.shape[-1]))


def make_batch(
    encoded: Sequence[Encoded], examples: Sequence[Example], task: Task, pad_id: int, store: SoftLabelStore | None
) -> Batch:
    """Pads and stacks; units that the student or the teacher cannot see (cut off, without a piece) are masked."""
    inputs = {name: torch.from_numpy(array) for name, array in pad(encoded, pad_id).items()}
    counts = [len(e.word_starts) if task.words else 1 for e in encoded]
    shape = (len(encoded), max(1, *counts))
    mask = np.zeros(shape, dtype=bool)
    labels = np.full(shape, NO_LABEL, dtype=np.int64)
    positions = np.zeros(shape, dtype=np.int64)
    teacher = None if store is None else np.zeros((*shape, len(task.labels)), dtype=np.float32)
    for row, (e, example, count) in enumerate(zip(encoded, examples, counts, strict=True)):
        labels[row, :count] = task.targets(example, count)
        mask[row, :count] = True
        if task.words:
            positions[row, :count] = np.maximum(e.word_starts, 0)
            mask[row, :count] = e.word_starts >= 0
        if store is not None and teacher is not None:
            soft = store[example][:count]
            known = ~np.isnan(soft[:, 0])
            teacher[row, : len(soft)][known] = soft[known]
            mask[row, : len(soft)] &= known
            mask[row, len(soft) :] = False
    return Batch(
        inputs,
        torch.from_numpy(positions) if task.words else None,
        torch.from_numpy(mask),
        torch.from_numpy(labels),
        None if teacher is None else torch.from_numpy(teacher),
    )
