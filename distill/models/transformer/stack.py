"""Blocks one upon the other, read with a cache or without, and what a sequence that is written sees of itself.

Shape suffixes: B batch, L length, P length of what was read before, S = P + L, D hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.utils import ModelOutput

from distill.errors import UserError
from distill.models.transformer.blocks import KeysValues, Passed, Source, TransformerBlock, final_normalisation
from distill.models.transformer.positions import rotary_table


@dataclass
class StackOutput(ModelOutput):  # type: ignore[misc]
    """What the blocks give; what was not asked for is None."""

    last_hidden_state: Tensor | None = None
    """[B, L, D]"""
    state: tuple[Tensor, ...] | None = None
    """Keys and values of each block in turn, [B, H, S, K] each."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor | None, ...] | None = None
    cross_attentions: tuple[Tensor | None, ...] | None = None


class TransformerStack(nn.Module):
    """Blocks, and the normalisation after them.

    Raises UserError for heads that do not divide the hidden size, or of an odd size with rotary positions.
    """

    def __init__(self, config: PretrainedConfig, layers: int, cross: bool = False) -> None:
        super().__init__()
        size, heads = config.hidden_size, config.num_attention_heads
        self.rotary = config.positions == "rotary"
        if size % heads or (self.rotary and size // heads % 2):
            raise UserError(
                f"hidden_size is {size} and num_attention_heads {heads}; hidden_size must be a multiple of the heads, "
                "with rotary positions an even one"
            )
        self.heads, self.head_size = heads, size // heads
        sizes = (size, heads, config.intermediate_size, config.dropout, config.norm, config.activation)
        self.blocks = nn.ModuleList(TransformerBlock(*sizes, cross=cross) for _ in range(layers))
        self.final_norm = final_normalisation(config.norm, size)

    def forward(
        self,
        x_BLD: Tensor,
        mask_BHLS: Tensor,
        positions_BL: Tensor,
        state: tuple[Tensor, ...] | None = None,
        sources: Sequence[Source] | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> StackOutput:
        """[B, L, D] to ``last_hidden_state`` [B, L, D], after ``state`` has been read.

        ``hidden_states``, when asked for, are what came in and what each block gives, before the final normalisation.
        """
        rotation = rotary_table(positions_BL[:, None], self.head_size) if self.rotary else None
        pasts: Sequence[KeysValues | None] = pairs(state) if state is not None else [None] * len(self.blocks)
        states: list[Tensor] = [x_BLD]
        passed: list[Passed] = []
        block: Any
        for i, block in enumerate(self.blocks):
            source = None if sources is None else sources[i]
            passed.append(block.read(states[-1], mask_BHLS, rotation, pasts[i], source, output_attentions))
            states.append(passed[-1].x_BLD)
        return StackOutput(
            last_hidden_state=self.final_norm(states[-1]),
            state=tuple(tensor for p in passed for tensor in p.keys_values),
            hidden_states=tuple(states) if output_hidden_states else None,
            attentions=tuple(p.weights_BHLS for p in passed) if output_attentions else None,
            cross_attentions=tuple(p.cross_weights_BHLS for p in passed) if output_attentions and sources else None,
        )

    def empty_state(self, batch: int) -> tuple[Tensor, ...]:
        """The state before anything was read, [B, H, 0, K] each."""
        weight = next(self.parameters())
        return tuple(weight.new_zeros(batch, self.heads, 0, self.head_size) for _ in range(2 * len(self.blocks)))


def pairs(tensors: tuple[Tensor, ...]) -> list[KeysValues]:
    """Keys and values of each block, from all in a row."""
    return list(zip(tensors[::2], tensors[1::2], strict=True))


def causal_mask(attention_mask_BS: Tensor, past: int) -> Tensor:
    """[B, S] to [B, 1, S - past, S], True where a token sees another: itself, and real ones before it.

    Padding sees itself too, so that no row of weights is empty: what is computed there is never read, but a NaN would
    spread.
    """
    key_S = torch.arange(attention_mask_BS.shape[1], device=attention_mask_BS.device)
    query_L1 = key_S[past:, None]
    real_B1S = attention_mask_BS.bool()[:, None]
    return (((key_S < query_L1) & real_B1S) | (key_S == query_L1))[:, None]
