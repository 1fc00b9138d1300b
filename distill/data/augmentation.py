"""Texts made of others, without a network: transfer texts, which the teacher labels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np

from distill.config.steps import AugmentConfig, AugmentStep, MaskedLmStep, MaskStep, NgramStep, SpliceStep, WordStep
from distill.data.variants import content_of
from distill.data.word_methods import Blank, Word, Words, fill_blanks, mask_words, replace_words, sample_ngram, splice
from distill.text.example import Example, Label

Likely = Callable[[Sequence[Blank], int], Sequence[Sequence[str]]]
"""For each blank so many other words, those that are likeliest in it; none where nothing is said of it."""


@dataclass(frozen=True)
class Given:
    """What the methods need beside the texts."""

    mask: str | None = None
    """The teacher's mask token; None where a tokenizer that reads the texts has none: masked words are left out."""
    near: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """For a word those that are near it, the nearest first."""
    likely: Likely | None = None
    """Which words are likely in a blank."""
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

    def with_side(self, side: int, words: Words, by: str) -> "Draft":
        """With other words on one side, if they are others."""
        if words == self.sides[side]:
            return self
        return replace(self, sides=(*self.sides[:side], words, *self.sides[side + 1 :]), by=(*self.by, by))

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
    now = drafts * config.factor
    for of_model, some in groupby(config.steps, lambda step: isinstance(step, MaskedLmStep)):
        steps = list(some)
        if of_model:  # which is asked about all texts at once
            for step in steps:
                now = filled(now, step, given, generator)
        else:
            now = [changed_by(draft, steps, drafts, given, generator) for draft in now]
    seen = {content_of(example) for example in examples}
    made: list[Made] = []
    for draft in now:
        example = draft.example()
        content = content_of(example)
        if content not in seen:
            seen.add(content)
            made.append(Made(example, " and ".join(draft.by)))
    return made, len(now) - len(made)


def filled(drafts: Sequence[Draft], step: AugmentStep, given: Given, generator: np.random.Generator) -> list[Draft]:
    """After a step that asks a model. Of a pair one side is changed, either as likely, and read without the other."""
    assert isinstance(step, MaskedLmStep)
    assert given.likely is not None
    sides = [int(generator.integers(len(draft.sides))) for draft in drafts]
    texts = [draft.sides[side] for draft, side in zip(drafts, sides, strict=True)]
    likely, count = given.likely, step.candidates
    made = fill_blanks(texts, step.share, lambda blanks: likely(blanks, count), given.mask, generator)
    return [draft.with_side(side, words, step.name) for draft, side, words in zip(drafts, sides, made, strict=True)]


def changed_by(
    draft: Draft,
    steps: Sequence[AugmentStep],
    drafts: Sequence[Draft],
    given: Given,
    generator: np.random.Generator,
) -> Draft:
    """After some steps, one after another."""
    for step in steps:
        draft = changed(draft, step, drafts, given, generator)
    return draft


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
    elif isinstance(step, WordStep):
        made = replace_words(words, step.share, given.near, step.neighbours, generator)
    elif isinstance(step, NgramStep) and generator.random() < step.chance:
        made = sample_ngram(words, step.shortest, step.longest, generator)
    return draft.with_side(side, made, step.name)


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
