"""Examples and their way from text to ids: the one place for it, in training and in inference."""

from distill.text.encoding import Encoded, Encoder, pad, rows_of, with_leading_blanks
from distill.text.example import Example, Label, Span
from distill.text.training import train_tokenizer
from distill.text.vocabulary import TrimmedVocabulary, trim_vocabulary

__all__ = [
    "Encoded",
    "Encoder",
    "Example",
    "Label",
    "Span",
    "TrimmedVocabulary",
    "pad",
    "rows_of",
    "train_tokenizer",
    "trim_vocabulary",
    "with_leading_blanks",
]
