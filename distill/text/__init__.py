"""Examples and their way from text to ids: the one place for it, in training and in inference."""

from distill.text.decoding import TextStream
from distill.text.encoding import Encoded, in_parts, pad, rows_of
from distill.text.example import Example, Label, Span, Target
from distill.text.reading import Reading, check_known, with_leading_blanks
from distill.text.token_store import TokenStore
from distill.text.training import train_tokenizer
from distill.text.vocabulary import TrimmedVocabulary, trim_vocabulary

__all__ = [
    "Encoded",
    "Example",
    "Label",
    "Reading",
    "Span",
    "Target",
    "TextStream",
    "TokenStore",
    "TrimmedVocabulary",
    "check_known",
    "in_parts",
    "pad",
    "rows_of",
    "train_tokenizer",
    "trim_vocabulary",
    "with_leading_blanks",
]
