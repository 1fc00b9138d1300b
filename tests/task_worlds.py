"""A small data set for each task, made of the little world's reviews, with what a recipe must know of it."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from little_world import BAD, GOOD, THINGS, review

Row = dict[str, Any]


def labels_of_a_review(generator: random.Random) -> Row:
    """Any of praise, blame and film, as words say."""
    words = [generator.choice(THINGS), *generator.sample([*GOOD, *BAD], generator.randrange(3)), "number"]
    generator.shuffle(words)
    labels = ["praise"] * any(w in GOOD for w in words) + ["blame"] * any(w in BAD for w in words)
    return {"text": f"{' '.join(words)} {generator.randrange(1000)}", "labels": labels + ["film"] * ("film" in words)}


def mark_of_a_review(generator: random.Random) -> Row:
    """A number: good words less bad ones."""
    good, bad = generator.randrange(4), generator.randrange(4)
    words = [*generator.choices(GOOD, k=good), *generator.choices(BAD, k=bad), generator.choice(THINGS), "film"]
    generator.shuffle(words)
    return {"text": f"{' '.join(words)} {generator.randrange(1000)}", "score": good - bad}


def likeness_of_a_pair(generator: random.Random) -> Row:
    """Two reviews and how many of their words they share, from 0 to 5."""
    shared = generator.randrange(6)
    words = generator.sample([*GOOD, *BAD, *THINGS], 10)
    first, second = words[:5], [*words[:shared], *words[5 : 10 - shared]]
    generator.shuffle(second)
    return {"first": " ".join(first), "second": " ".join(second), "score": shared}


def question_about_a_review(generator: random.Random) -> Row:
    """How is the script? The word behind it in the passage."""
    things, words = generator.sample(THINGS, 3), generator.sample([*GOOD, *BAD], 3)
    passage = " ".join(f"the {thing} is {word} ." for thing, word in zip(things, words, strict=True))
    asked = generator.randrange(3)
    start = passage.index(f" {words[asked]} ") + 1
    answers = {"text": [words[asked]], "answer_start": [start]}
    return {"question": f"how is the {things[asked]} ?", "context": passage, "answers": answers}


def tags_of_a_review(generator: random.Random) -> Row:
    """A tag a word."""
    words = review(generator)[0].split()
    tags = ["B-good" if w in GOOD else "B-bad" if w in BAD else "B-thing" if w in THINGS else "O" for w in words]
    return {"words": words, "tags": tags}


def intent_of_a_review(generator: random.Random) -> Row:
    text, label, _ = review(generator)
    return {"text": text, "label": label}


def story_of_a_film(generator: random.Random) -> Row:
    """Sentences behind one another."""
    things, words = generator.choices(THINGS, k=3), generator.choices([*GOOD, *BAD], k=3)
    return {"text": " ".join(f"the {thing} is {word} ." for thing, word in zip(things, words, strict=True))}


def verdict_of_a_review(generator: random.Random) -> Row:
    """Things and words about them, which trade places."""
    thing, word = generator.choice(THINGS), generator.choice([*GOOD, *BAD])
    number = generator.randrange(1000)
    return {"source": f"a {word} {thing} {number}", "target": f"{number}: {thing}, {word}"}


WORLDS: dict[str, tuple[Callable[[random.Random], Row], list[str]]] = {
    "text-classification": (intent_of_a_review, []),
    "multi-label-classification": (labels_of_a_review, ["data.label=labels"]),
    "regression": (likeness_of_a_pair, ["data.text=first", "data.pair=second", "data.label=score"]),
    "token-classification": (tags_of_a_review, ["data.text=words", "data.label=tags"]),
    "question-answering": (question_about_a_review, ["data.text=question", "data.pair=context", "data.label=answers"]),
    "sentence-embedding": (likeness_of_a_pair, ["data.text=first", "data.pair=second", "data.label=score"]),
    "language-modelling": (story_of_a_film, []),
    "text-to-text": (verdict_of_a_review, ["data.text=source", "data.label=target"]),
}
WRITING = ("language-modelling", "text-to-text")
"""Tasks whose models write, and whose teachers are no encoders."""
ANSWERING = [task for task in WORLDS if task not in WRITING]
"""The others."""
SINGLE = (mark_of_a_review, ["data.label=score"])
"""Regression on one text."""
QUESTIONS: dict[str, list[Any]] = {
    "text-classification": ["a gorgeous film", ""],
    "multi-label-classification": ["a gorgeous but dull film", ""],
    "regression": [["a gorgeous film", "a dull film"], ["", ""]],
    "token-classification": ["a gorgeous film", ["what", "a", "dull", "cast"], ""],
    "question-answering": [
        {"question": "how is the cast ?", "context": "the cast is dull . the film is witty ."},
        {"question": "", "context": ""},
    ],
    "sentence-embedding": ["a gorgeous film", ["a gorgeous film", "a dull film"], ""],
    "language-modelling": ["a gorgeous", ""],
    "text-to-text": ["a gorgeous film", ""],
}


def write_world(folder: Path, task: str, count: int = 300, single: bool = False) -> list[str]:
    """Writes train, validation and test, and gives the overrides that read them."""
    make, columns = SINGLE if single else WORLDS[task]
    generator = random.Random(3)
    seen: dict[str, Row] = {}
    while len(seen) < count:
        row = make(generator)
        seen.setdefault(json.dumps(row), row)
    rows = list(seen.values())
    cuts = {
        "test": rows[: count // 5],
        "validation": rows[count // 5 : 2 * count // 5],
        "train": rows[2 * count // 5 :],
    }
    for split, part in cuts.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    return ["data=files", f"data.train.path={folder}", *columns]
