"""Architectures of this project, loading of teachers, building of students."""

from distill.models.loading import LoadedModel, load_model, load_tokenizer, parameter_count, save_model
from distill.models.recurrent import LstmConfig, LstmForSequenceClassification, LstmForTokenClassification
from distill.models.students import build_student, build_transformer
from distill.models.teachers import Teacher, load_teacher
from distill.models.transformer import EncoderConfig, EncoderForSequenceClassification, EncoderForTokenClassification

__all__ = [
    "EncoderConfig",
    "EncoderForSequenceClassification",
    "EncoderForTokenClassification",
    "LoadedModel",
    "LstmConfig",
    "LstmForSequenceClassification",
    "LstmForTokenClassification",
    "Teacher",
    "build_student",
    "build_transformer",
    "load_model",
    "load_teacher",
    "load_tokenizer",
    "parameter_count",
    "save_model",
]
