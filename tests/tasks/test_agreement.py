"""How far two models give the same answers, for each kind of answer."""

import numpy as np
import pytest

from distill import tasks

TAGGER = tasks.build("token-classification", ("B-X", "I-X", "O"))
CLASSIFIER = tasks.build("text-classification", ("a", "b", "c"))
SETS = tasks.build("multi-label-classification", ("a", "b", "c"))
NUMBERS = tasks.build("regression", ())
SPANS = tasks.build("question-answering", ())


def test_texts_of_labels_and_words_of_tags_are_counted() -> None:
    assert CLASSIFIER.agreement([0, 1, 2, 1], [0, 1, 1, 1]) == 0.75
    assert TAGGER.agreement([["O", "B-X", "O"], ["O"]], [["O", "O", "O"], ["B-X"]]) == 0.5
    assert TAGGER.agreement([["O"], []], [["O"], []]) == 1.0


def test_sets_of_labels_and_spans_agree_as_a_whole() -> None:
    assert SETS.agreement([np.array([1, 0, 1]), np.zeros(3)], [np.array([1, 0, 0]), np.zeros(3)]) == 0.5
    assert SPANS.agreement(["the cat", "a dog"], ["the cat", "dog"]) == 0.5


def test_numbers_agree_as_far_as_they_are_correlated() -> None:
    one, other = [0.0, 1.0, 2.0, 4.0], [1.0, 3.0, 4.0, 9.0]
    assert NUMBERS.agreement(one, other) == pytest.approx(np.corrcoef(one, other)[0, 1])
    assert NUMBERS.agreement(one, [-x for x in one]) == 0.0


def test_what_cannot_be_compared_is_refused() -> None:
    for task, one, other in ((CLASSIFIER, [0, 1], [0]), (TAGGER, [["O", "O"]], [["O"]]), (SPANS, ["a"], [])):
        with pytest.raises(ValueError, match=r"zip\(\)"):
            task.agreement(one, other)
    for task, nothing in ((CLASSIFIER, []), (TAGGER, [[]]), (SPANS, [])):
        with pytest.raises(ValueError, match="no answers"):
            task.agreement(nothing, nothing)
