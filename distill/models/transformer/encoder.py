"""The Transformer as encoder, as a ``PreTrainedModel`` that transformers' auto classes know."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput, TokenClassifierOutput

from distill.models.transformer.blocks import Embeddings, TransformerBlock


class EncoderConfig(PretrainedConfig):  # type: ignore[misc]
    """Sizes and kinds of the in-repo encoder."""

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
        type_vocab_size: int = 2,
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
        self.type_vocab_size = type_vocab_size
        self.initializer_range = initializer_range
        super().__init__(pad_token_id=pad_token_id, **rest)


class TransformerEncoder(nn.Module):
    """Embeddings and blocks; after pre-LN blocks one more normalisation."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(
            config.vocab_size,
            config.hidden_size,
            config.max_position_embeddings,
            config.type_vocab_size,
            config.dropout,
            config.positions,
            config.pad_token_id,
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
        self.final_norm = nn.LayerNorm(config.hidden_size, eps=1e-12) if config.norm == "pre" else nn.Identity()

    def forward(self, input_ids_BL: Tensor, attention_mask_BL: Tensor, token_type_ids_BL: Tensor | None) -> Tensor:
        """[B, L] to [B, L, D]"""
        if token_type_ids_BL is None:
            token_type_ids_BL = torch.zeros_like(input_ids_BL)
        x_BLD = self.embeddings(input_ids_BL, token_type_ids_BL)
        mask_B11L = attention_mask_BL.bool()[:, None, None, :]
        for block in self.blocks:
            x_BLD = block(x_BLD, mask_B11L)
        result: Tensor = self.final_norm(x_BLD)
        return result


def masked_mean(x_BLD: Tensor, mask_BL: Tensor) -> Tensor:
    """[B, L, D] to [B, D]: the mean over real tokens."""
    weight_BL1 = mask_BL.to(x_BLD.dtype).unsqueeze(-1)
    return (x_BLD * weight_BL1).sum(1) / weight_BL1.sum(1).clamp(min=1.0)


class _EncoderModel(PreTrainedModel):  # type: ignore[misc]
    """What both heads share."""

    config_class = EncoderConfig
    base_model_prefix = "encoder"

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.encoder = TransformerEncoder(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """Word embeddings."""
        return self.encoder.embeddings.word

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Puts other word embeddings in place."""
        self.encoder.embeddings.word = value


class EncoderForSequenceClassification(_EncoderModel):
    """Mean over tokens, then a linear layer."""

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Logits [B, C]"""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        x_BLD = self.encoder(input_ids, attention_mask, token_type_ids)
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(masked_mean(x_BLD, attention_mask))))


class EncoderForTokenClassification(_EncoderModel):
    """A linear layer at each token."""

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        **_: Any,
    ) -> TokenClassifierOutput:
        """Logits [B, L, C]"""
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        x_BLD = self.encoder(input_ids, attention_mask, token_type_ids)
        return TokenClassifierOutput(logits=self.classifier(self.dropout(x_BLD)))


AutoConfig.register(EncoderConfig.model_type, EncoderConfig)
AutoModelForSequenceClassification.register(EncoderConfig, EncoderForSequenceClassification)
AutoModelForTokenClassification.register(EncoderConfig, EncoderForTokenClassification)
