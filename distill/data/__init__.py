"""Reading rows, splitting them, and the examples of a run."""

from distill.data.dataset import Dataset, Part
from distill.data.examples import in_words, load_examples, load_texts
from distill.data.prepare import load_data
from distill.data.readers import find_split, read_rows

__all__ = ["Dataset", "Part", "find_split", "in_words", "load_data", "load_examples", "load_texts", "read_rows"]
