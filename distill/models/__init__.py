"""Architectures of this project, loading of teachers, building of students."""

from distill.models.loading import (
    LoadedModel,
    load_model,
    load_with_new_head,
    parameter_count,
    save_model,
    vector_size,
)
from distill.models.low_rank import LowRankConfig, LowRankEmbedding, LowRankLinear
from distill.models.narrowing import keep_units
from distill.models.recurrent import (
    RecurrentConfig,
    RecurrentForSequenceClassification,
    RecurrentForTokenClassification,
)
from distill.models.recurrent_decoder import RecurrentDecoderConfig, RecurrentForCausalLM
from distill.models.recurrent_encoder_decoder import RecurrentForSeq2SeqLM, RecurrentSeq2SeqConfig
from distill.models.static import StaticConfig, StaticForSequenceClassification, StaticModel
from distill.models.students import build_recurrent, build_student, build_transformer, student_from_layers
from distill.models.teachers import Teacher, load_teacher, start_at_the_mean
from distill.models.token_vectors import TokenVectors, build_static, frequency_weights, vectors_of_teacher
from distill.models.transformer import (
    DecoderConfig,
    DecoderForCausalLM,
    EncoderConfig,
    EncoderForMaskedLM,
    EncoderForQuestionAnswering,
    EncoderForSequenceClassification,
    EncoderForTokenClassification,
    EncoderModel,
    TransformerForSeq2SeqLM,
    TransformerSeq2SeqConfig,
)
from distill.models.width import keep_width

__all__ = [
    "DecoderConfig",
    "DecoderForCausalLM",
    "EncoderConfig",
    "EncoderForMaskedLM",
    "EncoderForQuestionAnswering",
    "EncoderForSequenceClassification",
    "EncoderForTokenClassification",
    "EncoderModel",
    "LoadedModel",
    "LowRankConfig",
    "LowRankEmbedding",
    "LowRankLinear",
    "RecurrentConfig",
    "RecurrentDecoderConfig",
    "RecurrentForCausalLM",
    "RecurrentForSeq2SeqLM",
    "RecurrentForSequenceClassification",
    "RecurrentForTokenClassification",
    "RecurrentSeq2SeqConfig",
    "StaticConfig",
    "StaticForSequenceClassification",
    "StaticModel",
    "Teacher",
    "TokenVectors",
    "TransformerForSeq2SeqLM",
    "TransformerSeq2SeqConfig",
    "build_recurrent",
    "build_static",
    "build_student",
    "build_transformer",
    "frequency_weights",
    "keep_units",
    "keep_width",
    "load_model",
    "load_teacher",
    "load_with_new_head",
    "parameter_count",
    "save_model",
    "start_at_the_mean",
    "student_from_layers",
    "vector_size",
    "vectors_of_teacher",
]
