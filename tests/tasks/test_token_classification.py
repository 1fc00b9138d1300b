"""One tag a word: words without a piece, sentences that were cut, questions, answers and metrics."""

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from distill import tasks
from distill.errors import UserError
from distill.tasks.task import NO_LABEL
from distill.tasks.token_classification import TokenClassification
from distill.text import Encoded, Example, Reading, train_tokenizer

LABELS = ("B-film", "I-film", "O")
WORDS = ("the", "unbelievable", "", "log")


@pytest.fixture
def task() -> tasks.Task:
    return tasks.build("token-classification", LABELS)


@pytest.fixture(scope="module")
def reading() -> Reading:
    tokenizer = train_tokenizer([Example("the log unbeliev able log the"), Example("unbeliev able")] * 3, 60)
    return Reading(tokenizer, 8)


def _batch(reading: Reading) -> tuple[list[Encoded], np.ndarray]:
    encoded = reading.encode([Example(WORDS), Example(("the",)), Example(()), Example(("the",) * 12)])
    logits = np.random.default_rng(0).normal(size=(4, 8, 3)).astype(np.float32)
    return encoded, logits


def test_units_are_the_logits_at_the_first_piece_of_each_word(task: tasks.Task, reading: Reading) -> None:
    encoded, logits = _batch(reading)
    units = task.units(logits, encoded)
    pieces = reading.tokenizer.encode(list(WORDS), is_pretokenized=True).word_ids
    assert [u.shape for u in units] == [(4, 3), (1, 3), (0, 3), (6, 3)]
    for word in (0, 1, 3):
        np.testing.assert_array_equal(units[0][word], logits[0, pieces.index(word)])
    assert np.isnan(units[0][2]).all()
    np.testing.assert_array_equal(units[3], logits[3, 1:7])


def test_units_leave_the_logits_of_the_graph_as_they_are(task: tasks.Task, reading: Reading) -> None:
    encoded, logits = _batch(reading)
    before = logits.copy()
    task.units(logits, encoded)
    np.testing.assert_array_equal(logits, before)


def test_predictions_have_one_tag_a_word_and_o_where_nothing_was_said(task: tasks.Task, reading: Reading) -> None:
    encoded, logits = _batch(reading)
    examples = [Example(WORDS), Example(("the",)), Example(()), Example(("the",) * 12)]
    units = task.units(logits, encoded)
    predictions = task.predictions(units, examples)
    assert [len(tags) for tags in predictions] == [4, 1, 0, 12]
    assert predictions[0][2] == "O"
    assert predictions[3][6:] == ["O"] * 6
    for word in (0, 1, 3):
        assert predictions[0][word] == LABELS[int(units[0][word].argmax())]
    assert predictions[3][:6] == [LABELS[i] for i in logits[3, 1:7].argmax(-1)]


def test_without_an_o_the_first_tag_stands_where_nothing_was_said() -> None:
    task = tasks.build("token-classification", ("noun", "verb"))
    assert task.predictions([np.full((1, 2), np.nan, dtype=np.float32)], [Example(("a", "b"))]) == [["noun", "noun"]]


def test_answers_show_words_tags_and_probabilities_none_where_nothing_was_said(
    task: tasks.Task, reading: Reading
) -> None:
    encoded, logits = _batch(reading)
    examples = [Example(WORDS), Example(("the",)), Example(()), Example(("the",) * 12)]
    units = task.units(logits, encoded)
    answers = [answer.as_dict() for answer in task.answers(units, examples)]
    assert answers[0]["words"] == list(WORDS)
    assert answers[0]["tags"] == task.predictions(units, examples)[0]
    assert answers[0]["probabilities"][2] is None
    expected = softmax(units[0].astype(np.float64), axis=-1).max(-1)
    for word in (0, 1, 3):
        assert answers[0]["probabilities"][word] == pytest.approx(expected[word], rel=1e-12)
    assert answers[2] == {"words": [], "tags": [], "probabilities": []}
    assert answers[3]["probabilities"][6:] == [None] * 6
    assert None not in answers[3]["probabilities"][:6]


def test_targets_are_one_index_a_word_and_the_first_count_of_a_cut_sentence(task: tasks.Task) -> None:
    example = Example(("a", "b", "c"), label=("O", "B-film", "I-film"))
    assert task.targets(example).tolist() == [2, 0, 1]
    assert task.targets(example, 2).tolist() == [2, 0]
    assert task.targets(example, 0).tolist() == []
    assert task.targets(Example(("a", "b", "c"))).tolist() == [NO_LABEL] * 3
    assert task.targets(Example(("a", "b", "c")), 2).tolist() == [NO_LABEL] * 2


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("two  words", ("two", "words")),
        ("a\u00a0b \u00a0\tc\r\n", ("a\u00a0b", "\u00a0", "c")),
        ("", ()),
        (["two words", "one"], ("two words", "one")),
        (("a",), ("a",)),
        ([], ()),
        ({"words": ["a", "b"]}, ("a", "b")),
        ({"words": "a b"}, ("a", "b")),
        ({"tokens": ["a", "b"], "tags": ["O", "O"]}, ("a", "b")),
        ({"text": "a b"}, ("a", "b")),
    ],
)
def test_a_question_is_a_sentence_or_its_words(task: tasks.Task, value: Any, words: tuple[str, ...]) -> None:
    assert task.question(value) == Example(words)


@pytest.mark.parametrize(
    "value", [None, 3, ["a", 1], [["a"]], {}, {"token": ["a"]}, {"tokens": ["a", 1]}, {"words": None}, {"text": 3}]
)
def test_anything_else_is_refused_and_shown(task: tasks.Task, value: Any) -> None:
    with pytest.raises(UserError, match="expected a sentence"):
        task.question(value)


def test_right_words_and_the_majority_tag_are_counted_over_all_sentences(task: tasks.Task) -> None:
    gold = [["O", "O", "B-film"], ["O"], []]
    assert task.counts([["O", "B-film", "B-film"], ["O"], []], gold) == (3, 4)
    assert task.counts(task.constant(gold), gold) == (3, 4)
    assert task.constant([]) == []
    assert task.constant([[]]) == [[]]


def test_gold_is_the_tags(task: tasks.Task) -> None:
    assert task.gold([Example(("a", "b"), label=("O", "B-film")), Example(())]) == [["O", "B-film"], []]


def test_entities_are_scored_where_tags_are_bio_and_words_elsewhere() -> None:
    assert tasks.build("token-classification", LABELS).metric.name == "entity_f1"
    assert [m.name for m in tasks.build("token-classification", ("noun", "verb")).metrics] == ["token_accuracy"]
    task = tasks.build("token-classification", LABELS)
    gold = [["B-film", "I-film", "O", "B-film"]]
    assert task.metric.score([["B-film", "I-film", "O", "O"]], gold) == pytest.approx(2 / 3)  # P 1/1, R 1/2
    with pytest.raises(UserError, match="entity_f1"):
        tasks.build("token-classification", LABELS, "entity_f2")
    with pytest.raises(UserError, match="token_accuracy"):
        tasks.build("token-classification", ("noun", "verb"), "entity_f1")


def test_tags_of_another_scheme_are_refused_before_anything_is_trained() -> None:
    with pytest.raises(UserError, match=r"U-PER.*label_map"):
        TokenClassification(("O", "U-PER", "B-PER", "L-PER"))


def test_tags_without_b_are_entities_too() -> None:
    assert TokenClassification(("O", "I-PER")).metric.name == "entity_f1"
