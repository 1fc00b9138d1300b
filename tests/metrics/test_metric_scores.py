"""Scores against scikit-learn and against counts by hand."""

import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from distill.evaluation import score_over_seeds
from distill.metrics import Metric, accuracy, entities, entity_f1, macro_f1, token_accuracy


def random_answers(classes: int, n: int, seed: int) -> tuple[list[int], list[int]]:
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, classes, n)
    predictions = np.where(rng.random(n) < 0.6, gold, rng.integers(0, classes, n))
    return predictions.tolist(), gold.tolist()


@pytest.mark.parametrize(("classes", "n", "seed"), [(2, 50, 0), (5, 200, 1), (20, 30, 2), (3, 1, 3), (5_000, 900, 4)])
def test_classification_scores_are_those_of_sklearn(classes: int, n: int, seed: int) -> None:
    predictions, gold = random_answers(classes, n, seed)
    assert accuracy.score(predictions, gold) == pytest.approx(accuracy_score(gold, predictions))
    assert macro_f1(classes).score(predictions, gold) == pytest.approx(f1_score(gold, predictions, average="macro"))


def test_macro_f1_leaves_out_a_class_that_is_nowhere_but_not_one_that_is_only_predicted() -> None:
    gold, predictions = [0, 0, 1, 1], [0, 1, 1, 2]
    by_hand = [2 * 1 / (2 + 0 + 1), 2 * 1 / (2 + 1 + 1), 0.0]  # classes 0, 1, 2; class 3 is nowhere
    assert macro_f1(4).score(predictions, gold) == pytest.approx(np.mean(by_hand))
    zeros = f1_score(gold, predictions, average="macro", labels=range(4), zero_division=0)
    assert zeros == pytest.approx(np.sum(by_hand) / 4)


def test_macro_f1_of_thousands_of_classes_takes_little_memory_and_says_the_same() -> None:
    predictions, gold = random_answers(200, 2_000, 0)
    few, many = macro_f1(200), macro_f1(20_000)
    tracemalloc.start()
    statistics = many.statistics(predictions, gold)
    found = score_over_seeds(many, statistics[None])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000  # one-hot rows: 960 MB
    expected = score_over_seeds(few, few.statistics(predictions, gold)[None])
    assert found.value == pytest.approx(expected.value)
    assert (found.low, found.high) == pytest.approx(
        (expected.low, expected.high), abs=0.004
    )  # in 200 parts, not singly
    assert many.score([0, 1], [1, 0]) == 0.0
    with pytest.raises(ValueError, match="class index 20000"):
        many.score([20_000], [1])


@pytest.mark.parametrize("metric", [accuracy, macro_f1(5)], ids=lambda m: m.name)
def test_additive_metrics_reduce_sums_and_repeated_rows_alike(metric: Metric) -> None:
    statistics = metric.statistics(*random_answers(5, 40, 0))
    assert metric.additive
    assert metric.reduce(statistics.sum(axis=0)[None]) == metric.reduce(statistics)
    weights = np.random.default_rng(1).integers(0, 4, 40)
    assert metric.reduce((weights @ statistics)[None]) == pytest.approx(
        metric.reduce(np.repeat(statistics, weights, axis=0))
    )


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("O O", []),
        ("B-PER I-PER O B-LOC", [("PER", 0, 1), ("LOC", 3, 3)]),
        ("B-PER B-PER", [("PER", 0, 0), ("PER", 1, 1)]),
        ("I-PER I-PER O I-LOC", [("PER", 0, 1), ("LOC", 3, 3)]),  # I- after O starts
        ("B-PER I-LOC I-LOC", [("PER", 0, 0), ("LOC", 1, 2)]),  # I- after another type starts
        ("I-PER B-PER I-PER", [("PER", 0, 0), ("PER", 1, 2)]),
        ("B-PER I-PER E-PER S-PER I-PER", [("PER", 0, 2), ("PER", 3, 3), ("PER", 4, 4)]),
        ("B-work-of-art I-work-of-art", [("work-of-art", 0, 1)]),
        ("", []),
    ],
)
def test_entities_are_those_conlleval_counts(tags: str, found: list[tuple[str, int, int]]) -> None:
    assert entities(tags.split()) == found


def test_entity_f1_on_the_example_of_seqevals_readme() -> None:
    # its documentation gives 0.50: PER right, MISC of three tokens found as one of four
    gold = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    predictions = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    assert entity_f1.statistics(predictions, gold).tolist() == [[0, 1, 1], [1, 1, 1]]
    assert entity_f1.score(predictions, gold) == 0.5


def test_entity_f1_asks_for_type_and_both_ends_and_is_micro() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["B-ORG", "O", "O"], ["O", "O"]]
    predictions = [["B-PER", "I-PER", "O", "B-ORG"], ["B-ORG", "I-ORG", "O"], ["O", "B-LOC"]]
    assert entity_f1.statistics(predictions, gold).tolist() == [[1, 2, 2], [0, 1, 1], [0, 1, 0]]
    precision, recall = 1 / 4, 1 / 3
    assert entity_f1.score(predictions, gold) == pytest.approx(2 * precision * recall / (precision + recall))


def test_an_entity_does_not_run_on_into_the_next_sentence() -> None:
    tags = [["O", "B-PER"], ["I-PER", "O"]]
    assert entity_f1.statistics(tags, tags).tolist() == [[1, 1, 1], [1, 1, 1]]


def test_entity_f1_without_any_entity_is_zero_as_in_seqeval() -> None:
    assert entity_f1.score([["O", "O"]], [["O", "O"]]) == 0.0


def test_token_accuracy_weighs_tokens_not_sentences() -> None:
    gold = [["DET", "NOUN", "VERB"], ["NOUN"], []]
    predictions = [["DET", "VERB", "VERB"], ["NOUN"], []]
    assert token_accuracy.statistics(predictions, gold).tolist() == [[2, 3], [1, 1], [0, 0]]
    assert token_accuracy.score(predictions, gold) == 0.75


@pytest.mark.parametrize(
    ("predictions", "gold", "message"),
    [
        ([0, 1], [0], "expected 1 class indices"),
        ([0, float("nan")], [0, 1], "integer"),
        ([0, 1], [0, -100], "no class index"),
        ([], [], "at least one"),
    ],
)
def test_accuracy_refuses_what_are_no_class_indices(predictions: list[int], gold: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        accuracy.score(predictions, gold)


def test_macro_f1_refuses_classes_it_does_not_have() -> None:
    with pytest.raises(ValueError, match="class index 3"):
        macro_f1(3).score([0, 3], [0, 1])
    with pytest.raises(ValueError, match="at least 2"):
        macro_f1(1)


def test_token_metrics_refuse_other_tags_and_other_lengths() -> None:
    with pytest.raises(ValueError, match="'NOUN' is no entity tag"):
        entity_f1.score([["NOUN"]], [["O"]])
    with pytest.raises(ValueError, match="sentence 1: 1 predicted tags for 2"):
        token_accuracy.score([["O"], ["O"]], [["O"], ["O", "O"]])
    with pytest.raises(ValueError, match="2 predicted sentences for 1"):
        entity_f1.score([["O"], ["O"]], [["O"]])


def test_a_score_that_is_nan_is_refused() -> None:
    broken = Metric("broken", "broken", accuracy.statistics, lambda statistics: float("nan"))
    with pytest.raises(ValueError, match="broken is nan"):
        broken.score([0], [0])
