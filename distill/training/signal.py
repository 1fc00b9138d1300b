"""What the teacher says of a batch: one interface, several ways to fill it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from distill.models.answers import answer_of, model_inputs, pooling_of
from distill.models.generation import TensorGenerationMixin
from distill.models.masked import answers_at
from distill.models.writing import sample
from distill.objectives import Seen
from distill.tasks.task import Logits
from distill.text import Example
from distill.training.batching import Batch
from distill.training.gathers import AsItIs, NextTokens, Positions
from distill.training.inside import run_inside
from distill.training.soft_labels import SoftLabelStore
from distill.training.states import StateStore

Autocast = Callable[[], AbstractContextManager[Any]]
"""What a model is run within: bf16 where the machine computes in it."""


class Signal(ABC):
    """What the teacher says of every batch."""

    needs: frozenset[str]
    """Fields of :class:`Seen` that it fills."""

    @abstractmethod
    def of(self, batch: Batch) -> Seen:
        """What the teacher says of this batch, on the batch's device."""

    def prepared(self, batch: Batch, student: nn.Module) -> Batch:
        """The batch that both see: the one given, or one that the student has a part in."""
        return batch


class Stored(Signal):
    """Logits that were computed once, by row number: batches are made with them beside their labels."""

    needs = frozenset({"units"})

    def __init__(
        self,
        store: SoftLabelStore,
        texts: Sequence[Example],
        tokens: Tokens | None = None,
        streamed: Logits | None = None,
    ) -> None:
        """``tokens``: the store holds the most likely ones alone. ``streamed`` [M, C]: of M whole texts behind the N
        ``texts``. Raises KeyError for a text that the teacher never saw."""
        self.store = store
        self.tokens = tokens
        self.streamed = streamed
        self.rows = store.rows_of(texts)

    def __getitem__(self, row: int) -> Logits:
        """[U, C] of the text with this number."""
        if row < len(self.rows) or self.streamed is None:
            return self.store.at(int(self.rows[row]))
        further: Logits = self.streamed[row - len(self.rows)][None]
        return further

    def of(self, batch: Batch) -> Seen:
        """What was laid beside the labels."""
        assert batch.teacher is not None
        return Seen(batch.teacher if self.tokens is None else self.tokens.logits(batch.teacher))


@dataclass(frozen=True)
class Tokens:
    """The vocabulary of a student that reads as its teacher does, all of the teacher's or a part of it."""

    counts: NDArray[np.int64]
    """[V], how often each stands in the texts"""
    kept: NDArray[np.int64] | None = None
    """[V], the teacher's id of each of the student's; None: they are the same."""

    def logits(self, most_likely: Tensor) -> Tensor:
        """What :func:`distill.models.answers.most_likely` kept, [1, M, 2k + 1], as log probabilities [1, M, V]. What is
        left for all other tokens, that of tokens the student does not have included, is spread over them by how often
        they stand in the texts, plus one, as n-gram models back off to unigrams (Katz 1987). Spread evenly, it would
        teach the student that rare tokens are as likely as others (Anshumann et al. 2025).
        """
        k = most_likely.shape[-1] // 2
        ids, logs, rest = most_likely[..., :k].long(), most_likely[..., k : 2 * k], most_likely[..., 2 * k :]
        if self.kept is not None:
            own = torch.full((int(max(self.kept.max(), ids.max())) + 1,), -1, device=ids.device)
            own[torch.from_numpy(self.kept).to(ids.device)] = torch.arange(len(self.kept), device=ids.device)
            ids = own[ids]
        there = ids >= 0
        rest = torch.cat([rest, logs.masked_fill(there, -torch.inf)], dim=-1).logsumexp(-1, keepdim=True)
        nowhere = len(self.counts)  # one column more takes what is not there
        share = functional.pad(torch.from_numpy(self.counts).to(ids.device) + 1.0, (0, 1))
        ids = ids.masked_fill(~there, nowhere)
        others = (share.sum() - share[ids].sum(-1, keepdim=True)).clamp(min=1.0)
        spread = share.log() + (rest - others.log())
        spread.scatter_(-1, ids, logs)
        return spread[..., :nowhere]


class Beside(Signal):
    """A teacher that runs along: frozen, in evaluation mode, on the very batch that the student sees."""

    def __init__(
        self,
        teacher: nn.Module,
        needs: frozenset[str],
        autocast: Autocast = nullcontext,
        kept: NDArray[np.int64] | None = None,
        alone: bool = False,
    ) -> None:
        """``kept`` [V] is the teacher's id of each of the student's, where its vocabulary is a part. ``alone``: what it
        says depends on padding, so that each row is run by itself."""
        self.teacher = teacher.eval().requires_grad_(False)
        self.needs = needs
        self.autocast = autocast
        self.look = look_alone if alone else look
        self.kept = None if kept is None else torch.from_numpy(kept)

    @torch.no_grad()
    def of(self, batch: Batch) -> Seen:
        """Computed now."""
        self.teacher.to(batch.unit_mask.device)
        if self.kept is not None:
            ids = self.kept.to(batch.unit_mask.device)[batch.inputs["input_ids"]]
            batch = replace(batch, inputs={**batch.inputs, "input_ids": ids})
        return self.look(self.teacher, batch, self.needs, self.autocast)


class Along(Stored):
    """Logits that were computed once, and beside them what happens inside a teacher that runs along."""

    def __init__(
        self, store: SoftLabelStore, texts: Sequence[Example], beside: Beside, streamed: Logits | None = None
    ) -> None:
        super().__init__(store, texts, streamed=streamed)
        self.beside = beside
        self.needs = beside.needs  # type: ignore[misc]

    def of(self, batch: Batch) -> Seen:
        """Units as they were stored, all else computed now."""
        return replace(self.beside.of(batch), units=super().of(batch).units)


class StoredInside(Stored):
    """Logits and what happens inside the teacher, both computed once, by row number: the teacher need not be there.
    Layers that no term compares are empty; of those whose first tokens alone are compared there is no more, [R, 1, D].
    """

    def __init__(self, store: SoftLabelStore, texts: Sequence[Example], states: StateStore) -> None:
        """Raises KeyError for a text that the teacher never saw."""
        super().__init__(store, texts)
        self.states = states
        self.places = states.rows_of(texts)
        self.needs = frozenset({"units", "hidden", "qkv"})  # type: ignore[misc]

    def states_of(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Of the texts with these numbers, for :attr:`Batch.states`."""
        tokens, firsts = self.states.of([int(self.places[row]) for row in rows])
        return {"tokens": torch.from_numpy(tokens), "rows": torch.from_numpy(firsts)}

    def of(self, batch: Batch) -> Seen:
        """What was laid beside the labels, 0 where a row is padded."""
        compared, mask = self.states.compared, batch.inputs["attention_mask"].bool()
        tokens_RLC = torch.zeros(*mask.shape, compared.of_token, device=mask.device)
        tokens_RLC[mask] = batch.states["tokens"].float()
        firsts_R1C = batch.states["rows"].float().unsqueeze(1)
        width, of_hidden = compared.state_size, compared.state_size * len(compared.hidden)
        hidden = {layer: tokens_RLC[..., i * width : (i + 1) * width] for i, layer in enumerate(compared.hidden)}
        hidden |= {layer: firsts_R1C[..., i * width : (i + 1) * width] for i, layer in enumerate(compared.first)}
        qkv_RLN3E = tokens_RLC[..., of_hidden:].view(*mask.shape, len(compared.qkv), 3, compared.query_size)
        qkv = {layer - 1: qkv_RLN3E[:, :, i].permute(2, 0, 1, 3) for i, layer in enumerate(compared.qkv)}
        return replace(super().of(batch), hidden=_by_layer(hidden, mask), qkv=_by_layer(qkv, mask))


def _by_layer(found: dict[int, Tensor], like: Tensor) -> tuple[Tensor, ...]:
    """As :class:`Seen` has them, empty where a layer is not there."""
    nothing = torch.zeros(0, 0, 0, device=like.device)
    return tuple(found.get(layer, nothing) for layer in range(max(found, default=-1) + 1))


class OnPolicy(Beside):
    """A teacher that runs along on what the student writes itself: on-policy distillation, as in GKD (Agarwal et al.
    2024, algorithm 1). The student so learns on the texts that it will see once it writes, its own mistakes in them.
    """

    def __init__(
        self,
        teacher: nn.Module,
        share: float,
        kept: NDArray[np.int64] | None = None,
        autocast: Autocast = nullcontext,
        alone: bool = False,
    ) -> None:
        """``share`` of the steps begin with a text of the data and go on with the student's; the others are the data's
        alone."""
        super().__init__(teacher, frozenset({"units"}), autocast, kept, alone)
        self.share = share

    def of(self, batch: Batch) -> Seen:
        """Computed now; of tokens that the student does not have nothing is said."""
        seen = super().of(batch)
        return seen if self.kept is None else Seen(seen.units[..., self.kept.to(seen.units.device)])

    @torch.no_grad()
    def prepared(self, batch: Batch, student: nn.Module) -> Batch:
        """The second half of each row written by the student, at temperature 1. Rows keep their lengths."""
        if torch.rand(()) >= self.share:
            return batch
        mask = batch.inputs["attention_mask"]
        ids, length = batch.inputs["input_ids"], mask.shape[1]
        begin = max(1, int(mask.sum(1).min()) // 2)
        training = student.training
        student.eval()
        with self.autocast():
            written = sample(student, ids[:, :begin], length)
        student.train(training)
        written = torch.where(mask.bool(), written, ids)
        return replace(batch, inputs={**batch.inputs, "input_ids": written})


def look(model: Any, batch: Batch, needs: frozenset[str], autocast: Autocast = nullcontext) -> Seen:
    """What a model, student or teacher, says of a batch, and what happens inside it where that is needed."""
    with autocast():
        if isinstance(batch.gather, Positions):
            logits, hidden = answers_at(model, batch.inputs, batch.gather.chosen)
            return Seen(logits.float(), (hidden.float(),) if "hidden" in needs else ())
        inputs = model_inputs(model, batch.inputs)
        if isinstance(batch.gather, NextTokens) and isinstance(model, TensorGenerationMixin):  # no logits of padding
            output = model(**inputs, logits_to_keep=batch.gather.chosen)
            return Seen(output.logits.float().unsqueeze(0))
        output, (hidden, qkv) = run_inside(model, inputs, needs)
        logits = answer_of(output, batch.inputs["attention_mask"], pooling_of(model))
    return Seen(batch.gather(logits.float()), tuple(state.float() for state in hidden), tuple(qkv))


def look_alone(model: Any, batch: Batch, needs: frozenset[str], autocast: Autocast = nullcontext) -> Seen:
    """The same of an encoder or a decoder whose answers depend on padding: of each row by itself, without its
    padding."""
    mask = batch.inputs["attention_mask"]
    longest = mask.shape[1]
    seen = []
    for row, length in enumerate(mask.sum(1).tolist()):
        inputs = {name: tensor[row : row + 1, : max(1, length)] for name, tensor in batch.inputs.items()}
        seen.append(look(model, replace(batch, inputs=inputs, gather=AsItIs()), needs, autocast))

    def joined(parts: Sequence[Tensor], rows: int = 0) -> Tensor:
        """Padded again, one behind another along the dimension of rows."""
        return torch.cat([functional.pad(x, (0, 0, 0, longest - x.shape[-2])) for x in parts], dim=rows)

    logits = [one.units for one in seen]
    units = torch.cat(logits) if logits[0].ndim == 2 else joined(logits)
    hidden = tuple(joined(layer) for layer in zip(*(one.hidden for one in seen), strict=True))
    qkv = tuple(joined(layer, rows=1) for layer in zip(*(one.qkv for one in seen), strict=True))
    return Seen(batch.gather(units), hidden, qkv)
