"""How much each feed-forward unit of a model matters to its task.

Shape suffixes: K layers, R rows, L length, F units.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from distill.config import HardTerm
from distill.models.narrowing import feed_forwards
from distill.objectives import Objective
from distill.training.batching import each_tensor
from distill.training.problem import Rows
from distill.training.signal import look

TEXTS, BATCH = 512, 16
"""Labelled texts that are looked at, drawn at random; so many at once."""


def unit_importance(model: Any, rows: Rows, seed: int = 0) -> NDArray[np.float32]:
    """[K, F], how much the loss on labels would change, to first order, were a unit left out.

    Gradient times activation, added up over the tokens of a text; its absolute value, added up over texts (Michel, Levy
    and Neubig 2019, equation 2; Molchanov et al. 2017).
    """
    model.eval()
    seen: list[Tensor] = []

    def keep(_module: Any, given: tuple[Tensor]) -> None:
        given[0].retain_grad()
        seen.append(given[0])

    parts = feed_forwards(model)
    hooks = [part.out.register_forward_pre_hook(keep) for part in parts]
    importance = np.zeros((len(parts), parts[0].out.in_features), dtype=np.float64)
    chosen = np.random.default_rng(seed).permutation(len(rows.examples))[:TEXTS]
    loss_of = loss_on_labels(model, rows)
    for start in range(0, len(chosen), BATCH):
        seen.clear()
        loss_of(chosen[start : start + BATCH]).backward()  # type: ignore[no-untyped-call]
        for layer, x_RLF in enumerate(seen):
            assert x_RLF.grad is not None
            importance[layer] += (x_RLF * x_RLF.grad).sum(1).abs().sum(0).detach().double().cpu().numpy()
        model.zero_grad(set_to_none=True)
    for hook in hooks:
        hook.remove()
    return importance.astype(np.float32)


def loss_on_labels(model: Any, rows: Rows) -> Callable[[NDArray[np.int64]], Tensor]:
    """The sum of the losses of texts, by their numbers."""
    objective = Objective.of([HardTerm("hard")], rows.task.kind)

    def loss(texts: NDArray[np.int64]) -> Tensor:
        (batch,) = rows.batches(texts, [np.arange(len(texts))], np.random.default_rng(0), None)
        batch = each_tensor(batch, lambda tensor: tensor.to(model.device))
        found: Tensor = objective(look(model, batch, objective.needs, nullcontext), None, batch, [1.0])
        return found

    return loss
