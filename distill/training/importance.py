"""How much each part of a model matters to its task.

Shape suffixes: K layers, R rows, L length, F feed-forward units, H attention heads, D hidden size.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from distill.config import HardTerm
from distill.models.narrowing import feed_forwards
from distill.models.width import attentions
from distill.objectives import Objective, OnTeacher, Seen
from distill.objectives.objective import PSEUDO
from distill.training.batching import each_tensor
from distill.training.problem import Rows
from distill.training.signal import Signal, look

TEXTS, BATCH = 512, 16
"""Labelled texts that are looked at, drawn at random; so many at once."""


@dataclass(frozen=True)
class Importance:
    """How much the loss on labels would change, to first order, were a part left out."""

    units_KF: NDArray[np.float32]
    heads_KH: NDArray[np.float32]
    states_D: NDArray[np.float32]
    """Of each number of the hidden states, over all layers."""

    def save(self, file: Path) -> None:
        """Writes a ``.npz`` file."""
        np.savez(file, units=self.units_KF, heads=self.heads_KH, states=self.states_D)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Reads what :meth:`save` wrote."""
        with np.load(file, allow_pickle=False) as kept:
            return cls(kept["units"], kept["heads"], kept["states"])


Taught = tuple[Objective, Signal]
"""What answers are held against where no text has a label: terms that read a teacher, and what it says."""


def importance_of(
    model: Any, rows: Rows, units: bool = True, width: bool = True, seed: int = 0, signal: Signal | None = None
) -> Importance:
    """Of feed-forward ``units``, and of the heads and states that make up the ``width``; empty where not asked for. The
    loss is that on labels, or on the answers of a teacher in their place.

    Gradient times activation, added up over the tokens of a text, and over the numbers of a head; its absolute value,
    added up over texts, and of states over the layers (Michel, Levy and Neubig 2019, equation 2; Molchanov et al.
    2017).
    """
    model.eval()
    given: dict[nn.Module, Tensor] = {}

    def keep(linear: nn.Module, arguments: tuple[Tensor]) -> None:
        arguments[0].retain_grad()
        given[linear] = arguments[0]

    of_units = [part.out for part in feed_forwards(model)] if units else []
    of_heads = [part.out for part in attentions(model)] if width else []
    hooks = [linear.register_forward_pre_hook(keep) for linear in (*of_units, *of_heads)]
    heads = int(model.config.num_attention_heads) if width else 0
    units_KF = np.zeros((len(of_units), of_units[0].in_features if units else 0))
    heads_KH = np.zeros((len(of_heads), heads))
    states_D = np.zeros(of_heads[0].out_features if width else 0)
    taught = None if signal is None else (answers_as_labels(rows.task.kind), signal)
    loss_of = loss_on(model, rows, taught, frozenset({"hidden"}) if width else frozenset())
    for texts in batches_of(rows, seed):
        loss, seen = loss_of(texts)
        for state_RLD in seen.hidden:
            state_RLD.retain_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for layer, linear in enumerate(of_units):
            units_KF[layer] += mattered(given[linear], linear.in_features)
        for layer, linear in enumerate(of_heads):
            heads_KH[layer] += mattered(given[linear], heads)
        for state_RLD in seen.hidden:
            states_D += mattered(state_RLD, len(states_D))
        model.zero_grad(set_to_none=True)
    for hook in hooks:
        hook.remove()
    return Importance(*(found.astype(np.float32) for found in (units_KF, heads_KH, states_D)))


def answers_as_labels(kind: str) -> Objective:
    """The teacher's likeliest answers in the place of labels. Against soft labels their own teacher, or a copy of it,
    loses nothing, and no part of it would matter. A number has no likeliest one: there it is the number that parts
    change."""
    return Objective([OnTeacher(1.0, number_itself if kind == "number" else PSEUDO[kind])])


def number_itself(student: Tensor, teacher: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """[B, U, 1] of answers, added up, and how many there are."""
    return student.float().squeeze(-1).masked_fill(~mask, 0.0).sum(), mask.sum()


def mattered(x_RLD: Tensor, parts: int) -> NDArray[np.float64]:
    """[parts], of neighbouring numbers of an activation whose gradient is known."""
    assert x_RLD.grad is not None
    found_RD = (x_RLD * x_RLD.grad).sum(1).detach().double()
    found: NDArray[np.float64] = found_RD.reshape(len(found_RD), parts, -1).sum(2).abs().sum(0).cpu().numpy()
    return found


def batches_of(rows: Rows, seed: int = 0) -> list[NDArray[np.int64]]:
    """Numbers of the texts that are looked at, so many at once."""
    chosen = np.random.default_rng(seed).permutation(len(rows.examples))[:TEXTS]
    return [chosen[start : start + BATCH] for start in range(0, len(chosen), BATCH)]


def loss_on_labels(
    model: Any, rows: Rows, needs: frozenset[str] = frozenset()
) -> Callable[[NDArray[np.int64]], tuple[Tensor, Seen]]:
    """The sum of the losses of texts, by their numbers, and what was seen of the model."""
    return loss_on(model, rows, None, needs)


def loss_on(
    model: Any, rows: Rows, taught: Taught | None, needs: frozenset[str] = frozenset()
) -> Callable[[NDArray[np.int64]], tuple[Tensor, Seen]]:
    """The same, on what a teacher says where ``taught`` is given."""
    objective, signal = taught or (Objective.of([HardTerm("hard")], rows.task.kind), None)

    def loss(texts: NDArray[np.int64]) -> tuple[Tensor, Seen]:
        (batch,) = rows.batches(texts, [np.arange(len(texts))], np.random.default_rng(0), signal)
        batch = each_tensor(batch, lambda tensor: tensor.to(model.device))
        seen = look(model, batch, objective.needs | needs, nullcontext)
        said = None if signal is None else signal.of(batch)
        return objective(seen, said, batch, [1.0] * len(objective.parts)), seen

    return loss
