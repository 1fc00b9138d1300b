"""Words made of others: each method is a function of words and a numpy Generator.

None takes a word apart, so that a tag goes with its word.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

BARE = re.compile(r"(\W*)(\w+)(\W*)")
"""A word without blanks: what stands before it, itself, and what stands behind it."""


class Word(NamedTuple):
    """A word and, in tasks that tag words, its tag."""

    text: str
    tag: str | None = None


Words = tuple[Word, ...]


class Blank(NamedTuple):
    """A text with one of its words taken out."""

    before: str
    word: str
    behind: str


def mask_words(words: Words, share: float, mask: str | None, generator: np.random.Generator) -> Words:
    """A share of the words, at least one, replaced by the ``mask`` token, or left out where it is None; at least one
    word stays.

    After Tang et al. (2019, "Distilling task-specific knowledge from BERT into simple neural networks"), who draw for
    each word by itself. For a student to learn what each word brings: the teacher says how much less sure it is
    without it.
    """
    count = min(max(1, round(share * len(words))), len(words) - 1)
    if count < 1:
        return words
    chosen = set(generator.choice(len(words), count, replace=False).tolist())
    if mask is None:
        return tuple(word for i, word in enumerate(words) if i not in chosen)
    return tuple(word._replace(text=mask) if i in chosen else word for i, word in enumerate(words))


def sample_ngram(words: Words, shortest: int, longest: int, generator: np.random.Generator) -> Words:
    """From ``shortest`` to ``longest`` neighbouring words, as many as there are at most; each number and each place is
    as likely as any other.

    Tang et al. (2019), with 1 to 5 words: what the teacher says of parts. For labels that few words give away, such as
    sentiment; not where the whole text is needed.
    """
    longest = min(longest, len(words))
    count = int(generator.integers(min(shortest, longest), longest + 1))
    first = int(generator.integers(len(words) - count + 1))
    return words[first : first + count]


def splice(first: Words, second: Words, place: float) -> tuple[Words, Words]:
    """The beginning of one text and the end of another, both cut at the same relative ``place`` (0 to 1); neither part
    is empty. Both texts have two words or more.

    Texts that begin as texts of the domain do, and end so; what lies between two labels is there for the teacher to
    say, as in mixup (Zhang et al. 2018), but in words. For many texts out of few.
    """
    cuts = [min(max(1, round(place * len(words))), len(words) - 1) for words in (first, second)]
    return first[: cuts[0]], second[cuts[1] :]


def replace_words(
    words: Words, share: float, near: Mapping[str, Sequence[str]], neighbours: int, generator: np.random.Generator
) -> Words:
    """A share of the words, at least one, replaced by one of the first ``neighbours`` that are ``near``; marks around
    a word stay. Words that nothing is near to stay.

    TinyBERT (Jiao et al. 2020, algorithm 1; there with a share of 0.4 and 15 candidates, from a masked language model
    or GloVe vectors). For words that the task's own texts lack.
    """
    bare = {i: match for i, word in enumerate(words) if (match := BARE.fullmatch(word.text)) and match[2] in near}
    made = list(words)
    for i in drawn(bare, share, len(words), generator):
        made[i] = put_in(made[i], near[bare[i][2]][:neighbours], generator)
    return tuple(made)


def fill_blanks(
    texts: Sequence[Words],
    share: float,
    likely: Callable[[Sequence[Blank]], Sequence[Sequence[str]]],
    mask: str | None,
    generator: np.random.Generator,
) -> list[Words]:
    """A share of the words of each text, at least one, each replaced by one of those that are ``likely`` in its place
    among the other words as they were; marks around a word stay.

    TinyBERT (Jiao et al. 2020, algorithm 1; there with a share of 0.4, drawn for each word by itself, and 15 candidates
    of a masked language model). Words of letters alone are replaced, however many pieces they have, and no ``mask``
    that a step before put in. ``likely`` is asked once, about all blanks that differ. For words that fit the text
    around them, where :func:`replace_words` has those that are like each other anywhere.
    """
    asked: list[dict[int, Blank]] = []
    for words in texts:
        bare = {
            i: match
            for i, word in enumerate(words)
            if word.text != mask and (match := BARE.fullmatch(word.text)) and match[2].isalpha()
        }
        chosen = drawn(bare, share, len(words), generator)
        asked.append({i: blank_at(words, i, bare[i]) for i in chosen})
    blanks = list(dict.fromkeys(blank for own in asked for blank in own.values()))
    found = dict(zip(blanks, likely(blanks), strict=True))
    made = []
    for words, own in zip(texts, asked, strict=True):
        new = list(words)
        for i, blank in own.items():
            if candidates := found[blank]:
                new[i] = put_in(words[i], candidates, generator)
        made.append(tuple(new))
    return made


def drawn(bare: Collection[int], share: float, count: int, generator: np.random.Generator) -> list[int]:
    """Places of a share of ``count`` words, at least one, among those that are ``bare``."""
    some = min(max(1, round(share * count)), len(bare))
    return generator.choice(list(bare), some, replace=False).tolist() if some else []  # type: ignore[no-any-return]


def put_in(word: Word, candidates: Sequence[str], generator: np.random.Generator) -> Word:
    """One of the candidates in the place of a word; its tag and the marks around it stay."""
    match = BARE.fullmatch(word.text)
    assert match is not None
    return word._replace(text=f"{match[1]}{candidates[int(generator.integers(len(candidates)))]}{match[3]}")


def blank_at(words: Words, place: int, match: re.Match[str]) -> Blank:
    """The text without one of its words, whose marks stay."""
    before, behind = (" ".join(word.text for word in part) for part in (words[:place], words[place + 1 :]))
    return Blank(f"{before} {match[1]}".lstrip(), match[2], f"{match[3]} {behind}".rstrip())
