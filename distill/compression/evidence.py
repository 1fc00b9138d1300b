"""What a model is looked at with, to tell which of its parts matter."""

from dataclasses import dataclass

from distill.training.importance import Taught
from distill.training.problem import Rows


@dataclass(frozen=True)
class Evidence:
    """Real texts, and what answers to them are held against."""

    rows: Rows
    taught: Taught | None = None
    """Terms and a teacher's answers; None where the texts have labels."""
