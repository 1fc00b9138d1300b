"""Texts made of others, without a network: transfer texts, which the teacher labels.

Each method is a function of words and a numpy Generator. None takes a word apart, so that a tag goes with its word.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from distill.config.schema import AugmentConfig, AugmentStep, MaskStep, NgramStep, SpliceStep
from distill.data.variants import content_of
from distill.text.example import Example, Label

BARE = re.compile(r"(\W*)(\w+)(\W*)")
"""A word without blanks: what stands before it, itself, and what stands behind it."""
BEFORE = "a"
"""Stands before a word that is to be cut into pieces as inside of a text."""
AT_ONCE = 512
"""Words that are compared with all others at a time."""


class Word(NamedTuple):
    """A word and, in tasks that tag words, its tag."""

    text: str
    tag: str | None = None


Words = tuple[Word, ...]


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
    count = min(max(1, round(share * len(words))), len(bare))
    made = list(words)
    for i in generator.choice(list(bare), count, replace=False).tolist() if count else ():
        before, word, behind = bare[i].groups()
        candidates = near[word][:neighbours]
        made[i] = made[i]._replace(text=f"{before}{candidates[int(generator.integers(len(candidates)))]}{behind}")
    return tuple(made)


def near_words(
    tokenizer: Tokenizer, embeddings: NDArray[np.float32], words: Collection[str], neighbours: int
) -> dict[str, tuple[str, ...]]:
    """For each of the ``words`` that is a single piece, the words nearest to it by the cosine of their ``embeddings``
    [V, D], the nearest first. Candidates are all pieces of the vocabulary that are whole words of letters."""
    written = tokenizer.decode_batch([[i] for i in range(min(len(embeddings), tokenizer.get_vocab_size()))])
    known = {i: text.strip() for i, text in enumerate(written) if text.strip().isalpha()}
    pieces = single_pieces(tokenizer, sorted(set(known.values())))
    whole = np.array([i for i, word in known.items() if pieces.get(word) == i], dtype=np.int64)
    column = {i: at for at, i in enumerate(whole.tolist())}
    asked = {word: i for word, i in single_pieces(tokenizer, sorted(words)).items() if i in column}
    count = min(neighbours, len(whole) - 1)
    if count < 1:
        return {}
    directions = embeddings[whole] / np.maximum(np.linalg.norm(embeddings[whole], axis=1, keepdims=True), 1e-12)
    rows = sorted({column[i] for i in asked.values()})
    near: dict[int, tuple[str, ...]] = {}
    for start in range(0, len(rows), AT_ONCE):
        part = rows[start : start + AT_ONCE]
        cosines = directions[part] @ directions.T
        cosines[np.arange(len(part)), part] = -np.inf
        best = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        order = np.take_along_axis(best, np.argsort(-np.take_along_axis(cosines, best, axis=1), axis=1), axis=1)
        near |= {row: tuple(known[int(whole[at])] for at in own) for row, own in zip(part, order, strict=True)}
    return {word: near[column[i]] for word, i in asked.items()}


def single_pieces(tokenizer: Tokenizer, words: Sequence[str]) -> dict[str, int]:
    """The id of each word that is one piece where it stands inside of a text."""
    found = {}
    encodings = tokenizer.encode_batch([f"{BEFORE} {word}" for word in words], add_special_tokens=False)
    for word, encoding in zip(words, encodings, strict=True):
        own = [i for i, (_, end) in zip(encoding.ids, encoding.offsets, strict=True) if end > len(BEFORE)]
        if len(own) == 1:
            found[word] = own[0]
    return found


@dataclass(frozen=True)
class Given:
    """What the methods need beside the texts."""

    mask: str | None = None
    """The teacher's mask token."""
    near: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """For a word those that are near it, the nearest first."""
    second_stays: bool = False
    """Of a pair the first text alone is changed: what is answered stands in the second."""


@dataclass(frozen=True)
class Draft:
    """A text in the making."""

    sides: tuple[Words, ...]
    """What may be changed: a text, or the two of a pair."""
    tagged: bool
    label: Label | None
    """Of the whole text; words have tags of their own."""
    second: str | None = None
    """The second text of a pair, where it stays as it is."""
    by: tuple[str, ...] = ()
    """The methods that changed it."""

    @classmethod
    def of(cls, example: Example, second_stays: bool) -> "Draft":
        """A text as it is."""
        if isinstance(example.text, tuple):
            tags: Any = example.label or (None,) * len(example.text)
            return cls((tuple(map(Word, example.text, tags)),), True, None)
        texts = [example.text] if example.pair is None or second_stays else [example.text, example.pair]
        sides = tuple(tuple(map(Word, text.split())) for text in texts)
        return cls(sides, False, example.label, example.pair if second_stays else None)

    def example(self) -> Example:
        """As a row of data."""
        if self.tagged:
            tags = tuple(word.tag for word in self.sides[0] if word.tag is not None)
            whole = len(tags) == len(self.sides[0])
            return Example(tuple(word.text for word in self.sides[0]), label=tags if whole else None)
        first, *second = (" ".join(word.text for word in side) for side in self.sides)
        return Example(first, second[0] if second else self.second, self.label)


@dataclass(frozen=True)
class Made:
    """A text that was made."""

    example: Example
    """With the label of the text it was made of, of a splice of the one that gave the longer part."""
    by: str
    """The methods that changed it."""


def make_texts(examples: Sequence[Example], config: AugmentConfig, seed: int, given: Given) -> tuple[list[Made], int]:
    """``config.factor`` texts made of each of the ``examples``, by all steps one after another; and how many of them
    were left out, since they are equal to one of the examples, or made twice (case, blanks and the order of a pair
    aside). The same at every run with the same seed."""
    generator = np.random.default_rng(seed)
    drafts = [Draft.of(example, given.second_stays) for example in examples]
    seen = {content_of(example) for example in examples}
    made: list[Made] = []
    for _round in range(config.factor):
        for draft in drafts:
            for step in config.steps:
                draft = changed(draft, step, drafts, given, generator)
            example = draft.example()
            content = content_of(example)
            if content not in seen:
                seen.add(content)
                made.append(Made(example, " and ".join(draft.by)))
    return made, config.factor * len(examples) - len(made)


def changed(
    draft: Draft, step: AugmentStep, drafts: Sequence[Draft], given: Given, generator: np.random.Generator
) -> Draft:
    """After one step. Of a pair one side is changed, either as likely; the two sides of a splice come from the same two
    pairs, cut at the same place."""
    if isinstance(step, SpliceStep):
        return spliced(draft, drafts[int(generator.integers(len(drafts)))], generator)
    side = int(generator.integers(len(draft.sides)))
    words = made = draft.sides[side]
    if isinstance(step, MaskStep):
        made = mask_words(words, step.share, given.mask, generator)
    elif not isinstance(step, NgramStep):
        made = replace_words(words, step.share, given.near, step.neighbours, generator)
    elif generator.random() < step.chance:
        made = sample_ngram(words, step.shortest, step.longest, generator)
    if made == words:
        return draft
    sides = (*draft.sides[:side], made, *draft.sides[side + 1 :])
    return replace(draft, sides=sides, by=(*draft.by, step.name))


def spliced(draft: Draft, other: Draft, generator: np.random.Generator) -> Draft:
    """The beginning of one and the end of the other, with the label of the longer part; as it was where a side of
    either has a single word."""
    if any(len(side) < 2 for side in (*draft.sides, *other.sides)):
        return draft
    place = generator.random()
    parts = [splice(first, second, place) for first, second in zip(draft.sides, other.sides, strict=True)]
    begins, ends = (sum(len(part[i]) for part in parts) for i in (0, 1))
    label = draft.label if begins >= ends else other.label
    return replace(draft, sides=tuple((*a, *b) for a, b in parts), label=label, by=(*draft.by, "splice"))
