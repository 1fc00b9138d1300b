"""Attention, feed-forward, normalisation and positions.

Shape suffixes: B batch, L length, D hidden size, H heads, K = D / H.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": functional.gelu, "relu": functional.relu}


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention over several heads (Vaswani et al. 2017, section 3.2.2)."""

    def __init__(self, hidden_size: int, heads: int, dropout: float) -> None:
        super().__init__()
        if hidden_size % heads:
            raise ValueError(f"hidden_size {hidden_size} is not a multiple of heads {heads}")
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)

    def forward(self, x_BLD: Tensor, mask_B11L: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]; keys where the mask is False get no weight."""
        q_BHLK, k_BHLK, v_BHLK = (
            layer(x_BLD).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed_BHLK = functional.scaled_dot_product_attention(
            q_BHLK, k_BHLK, v_BHLK, attn_mask=mask_B11L, dropout_p=self.dropout if self.training else 0.0
        )
        result: Tensor = self.output(mixed_BHLK.transpose(1, 2).flatten(2))
        return result


class FeedForward(nn.Module):
    """Two linear layers with an activation between them, applied at each position alone (section 3.3)."""

    def __init__(self, hidden_size: int, intermediate_size: int, activation: str) -> None:
        super().__init__()
        self.up = nn.Linear(hidden_size, intermediate_size)
        self.down = nn.Linear(intermediate_size, hidden_size)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x_BLD: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]"""
        result: Tensor = self.down(self.activation(self.up(x_BLD)))
        return result


class TransformerBlock(nn.Module):
    """Attention and feed-forward, each with a skip connection.

    ``post``: normalised after the addition, as in 2017 and in BERT. ``pre``: the branch is normalised before, the skip
    connection stays untouched (Xiong et al. 2020), which trains without warm-up.
    """

    def __init__(
        self,
        hidden_size: int,
        heads: int,
        intermediate_size: int,
        dropout: float,
        norm: str,
        activation: str,
        norm_eps: float = 1e-12,
    ) -> None:
        super().__init__()
        self.pre = norm == "pre"
        self.attention = MultiHeadAttention(hidden_size, heads, dropout)
        self.attention_norm = nn.LayerNorm(hidden_size, eps=norm_eps)
        self.feed_forward = FeedForward(hidden_size, intermediate_size, activation)
        self.feed_forward_norm = nn.LayerNorm(hidden_size, eps=norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor, mask_B11L: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]"""
        if self.pre:
            x_BLD = x_BLD + self.dropout(self.attention(self.attention_norm(x_BLD), mask_B11L))
            x_BLD = x_BLD + self.dropout(self.feed_forward(self.feed_forward_norm(x_BLD)))
        else:
            x_BLD = self.attention_norm(x_BLD + self.dropout(self.attention(x_BLD, mask_B11L)))
            x_BLD = self.feed_forward_norm(x_BLD + self.dropout(self.feed_forward(x_BLD)))
        return x_BLD


def sinusoidal_positions(length: int, hidden_size: int) -> Tensor:
    """[L, D] of sines (even) and cosines (odd dimensions) of geometrically growing wavelengths (section 3.5)."""
    rate_K = torch.exp(torch.arange(0, hidden_size, 2) * (-math.log(10000.0) / hidden_size))
    angle_LK = torch.arange(length)[:, None] * rate_K
    table_LD = torch.zeros(length, hidden_size)
    table_LD[:, 0::2] = angle_LK.sin()
    table_LD[:, 1::2] = angle_LK.cos()[:, : hidden_size // 2]
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


class Embeddings(nn.Module):
    """Word, position and segment embeddings, added up, normalised and dropped out, as in BERT."""

    def __init__(
        self,
        vocabulary_size: int,
        hidden_size: int,
        max_positions: int,
        type_vocabulary_size: int,
        dropout: float,
        positions: str,
        pad_id: int,
        norm_eps: float = 1e-12,
    ) -> None:
        super().__init__()
        self.word = nn.Embedding(vocabulary_size, hidden_size, padding_idx=pad_id)
        self.segment = nn.Embedding(type_vocabulary_size, hidden_size)
        table = SinusoidalPositions if positions == "sinusoidal" else nn.Embedding
        self.position = table(max_positions, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input_ids_BL: Tensor, token_type_ids_BL: Tensor) -> Tensor:
        """[B, L] to [B, L, D]"""
        positions_L = torch.arange(input_ids_BL.shape[1], device=input_ids_BL.device)
        x_BLD = self.word(input_ids_BL) + self.position(positions_L) + self.segment(token_type_ids_BL)
        result: Tensor = self.dropout(self.norm(x_BLD))
        return result
