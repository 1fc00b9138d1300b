"""What the teacher says of a batch: one interface, two ways to fill it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from distill.models.answers import answer, model_inputs
from distill.objectives import Seen
from distill.tasks.task import Logits
from distill.text import Example
from distill.training.batching import Batch
from distill.training.gathers import Positions
from distill.training.soft_labels import SoftLabelStore

Autocast = Callable[[], AbstractContextManager[Any]]
"""What a model is run within: bf16 where the machine computes in it."""


class Signal(Protocol):
    """What the teacher says of every batch."""

    @property
    def needs(self) -> frozenset[str]:
        """Fields of :class:`Seen` that it fills."""

    def of(self, batch: Batch) -> Seen:
        """What the teacher says of this batch, on the batch's device."""


class Stored:
    """Logits that were computed once, by row number: batches are made with them beside their labels."""

    needs = frozenset({"units"})

    def __init__(self, store: SoftLabelStore, texts: Sequence[Example]) -> None:
        """Raises KeyError for a text that the teacher never saw."""
        self.store = store
        self.rows = np.array([store.row_of(example) for example in texts], dtype=np.int64)

    def __getitem__(self, row: int) -> Logits:
        """[U, C] of the text with this number."""
        return self.store.at(int(self.rows[row]))

    def of(self, batch: Batch) -> Seen:
        """What was laid beside the labels."""
        assert batch.teacher is not None
        return Seen(batch.teacher)


class Beside:
    """A teacher that runs along: frozen, in evaluation mode, on the very batch that the student sees."""

    def __init__(self, teacher: nn.Module, needs: frozenset[str], autocast: Autocast = nullcontext) -> None:
        self.teacher = teacher.eval().requires_grad_(False)
        self.needs = needs
        self.autocast = autocast

    @torch.no_grad()
    def of(self, batch: Batch) -> Seen:
        """Computed now."""
        self.teacher.to(batch.unit_mask.device)
        return look(self.teacher, batch, self.needs, self.autocast)


def look(model: Any, batch: Batch, needs: frozenset[str], autocast: Autocast = nullcontext) -> Seen:
    """What a model, student or teacher, says of a batch. Raises ValueError for hidden states of a model that answers
    elsewhere than at chosen positions."""
    with autocast():
        if isinstance(batch.gather, Positions):
            logits, hidden = answers_at(model, batch.inputs, batch.gather)
            return Seen(logits.float(), (hidden.float(),) if "hidden" in needs else ())
        if "hidden" in needs:
            raise ValueError("hidden states are read where a model answers at chosen positions")
        logits = answer(model, batch.inputs)
    return Seen(batch.gather(logits.float()))


def answers_at(model: Any, inputs: dict[str, Tensor], positions: Positions) -> tuple[Tensor, Tensor]:
    """(logits [1, M, V] at the M chosen tokens, last hidden states [R, L, D]) of a model with a head over a vocabulary.

    A hook on the encoder inside hands only the chosen tokens to the head: over a vocabulary of 30,000, logits at every
    token would cost more than the layers do.
    """
    hidden: list[Tensor] = []

    def narrow(module: nn.Module, arguments: Any, output: Any) -> Any:
        hidden.append(output.last_hidden_state)
        output.last_hidden_state = positions(output.last_hidden_state)
        return output

    hook = model.base_model.register_forward_hook(narrow)
    try:
        logits = model(**model_inputs(model, inputs)).logits
    finally:
        hook.remove()
    return logits, hidden[0]
