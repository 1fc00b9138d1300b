"""Where a token stands: attention itself sees a set, so the order has to be given to it.

Three ways: a learned table added to the word embeddings (BERT: ``nn.Embedding``), a fixed table of sines added to them
(Vaswani et al. 2017), or queries and keys turned by an angle that grows with the position (RoFormer, Su et al. 2021),
with nothing added at all.

Shape suffixes: B batch, H heads, L length, D hidden size, K = D / H, J = K / 2.
"""

import math

import torch
from torch import Tensor, nn

BASE = 10000.0
"""The longest wavelength over the shortest, in both papers."""

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines [L, J], made by :func:`rotary_table` and used by :func:`rotate`."""


def rates(size: int, device: torch.device | None = None) -> Tensor:
    """[ceil(size / 2)] radians a position, ``BASE ** (-2 i / size)``: wavelengths grow geometrically from 2 pi on."""
    return torch.exp(torch.arange(0, size, 2, device=device) * (-math.log(BASE) / size))


def sinusoidal_positions(length: int, hidden_size: int) -> Tensor:
    """[L, D] of sines (even) and cosines (odd dimensions) of growing wavelengths (Vaswani et al. 2017, section 3.5)."""
    angle_LJ = torch.arange(length)[:, None] * rates(hidden_size)
    table_LD = torch.zeros(length, hidden_size)
    table_LD[:, 0::2] = angle_LJ.sin()
    table_LD[:, 1::2] = angle_LJ.cos()[:, : hidden_size // 2]
    return table_LD


class SinusoidalPositions(nn.Module):
    """The table of :func:`sinusoidal_positions`, a buffer: saved with the weights, never trained or initialised."""

    weight: Tensor

    def __init__(self, length: int, hidden_size: int) -> None:
        super().__init__()
        self.register_buffer("weight", sinusoidal_positions(length, hidden_size))

    def forward(self, positions_L: Tensor) -> Tensor:
        """[L] to [L, D]"""
        return self.weight[positions_L]


def position_table(positions: str, length: int, hidden_size: int) -> nn.Embedding | SinusoidalPositions | None:
    """From a position to what is added to a word: ``learned``, ``sinusoidal``, or ``rotary``, which adds nothing."""
    if positions == "rotary":
        return None
    return (SinusoidalPositions if positions == "sinusoidal" else nn.Embedding)(length, hidden_size)


def positions_of(mask_BS: Tensor, past: int = 0) -> Tensor:
    """[B, S] to [B, S - past]: the place of each token among the real ones of its row, wherever padding stands.

    The first ``past`` tokens have been read before.
    """
    return (mask_BS.cumsum(1) - 1).clamp(min=0)[:, past:]


def rotary_table(positions_L: Tensor, head_size: int) -> Rotation:
    """Cosines and sines [L, J] of position times rate, in float32 (Su et al. 2021, section 3.2.2).

    Where rows have positions of their own, [B, 1, L] to [B, 1, L, J].

    Computed anew from the positions each time: there is no longest text, nothing to save or to load, and an exported
    graph holds the rule rather than a table of one length.
    """
    angle_LJ = positions_L[..., None].float() * rates(head_size, positions_L.device)
    return angle_LJ.cos(), angle_LJ.sin()


def rotate(x_BHLK: Tensor, rotation: Rotation) -> Tensor:
    """Turns each pair of dimensions (i, i + J) of each head by the angle of its position; [B, H, L, K] to the same.

    A query turned by ``m`` and a key turned by ``n`` have the scalar product of the two unturned but for ``m - n``:
    attention then sees distances, not positions. The pairs lie half a head apart, as in transformers' Llama; the paper
    pairs neighbours, which is the same but for the order of the dimensions.
    """
    cos_LJ, sin_LJ = rotation
    first_BHLJ, second_BHLJ = x_BHLK.chunk(2, dim=-1)
    turned_BHLK = torch.cat(
        [first_BHLJ * cos_LJ - second_BHLJ * sin_LJ, first_BHLJ * sin_LJ + second_BHLJ * cos_LJ], dim=-1
    )
    return turned_BHLK.to(x_BHLK.dtype)
