"""What every Transformer is made of: attention, feed-forward, the block of both, and the embeddings below.

Shape suffixes: B batch, L length, S length of the sequence attended to (L where a text attends to itself), D hidden
size, H heads, K = D / H, F intermediate size.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from distill.models.transformer.positions import Rotation, SinusoidalPositions, rotate

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": functional.gelu, "relu": functional.relu}
NORM_EPS = 1e-12
"""What layer normalisation adds to the variance; BERT's."""


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
        if source_BSD is None:
            source_BSD = x_BLD
        q_BHLK = self._split(self.query(x_BLD))
        k_BHSK = self._split(self.key(source_BSD))
        v_BHSK = self._split(self.value(source_BSD))
        if rotation is not None:
            q_BHLK, k_BHSK = rotate(q_BHLK, rotation), rotate(k_BHSK, rotation)
        mixed_BHLK = functional.scaled_dot_product_attention(
            q_BHLK, k_BHSK, v_BHSK, attn_mask=mask_BHLS, dropout_p=self.dropout if self.training else 0.0
        )
        result: Tensor = self.output(mixed_BHLK.transpose(1, 2).flatten(2))
        return result

    def _split(self, x_BLD: Tensor) -> Tensor:
        """[B, L, D] to [B, H, L, K]"""
        x_BHLK: Tensor = x_BLD.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # type: ignore[no-untyped-call]
        return x_BHLK


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


class TransformerBlock(nn.Module):
    """Attention and feed-forward, each with a skip connection.

    ``post``: normalised after the addition, as in 2017 and in BERT. ``pre``: the branch is normalised before, the skip
    connection stays untouched (Xiong et al. 2020), which trains without warm-up.
    """

    def __init__(
        self, hidden_size: int, heads: int, intermediate_size: int, dropout: float, norm: str, activation: str
    ) -> None:
        super().__init__()
        self.pre = norm == "pre"
        self.attention = MultiHeadAttention(hidden_size, heads, dropout)
        self.attention_norm = nn.LayerNorm(hidden_size, eps=NORM_EPS)
        self.feed_forward = (
            SwiGLU(hidden_size, intermediate_size)
            if activation == "swiglu"
            else FeedForward(hidden_size, intermediate_size, activation)
        )
        self.feed_forward_norm = nn.LayerNorm(hidden_size, eps=NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor, mask_BHLL: Tensor, rotation: Rotation | None = None) -> Tensor:
        """[B, L, D] to [B, L, D]; mask and rotation as in :class:`MultiHeadAttention`."""
        if self.pre:
            x_BLD = x_BLD + self.dropout(self.attention(self.attention_norm(x_BLD), mask_BHLL, rotation=rotation))
            x_BLD = x_BLD + self.dropout(self.feed_forward(self.feed_forward_norm(x_BLD)))
        else:
            x_BLD = self.attention_norm(x_BLD + self.dropout(self.attention(x_BLD, mask_BHLL, rotation=rotation)))
            x_BLD = self.feed_forward_norm(x_BLD + self.dropout(self.feed_forward(x_BLD)))
        return x_BLD


class Embeddings(nn.Module):
    """Word, position and segment embeddings, added up, normalised and dropped out, as in BERT.

    ``positions``: ``learned``, ``sinusoidal``, or ``rotary``, which adds nothing here.
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
    ) -> None:
        super().__init__()
        self.word = nn.Embedding(vocabulary_size, hidden_size, padding_idx=pad_id)
        self.segment = nn.Embedding(type_vocabulary_size, hidden_size)
        self.position: nn.Embedding | SinusoidalPositions | None = None
        if positions != "rotary":
            table = SinusoidalPositions if positions == "sinusoidal" else nn.Embedding
            self.position = table(max_positions, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, input_ids_BL: Tensor, token_type_ids_BL: Tensor, positions_L: Tensor) -> Tensor:
        """[B, L], [B, L] and [L] to [B, L, D]"""
        x_BLD = self.word(input_ids_BL)
        if self.position is not None:
            x_BLD = x_BLD + self.position(positions_L)
        x_BLD = x_BLD + self.segment(token_type_ids_BL)
        result: Tensor = self.dropout(self.norm(x_BLD))
        return result
