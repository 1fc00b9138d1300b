"""One row of data."""

import hashlib
import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """An answer that stands in a passage."""

    text: str
    start: int
    """The character of the passage where it starts."""


@dataclass(frozen=True)
class Target:
    """A text that is to be written."""

    text: str


Label = str | float | tuple[str, ...] | tuple[Span, ...] | Target
"""A label's name; a number; the tags of a sentence, one a word, or the set of a text's labels; the accepted answers to
a question; a text that is to be written."""


@dataclass(frozen=True, slots=True)
class Example:
    """A text (or a pair of texts, or the words of a sentence) with its label, where it has one."""

    text: str | tuple[str, ...]
    """A text; for token-level tasks, its words."""
    pair: str | None = None
    """The second text of a pair; the passage of a question."""
    label: Label | None = None
    """None where the row is not labelled."""
    group: str | None = None
    """Rows of one group stand on the same side of a split."""

    @property
    def key(self) -> bytes:
        """16 bytes that tell rows apart by what a model reads of them: same text, pair and target, same key. The target
        is read where its tokens are predicted; any other label is not part of it."""
        target = [self.label.text] if isinstance(self.label, Target) else []
        return hashlib.blake2b(json.dumps([self.text, self.pair, *target]).encode(), digest_size=16).digest()
