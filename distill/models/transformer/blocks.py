"""What every Transformer is made of: attention, feed-forward, the block of both, and the embeddings below.

Shape suffixes: B batch, L length, S length of the sequence attended to (L where a text attends to itself), D hidden
size, H heads, K = D / H, F intermediate size.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.models.transformer.positions import Rotation, position_table, rotate

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": functional.gelu, "relu": functional.relu}
NORM_EPS = 1e-12
"""What layer normalisation adds to the variance; BERT's."""

KeysValues = tuple[Tensor, Tensor]
"""Keys and values [B, H, S, K] of a sequence, made by :meth:`MultiHeadAttention.keys_values`."""


class RMSNorm(nn.Module):
    """Each state divided by its root mean square and scaled; no mean is taken away (Zhang and Sennrich 2019)."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))

    def forward(self, x_BLD: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]; the mean is taken in float32."""
        x32_BLD = x_BLD.float()
        scale_BL1 = torch.rsqrt(x32_BLD.pow(2).mean(-1, keepdim=True) + NORM_EPS)
        return self.weight * (x32_BLD * scale_BL1).to(x_BLD.dtype)


def normalisation(norm: str, hidden_size: int) -> nn.Module:
    """The layer that normalises in a block of this ``norm``."""
    return RMSNorm(hidden_size) if norm == "rms" else nn.LayerNorm(hidden_size, eps=NORM_EPS)


def final_normalisation(norm: str, hidden_size: int) -> nn.Module:
    """What follows the last block: where blocks normalise before their branches, the last sum is left to normalise."""
    return nn.Identity() if norm == "post" else normalisation(norm, hidden_size)


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention over several heads (Vaswani et al. 2017, section 3.2.2).

    Each position asks (query), every position offers (key) and answers (value):
    ``softmax(q k^T / sqrt(K)) v``, in each head by itself.

    Raises ValueError where the heads do not divide the hidden size.
    """

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

    def forward(
        self,
        x_BLD: Tensor,
        mask_BHLS: Tensor,
        source_BSD: Tensor | None = None,
        rotation: Rotation | None = None,
    ) -> Tensor:
        """[B, L, D] to [B, L, D].

        ``mask_BHLS``: boolean, of any shape that broadcasts to [B, H, L, S]; a key where it is False gets no weight.
        ``source_BSD``: where keys and values come from, if not from ``x_BLD`` itself (cross-attention).
        ``rotation``: rotary positions, for a text that attends to itself.
        """
        q_BHLK = self.queries(x_BLD, rotation)
        keys_values = self.keys_values(x_BLD if source_BSD is None else source_BSD, rotation)
        return self.attend(q_BHLK, keys_values, mask_BHLS)[0]

    def queries(self, x_BLD: Tensor, rotation: Rotation | None = None) -> Tensor:
        """[B, H, L, K], what a sequence asks."""
        q_BHLK = self._split(self.query(x_BLD))
        return q_BHLK if rotation is None else rotate(q_BHLK, rotation)

    def keys_values(self, source_BSD: Tensor, rotation: Rotation | None = None) -> KeysValues:
        """What a sequence offers to be attended to. It does not depend on who asks, so it can be kept."""
        k_BHSK, v_BHSK = self._split(self.key(source_BSD)), self._split(self.value(source_BSD))
        return k_BHSK if rotation is None else rotate(k_BHSK, rotation), v_BHSK

    def attend(
        self, q_BHLK: Tensor, keys_values: KeysValues, mask_BHLS: Tensor, weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """(states [B, L, D], where asked for the weights [B, H, L, S], before dropout)"""
        k_BHSK, v_BHSK = keys_values
        weights_BHLS = None
        if weights or torch.onnx.is_in_onnx_export():  # torch's own becomes a graph that computes its scale in each run
            scores_BHLS = q_BHLK @ k_BHSK.transpose(-1, -2) / math.sqrt(q_BHLK.shape[-1])
            weights_BHLS = scores_BHLS.masked_fill(~mask_BHLS, torch.finfo(scores_BHLS.dtype).min).softmax(-1)
            mixed_BHLK = functional.dropout(weights_BHLS, self.dropout, self.training) @ v_BHSK
        else:
            mixed_BHLK = functional.scaled_dot_product_attention(
                q_BHLK, k_BHSK, v_BHSK, attn_mask=mask_BHLS, dropout_p=self.dropout if self.training else 0.0
            )
        mixed_BLHK = mixed_BHLK.transpose(1, 2)
        return self.output(mixed_BLHK.reshape(*mixed_BLHK.shape[:2], -1)), weights_BHLS

    def _split(self, x_BLD: Tensor) -> Tensor:
        """[B, L, D] to [B, H, L, K]"""
        return x_BLD.reshape(*x_BLD.shape[:2], self.heads, -1).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers with an activation between them, applied at each position alone (Vaswani et al. 2017, 3.3)."""

    def __init__(self, hidden_size: int, intermediate_size: int, activation: str) -> None:
        super().__init__()
        self.up = nn.Linear(hidden_size, intermediate_size)
        self.down = nn.Linear(intermediate_size, hidden_size)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x_BLD: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]"""
        result: Tensor = self.down(self.activation(self.up(x_BLD)))
        return result


class SwiGLU(nn.Module):
    """A feed-forward whose inner values are multiplied by a gate: ``down(silu(gate(x)) * up(x))`` (Shazeer 2020).

    It has three matrices where :class:`FeedForward` has two: at two thirds of the intermediate size both are as large.
    """

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate = nn.Linear(hidden_size, intermediate_size)
        self.up = nn.Linear(hidden_size, intermediate_size)
        self.down = nn.Linear(intermediate_size, hidden_size)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]"""
        inner_BLF = functional.silu(self.gate(x_BLD)) * self.up(x_BLD)
        result: Tensor = self.down(inner_BLF)
        return result


class Source(NamedTuple):
    """What a block with cross-attention reads beside its own sequence."""

    keys_values: KeysValues
    mask_BHLS: Tensor
    """As in :class:`MultiHeadAttention`; S is the length of the source."""


class Passed(NamedTuple):
    """What a block gives."""

    x_BLD: Tensor
    keys_values: KeysValues
    """Of all that has been read, past included."""
    weights_BHLS: Tensor | None = None
    cross_weights_BHLS: Tensor | None = None


class TransformerBlock(nn.Module):
    """Attention and feed-forward, each with a skip connection; between them cross-attention to a source, if ``cross``.

    ``post``: normalised after the addition, as in 2017 and in BERT. ``pre``: the branch is normalised before, the skip
    connection stays untouched (Xiong et al. 2020), which trains without warm-up. ``rms``: as ``pre``, with
    :class:`RMSNorm` for layer normalisation, as in Llama.
    """

    def __init__(
        self,
        hidden_size: int,
        heads: int,
        intermediate_size: int,
        dropout: float,
        norm: str,
        activation: str,
        cross: bool = False,
    ) -> None:
        super().__init__()
        self.before = norm != "post"
        self.attention = MultiHeadAttention(hidden_size, heads, dropout)
        self.attention_norm = normalisation(norm, hidden_size)
        if cross:
            self.cross_attention = MultiHeadAttention(hidden_size, heads, dropout)
            self.cross_norm = normalisation(norm, hidden_size)
        self.feed_forward = (
            SwiGLU(hidden_size, intermediate_size)
            if activation == "swiglu"
            else FeedForward(hidden_size, intermediate_size, activation)
        )
        self.feed_forward_norm = normalisation(norm, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor, mask_BHLL: Tensor, rotation: Rotation | None = None) -> Tensor:
        """[B, L, D] to [B, L, D]; mask and rotation as in :class:`MultiHeadAttention`."""
        return self.read(x_BLD, mask_BHLL, rotation).x_BLD

    def read(
        self,
        x_BLD: Tensor,
        mask_BHLS: Tensor,
        rotation: Rotation | None = None,
        past: KeysValues | None = None,
        source: Source | None = None,
        weights: bool = False,
    ) -> Passed:
        """The block at work after ``past``, which is attended to as well: S is the length of past and text together.

        ``weights``: whether the attention's weights are asked for.
        """
        inner_BLD = self._into(x_BLD, self.attention_norm)
        q_BHLK = self.attention.queries(inner_BLD, rotation)
        keys_values = self.attention.keys_values(inner_BLD, rotation)
        if past is not None:
            keys_values = (torch.cat([past[0], keys_values[0]], 2), torch.cat([past[1], keys_values[1]], 2))
        inner_BLD, weights_BHLS = self.attention.attend(q_BHLK, keys_values, mask_BHLS, weights)
        x_BLD = self._add(x_BLD, inner_BLD, self.attention_norm)
        cross_weights_BHLS = None
        if source is not None:
            q_BHLK = self.cross_attention.queries(self._into(x_BLD, self.cross_norm))
            inner_BLD, cross_weights_BHLS = self.cross_attention.attend(q_BHLK, *source, weights)
            x_BLD = self._add(x_BLD, inner_BLD, self.cross_norm)
        inner_BLD = self.feed_forward(self._into(x_BLD, self.feed_forward_norm))
        x_BLD = self._add(x_BLD, inner_BLD, self.feed_forward_norm)
        return Passed(x_BLD, keys_values, weights_BHLS, cross_weights_BHLS)

    def _into(self, x_BLD: Tensor, norm: nn.Module) -> Tensor:
        """What a branch reads."""
        return norm(x_BLD) if self.before else x_BLD

    def _add(self, x_BLD: Tensor, branch_BLD: Tensor, norm: nn.Module) -> Tensor:
        """The skip connection and what the branch gave."""
        x_BLD = x_BLD + self.dropout(branch_BLD)
        return x_BLD if self.before else norm(x_BLD)


class TokenEmbeddings(nn.Module):
    """Word embeddings times ``scale``, and position embeddings added to them, dropped out.

    ``positions`` as in :class:`Embeddings`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        hidden_size: int,
        max_positions: int,
        dropout: float,
        positions: str,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.word = nn.Embedding(vocabulary_size, hidden_size)
        self.position = position_table(positions, max_positions, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.scale = scale

    def forward(self, input_ids_BL: Tensor, positions_BL: Tensor) -> Tensor:
        """[B, L] and [B, L] to [B, L, D]"""
        x_BLD = self.word(input_ids_BL) * self.scale
        if self.position is not None:
            x_BLD = x_BLD + self.position(positions_BL)
        result: Tensor = self.dropout(x_BLD)
        return result


class Widening(nn.Linear):
    """From word embeddings of size E to the hidden size: the second factor of a table (Lan et al. 2020, 3.1)."""

    def __init__(self, embedding_size: int, hidden_size: int) -> None:
        super().__init__(embedding_size, hidden_size, bias=False)


class Embeddings(nn.Module):
    """Word, position and segment embeddings, added up, normalised and dropped out, as in BERT.

    ``positions``: ``learned``, ``sinusoidal``, or ``rotary``, which adds nothing here. Where ``embedding_size`` is not
    the hidden size, the table of words is factorised: one of that width, and :class:`Widening`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        hidden_size: int,
        max_positions: int,
        type_vocabulary_size: int,
        dropout: float,
        positions: str,
        pad_id: int,
        embedding_size: int,
    ) -> None:
        super().__init__()
        self.word = nn.Embedding(vocabulary_size, embedding_size, padding_idx=pad_id)
        factorised = embedding_size != hidden_size
        self.widen = Widening(embedding_size, hidden_size) if factorised else nn.Identity()
        self.segment = nn.Embedding(type_vocabulary_size, hidden_size)
        self.position = position_table(positions, max_positions, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input_ids_BL: Tensor, token_type_ids_BL: Tensor, positions_L: Tensor) -> Tensor:
        """[B, L], [B, L] and [L] to [B, L, D]"""
        x_BLD = self.widen(self.word(input_ids_BL))
        if self.position is not None:
            x_BLD = x_BLD + self.position(positions_L)
        x_BLD = x_BLD + self.segment(token_type_ids_BL)
        result: Tensor = self.dropout(self.norm(x_BLD))
        return result
