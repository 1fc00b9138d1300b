"""Examples and their way from text to ids: the one place for it, in training and in inference."""

from distill.text.encoding import Encoded, Encoder, pad
from distill.text.example import Example
from distill.text.vocabulary import TrimmedVocabulary, train_tokenizer, trim_vocabulary

__all__ = ["Encoded", "Encoder", "Example", "TrimmedVocabulary", "pad", "train_tokenizer", "trim_vocabulary"]
