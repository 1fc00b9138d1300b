"""What counts as the same text, and as the same name: case, blanks and the order of a pair aside."""

import unicodedata
from collections.abc import Iterable

from distill.text.example import Example


def normal_form(text: str) -> str:
    """The text in one case, with one blank between words and one way to write each character (NFC)."""
    return " ".join(unicodedata.normalize("NFC", text.casefold()).split())


def pieces_of(example: Example) -> list[str]:
    """Its texts, one or two, as plain strings."""
    text = " ".join(example.text) if isinstance(example.text, tuple) else example.text
    return [text] if example.pair is None else [text, example.pair]


def content_of(example: Example) -> tuple[str, ...]:
    """The normal form of its texts: the same for every variant of them, and for a pair and its mirror image."""
    return tuple(sorted(map(normal_form, pieces_of(example))))


def alike(names: Iterable[str]) -> list[list[str]]:
    """The names that have one normal form with others, together with those."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(normal_form(name), []).append(name)
    return [same for same in found.values() if len(same) > 1]
