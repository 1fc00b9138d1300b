"""The Transformer, its blocks written once.

To be read in this order: ``positions``, ``blocks``, ``encoder`` (the blocks put together), ``models`` (a head on top);
then what writes: ``stack`` (blocks with a cache), ``decoder``, ``encoder_decoder``.
"""

from distill.models.transformer.blocks import Embeddings, FeedForward, MultiHeadAttention, SwiGLU, TransformerBlock
from distill.models.transformer.decoder import DecoderConfig, DecoderForCausalLM
from distill.models.transformer.encoder import EncoderConfig, TransformerEncoder
from distill.models.transformer.encoder_decoder import TransformerForSeq2SeqLM, TransformerSeq2SeqConfig
from distill.models.transformer.models import (
    EncoderForMaskedLM,
    EncoderForQuestionAnswering,
    EncoderForSequenceClassification,
    EncoderForTokenClassification,
    EncoderModel,
)

__all__ = [
    "DecoderConfig",
    "DecoderForCausalLM",
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
    "TransformerForSeq2SeqLM",
    "TransformerSeq2SeqConfig",
]
