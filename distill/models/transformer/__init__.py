"""The Transformer, its blocks written once.

To be read in this order: ``positions``, ``blocks``, ``encoder`` (the blocks put together), ``models`` (a head on top).
"""

from distill.models.transformer.blocks import Embeddings, FeedForward, MultiHeadAttention, SwiGLU, TransformerBlock
from distill.models.transformer.encoder import EncoderConfig, TransformerEncoder
from distill.models.transformer.models import (
    EncoderForMaskedLM,
    EncoderForQuestionAnswering,
    EncoderForSequenceClassification,
    EncoderForTokenClassification,
    EncoderModel,
)

__all__ = [
    "Embeddings",
    "EncoderConfig",
    "EncoderForMaskedLM",
    "EncoderForQuestionAnswering",
    "EncoderForSequenceClassification",
    "EncoderForTokenClassification",
    "EncoderModel",
    "FeedForward",
    "MultiHeadAttention",
    "SwiGLU",
    "TransformerBlock",
    "TransformerEncoder",
]
