"""An exponential moving average of a model's weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


class MovingAverage:
    """The average of the weights over steps, exponentially weighted: a ← d · a + (1 − d) · w after each step.

    The decay d of step t is min(``decay``, (1 + t) / (10 + t)), as TensorFlow's ``ExponentialMovingAverage`` has it
    with ``num_updates``: the average reaches back over about a tenth of the steps so far, until ``decay`` is reached
    (0.999 after 9,000 steps). A bias correction as Adam's would leave the first weights out, too, but in a training
    much shorter than 1 / (1 - ``decay``) it weighs early steps, which had learnt little, as much as late ones. Buffers
    are not averaged.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Starts at the weights that the model has."""
        self.weights = dict(model.named_parameters())
        self.decay = decay
        self.steps = 0
        self.average = {name: weight.detach().clone() for name, weight in self.weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the weights after a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(list(self.average.values()), list(self.weights.values()), 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model with the average for its weights; then it has its own again, to the bit."""
        own = {name: weight.detach().clone() for name, weight in self.weights.items()}
        self.put()
        try:
            yield
        finally:
            self._set(own)

    def put(self) -> None:
        """Gives the model the average for its weights."""
        self._set(self.average)

    @torch.no_grad()
    def _set(self, values: dict[str, torch.Tensor]) -> None:
        for name, weight in self.weights.items():
            weight.copy_(values[name])

    def state_dict(self) -> dict[str, Any]:
        """What a training goes on from."""
        return {"steps": self.steps, "average": self.average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what :meth:`state_dict` gave."""
        self.steps = state["steps"]
        for name, value in state["average"].items():
            self.average[name].copy_(value)
