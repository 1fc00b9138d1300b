"""One row of data."""

import hashlib
import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """A text (or a pair of texts, or the words of a sentence) with its label, where it has one."""

    text: str | tuple[str, ...]
    """A text; for token-level tasks, its words."""
    pair: str | None = None
    """The second text of a pair."""
    label: str | tuple[str, ...] | None = None
    """A label's name; for token-level tasks one tag a word; None where the row is not labelled."""
    group: str | None = None
    """Rows of one group stand on the same side of a split."""

    @property
    def key(self) -> bytes:
        """16 bytes that tell texts apart by content: same text and pair, same key. The label is not part of it."""
        return hashlib.blake2b(json.dumps([self.text, self.pair]).encode(), digest_size=16).digest()
