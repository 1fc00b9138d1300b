"""BLEU and chrF against sacrebleu's own scores."""

import random

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF

from distill.metrics.translation import bleu, chrf, signature

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "to", "mat", "hill", "house", ".", ",", "5.3", "Größe", "狗"]


def sentences(n: int, seed: int) -> tuple[list[str], list[str]]:
    """(answers, references): some words right, some cut off, some empty."""
    draw = random.Random(seed)
    references = [" ".join(draw.choices(WORDS, k=draw.randint(0, 9))) for _ in range(n)]
    answers = [
        " ".join(w if draw.random() < 0.7 else draw.choice(WORDS) for w in r.split()[: draw.randint(0, 9)])
        for r in references
    ]
    return answers, references


@pytest.mark.parametrize("n", [1, 3, 60])
@pytest.mark.parametrize(("metric", "theirs"), [(bleu, BLEU()), (chrf, CHRF())], ids=["bleu", "chrf"])
def test_scores_are_those_of_sacrebleu(n: int, metric: object, theirs: object) -> None:
    for seed in range(40):
        answers, references = sentences(n, seed)
        expected = theirs.corpus_score(answers, [references]).score / 100  # type: ignore[attr-defined]
        found = float(metric.reduce(metric.statistics(answers, references)))  # type: ignore[attr-defined]
        assert found == pytest.approx(expected, abs=1e-9), seed


@pytest.mark.parametrize("metric", [bleu, chrf], ids=["bleu", "chrf"])
def test_many_sets_of_sentences_at_once(metric: object) -> None:
    statistics = metric.statistics(*sentences(30, 1))  # type: ignore[attr-defined]
    resampled = np.stack([statistics[np.random.default_rng(i).integers(30, size=30)] for i in range(5)])
    together = metric.reduce(resampled)  # type: ignore[attr-defined]
    assert together == pytest.approx([float(metric.reduce(one)) for one in resampled])  # type: ignore[attr-defined]
    assert together == pytest.approx(metric.reduce(resampled.sum(axis=1, keepdims=True)))  # type: ignore[attr-defined]


def test_right_answers_are_right_and_none_are_not() -> None:
    texts = ["the cat sat on the mat .", "a dog ran to the house ."]
    for metric in (bleu, chrf):
        assert metric.score(texts, texts) == pytest.approx(1.0)
        assert metric.score(["", ""], texts) == 0.0


def test_the_signature_says_how_it_was_counted() -> None:
    assert signature("bleu").startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert signature("chrf").startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
