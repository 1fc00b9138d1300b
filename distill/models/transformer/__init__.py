"""The Transformer, its blocks written once."""

from distill.models.transformer.blocks import Embeddings, FeedForward, MultiHeadAttention, TransformerBlock
from distill.models.transformer.encoder import (
    EncoderConfig,
    EncoderForSequenceClassification,
    EncoderForTokenClassification,
    TransformerEncoder,
)

__all__ = [
    "Embeddings",
    "EncoderConfig",
    "EncoderForSequenceClassification",
    "EncoderForTokenClassification",
    "FeedForward",
    "MultiHeadAttention",
    "TransformerBlock",
    "TransformerEncoder",
]
