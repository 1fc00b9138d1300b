"""The Transformer as encoder, and its configuration."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.modeling_outputs import BaseModelOutput

from distill.errors import UserError
from distill.models.transformer.blocks import Embeddings, TransformerBlock, final_normalisation
from distill.models.transformer.positions import rotary_table


class EncoderConfig(PretrainedConfig):  # type: ignore[misc]
    """Sizes and kinds of the in-repo encoder.

    ``norm`` is ``pre`` or ``post``, ``positions`` ``learned``, ``sinusoidal`` or ``rotary``, ``activation`` ``gelu``,
    ``relu`` or ``swiglu``. With rotary positions there is no longest text, and ``max_position_embeddings`` is what the
    model was trained for.

    ``pairs`` are read ``together`` in one row, or ``apart``, each text by itself, with ``pair_opening`` tokens before
    both (see :func:`distill.models.pooling.read_apart`).
    """

    model_type = "distill_encoder"

    def __init__(
        self,
        vocab_size: int = 8000,
        num_hidden_layers: int = 2,
        hidden_size: int = 128,
        num_attention_heads: int = 2,
        intermediate_size: int = 512,
        dropout: float = 0.1,
        norm: str = "pre",
        positions: str = "learned",
        activation: str = "gelu",
        max_position_embeddings: int = 512,
        pairs: str = "together",
        pair_opening: int = 0,
        type_vocab_size: int = 2,
        embedding_size: int = 0,
        initializer_range: float = 0.02,
        pad_token_id: int = 0,
        **rest: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.num_hidden_layers = num_hidden_layers
        self.hidden_size = hidden_size
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.dropout = dropout
        self.norm = norm
        self.positions = positions
        self.activation = activation
        self.max_position_embeddings = max_position_embeddings
        self.pairs = pairs
        self.pair_opening = pair_opening
        self.type_vocab_size = type_vocab_size
        self.embedding_size = embedding_size or hidden_size
        self.initializer_range = initializer_range
        super().__init__(pad_token_id=pad_token_id, **rest)


class TransformerEncoder(nn.Module):
    """Embeddings and blocks; after pre-LN blocks one more normalisation.

    Raises UserError for rotary positions in heads of an odd size.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.head_size = config.hidden_size // config.num_attention_heads
        self.rotary = config.positions == "rotary"
        if self.rotary and self.head_size % 2:
            raise UserError(
                f"hidden_size {config.hidden_size} in {config.num_attention_heads} heads makes {self.head_size} "
                "dimensions a head; rotary positions turn them in pairs, so hidden_size / heads must be even"
            )
        self.embeddings = Embeddings(
            config.vocab_size,
            config.hidden_size,
            config.max_position_embeddings,
            config.type_vocab_size,
            config.dropout,
            config.positions,
            config.pad_token_id,
            config.embedding_size,
        )
        self.blocks = nn.ModuleList(
            TransformerBlock(
                config.hidden_size,
                config.num_attention_heads,
                config.intermediate_size,
                config.dropout,
                config.norm,
                config.activation,
            )
            for _ in range(config.num_hidden_layers)
        )
        self.final_norm = final_normalisation(config.norm, config.hidden_size)

    def forward(
        self,
        input_ids_BL: Tensor,
        attention_mask_BL: Tensor | None = None,
        token_type_ids_BL: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> BaseModelOutput:
        """[B, L] to ``last_hidden_state`` [B, L, D].

        Where no mask is given every token is real, where no segments all are of the first. ``hidden_states``, when
        asked for, are what the embeddings give and then what each block gives, [B, L, D] each: with pre-LN the last of
        them is ``last_hidden_state`` before the final normalisation. ``attentions``, when asked for, are each block's
        weights [B, H, L, L].
        """
        if attention_mask_BL is None:
            attention_mask_BL = torch.ones_like(input_ids_BL)
        if token_type_ids_BL is None:
            token_type_ids_BL = torch.zeros_like(input_ids_BL)
        mask_B11L = attention_mask_BL.bool()[:, None, None, :]
        positions_L = torch.arange(input_ids_BL.shape[1], device=input_ids_BL.device)
        rotation = rotary_table(positions_L, self.head_size) if self.rotary else None

        x_BLD = self.embeddings(input_ids_BL, token_type_ids_BL, positions_L)
        states, weights = [x_BLD], []
        block: Any
        for block in self.blocks:
            if output_attentions:
                x_BLD, _, weights_BHLL, _ = block.read(x_BLD, mask_B11L, rotation, weights=True)
                weights.append(weights_BHLL)
            else:
                x_BLD = block(x_BLD, mask_B11L, rotation)
            if output_hidden_states:
                states.append(x_BLD)
        return BaseModelOutput(
            last_hidden_state=self.final_norm(x_BLD),
            hidden_states=tuple(states) if output_hidden_states else None,
            attentions=tuple(weights) if output_attentions else None,
        )
