"""From a model's output to units: one object a way, the same for student and teacher."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from distill.objectives.logits import NOWHERE


class Gather(Protocol):
    """The way from a model's output for the R rows of a batch to the units of its B examples."""

    def __call__(self, logits: Tensor) -> Tensor:
        """[R, C] or [R, L, C] to [B, U, C]."""


@dataclass(frozen=True)
class AsItIs:
    """No units are cut yet."""

    def __call__(self, logits: Tensor) -> Tensor:
        """The same."""
        return logits


@dataclass(frozen=True)
class Whole:
    """The whole text is the unit: [R, C] to [B, 1, C], pooled over the rows of each example."""

    example: Tensor
    """[R], the example of each row"""
    count: int
    """B"""
    pooling: str
    """``mean`` or ``max``"""

    def __call__(self, logits: Tensor) -> Tensor:
        """[B, 1, C]"""
        if len(logits) == self.count:
            return logits.unsqueeze(1)
        index = self.example.unsqueeze(-1).expand_as(logits)
        empty = logits.new_zeros(self.count, logits.shape[-1])
        how = "amax" if self.pooling == "max" else "mean"
        return empty.scatter_reduce(0, index, logits, how, include_self=False).unsqueeze(1)


@dataclass(frozen=True)
class Words:
    """A word is a unit, and its first piece speaks for it: [R, L, C] to [B, U, C]."""

    starts: Tensor
    """[B, U], first pieces as indices into the R · L tokens"""

    def __call__(self, logits: Tensor) -> Tensor:
        """[B, U, C]"""
        return logits.flatten(0, 1)[self.starts]


@dataclass(frozen=True)
class Spans:
    """Start and end are the two units, and W words are what they choose from: [R, L, 2] to [B, 2, W].

    A word's first piece speaks for a start there, its last one for an end.
    """

    starts: Tensor
    """[B, W], as indices into the R · L tokens"""
    ends: Tensor
    """[B, W]"""
    choices: Tensor
    """[B, W] of bool: words that are there to choose from; the others get :data:`NOWHERE`"""

    def __call__(self, logits: Tensor) -> Tensor:
        """[B, 2, W]"""
        tokens = logits.flatten(0, 1)
        both = torch.stack([tokens[self.starts][..., 0], tokens[self.ends][..., 1]], dim=1)
        return both.masked_fill(~self.choices.unsqueeze(1), NOWHERE)


@dataclass(frozen=True)
class Positions:
    """Chosen tokens are the units of one long example: [R, L, C] to [1, M, C]."""

    chosen: Tensor
    """[R, L] of bool, M of them true"""

    def __call__(self, logits: Tensor) -> Tensor:
        """[1, M, C]; also of hidden states, so that a large head runs on the chosen tokens alone."""
        return logits[self.chosen].unsqueeze(0)


@dataclass(frozen=True)
class NextTokens:
    """The tokens of a text are predicted, each from those before it: the positions that predict one are the units of
    one long example, [R, L, V] to [1, M, V]."""

    chosen: Tensor
    """[R, L] of bool, M of them true"""

    def __call__(self, logits: Tensor) -> Tensor:
        """[1, M, V]"""
        return logits[self.chosen].unsqueeze(0)
