"""Answers to questions against SQuAD's own way of counting, transcribed here, and by hand."""

import re
import string
from collections import Counter

import numpy as np
import pytest

from distill.metrics import Metric, span_exact_match, span_f1


def official_normalized(answer: str) -> str:
    """evaluate-v1.1.py, step by step."""
    lowered = answer.lower()
    unmarked = "".join(c for c in lowered if c not in set(string.punctuation))
    without_articles = re.sub(r"\b(a|an|the)\b", " ", unmarked)
    return " ".join(without_articles.split())


def official_f1(prediction: str, truth: str) -> float:
    predicted, true = official_normalized(prediction).split(), official_normalized(truth).split()
    same = sum((Counter(predicted) & Counter(true)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(predicted), same / len(true)
    return 2 * precision * recall / (precision + recall)


CASES = [
    # prediction, accepted answers, exact match, F1
    ("Denver Broncos", ["Denver Broncos", "the Broncos"], 1, 1.0),
    ("The  denver broncos!", ["Denver Broncos"], 1, 1.0),
    ("Broncos", ["Denver Broncos"], 0, 2 / 3),
    ("a cat and a dog", ["cat", "dog and cat"], 0, 1.0),  # words counted without their order
    ("the the cat cat", ["cat"], 0, 2 / 3),  # a word counts as often as it stands in both
    ("Theatre", ["the atre"], 0, 0.0),  # articles are whole words
    ("U.S.A.", ["USA"], 1, 1.0),  # marks go without a blank
    ("well-known", ["well known"], 0, 0.0),
    ("1990–2000", ["19902000"], 0, 0.0),  # a dash that is not ASCII stays
    ("up–the–down", ["up– –down"], 1, 1.0),  # an article leaves a blank
    ("", ["the"], 1, 0.0),  # nothing is left of either: equal, and no word in common
    ("", ["cat"], 0, 0.0),
    ("blue", ["red", "green"], 0, 0.0),
    ("one two three", ["one", "two three four", "one two"], 0, 0.8),
]


@pytest.mark.parametrize(("prediction", "accepted", "exact", "f1"), CASES)
def test_scores_by_hand(prediction: str, accepted: list[str], exact: int, f1: float) -> None:
    assert span_exact_match.score([prediction], [accepted]) == exact
    assert span_f1.score([prediction], [accepted]) == pytest.approx(f1)


def test_scores_over_many_answers_are_those_of_the_official_script() -> None:
    rng = np.random.default_rng(0)
    vocabulary = [
        "the",
        "The",
        "a",
        "an",
        "cat",
        "Cat.",
        "dog's",
        "dogs",
        "(blue)",
        "42",
        "4,2",
        "naïve",
        "–",
        "!",
        "IN",
    ]

    def answer() -> str:
        return " ".join(rng.choice(vocabulary, size=rng.integers(0, 6)))

    predictions = [answer() for _ in range(400)]
    gold = [[answer() for _ in range(rng.integers(1, 4))] for _ in range(400)]
    exact = [
        max(official_normalized(p) == official_normalized(t) for t in ts)
        for p, ts in zip(predictions, gold, strict=True)
    ]
    f1 = [max(official_f1(p, t) for t in ts) for p, ts in zip(predictions, gold, strict=True)]
    assert 0 < np.mean(exact) < np.mean(f1) < 1
    assert span_exact_match.statistics(predictions, gold)[:, 0].tolist() == exact
    np.testing.assert_allclose(span_f1.statistics(predictions, gold)[:, 0], f1, rtol=1e-12)
    assert span_exact_match.score(predictions, gold) == pytest.approx(np.mean(exact))
    assert span_f1.score(predictions, gold) == pytest.approx(np.mean(f1))


@pytest.mark.parametrize("metric", [span_exact_match, span_f1], ids=lambda m: m.name)
def test_sums_and_repeated_rows_reduce_alike(metric: Metric) -> None:
    statistics = metric.statistics([case[0] for case in CASES], [case[1] for case in CASES])
    assert metric.additive
    assert metric.reduce(statistics.sum(axis=0)[None]) == pytest.approx(metric.reduce(statistics))
    weights = np.arange(len(CASES))
    assert metric.reduce((weights @ statistics)[None]) == pytest.approx(np.average(statistics[:, 0], weights=weights))


@pytest.mark.parametrize("metric", [span_exact_match, span_f1], ids=lambda m: m.name)
@pytest.mark.parametrize(
    ("predictions", "gold", "message"),
    [
        (["a"], [["a"], ["b"]], "1 predicted answers for 2 questions"),
        (["a", "b"], [["a"], []], r"gold of question 1: expected one or more accepted answers in a list, got \[\]"),
        (["a"], ["a"], "gold of question 0: .*got 'a'"),
        ([], [], "at least one"),
    ],
)
def test_gold_that_is_no_list_of_accepted_answers_is_refused(
    metric: Metric, predictions: list[str], gold: list[list[str]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        metric.score(predictions, gold)
