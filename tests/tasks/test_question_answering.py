"""Spans: words and characters, the best span against a search over all of them, windows, and edges."""

import itertools

import numpy as np
import pytest

from distill import tasks
from distill.errors import UserError
from distill.tasks.question_answering import LONGEST, passage_words
from distill.tasks.task import NO_LABEL, softmax
from distill.text import Example, Reading, Span, train_tokenizer

TASK = tasks.build("question-answering", ())
PASSAGE = "In 1990 the cat, aged 7, sat on Mr. Smith's mat (a naïve one)."


def _asked(answer: str, passage: str = PASSAGE) -> Example:
    return Example("who ?", passage, (Span(answer, passage.index(answer)),))


@pytest.mark.parametrize("answer", ["1990", "the cat", "7", "Mr. Smith's mat", "naïve one", "In 1990 the cat, aged 7"])
def test_the_words_of_an_answer_are_its_text(answer: str) -> None:
    example = _asked(answer)
    start, end = TASK.targets(example)
    words = passage_words(PASSAGE)
    assert PASSAGE[words[start][0] : words[end][1]] == answer


def test_an_answer_inside_a_word_is_widened_to_it() -> None:
    start, end = TASK.targets(_asked("199"))
    assert start == end == 1


def test_a_span_behind_what_was_seen_and_a_missing_answer_have_no_target() -> None:
    assert TASK.targets(_asked("naïve"), 5).tolist() == [NO_LABEL, NO_LABEL]
    assert TASK.targets(_asked("the cat"), 3).tolist() == [2, NO_LABEL]
    assert TASK.targets(Example("who ?", PASSAGE)).tolist() == [NO_LABEL, NO_LABEL]


@pytest.mark.parametrize("seed", range(10))
def test_the_answer_is_the_best_of_all_spans(seed: int) -> None:
    words = passage_words(PASSAGE * 4)
    unit = np.random.default_rng(seed).normal(size=(len(words), 2)).astype(np.float32)
    unit[::7] = np.nan
    example = Example("who ?", PASSAGE * 4)
    spans = [
        (unit[i, 0] + unit[j, 1], i, j)
        for i, j in itertools.product(range(len(words)), repeat=2)
        if i <= j < i + LONGEST and not np.isnan(unit[[i, j]]).any()
    ]
    _, i, j = max(spans)
    (answer,) = TASK.answers([unit], [example])
    shown = answer.as_dict()
    assert shown["answer"] == (PASSAGE * 4)[words[i][0] : words[j][1]]
    assert shown["start"] == words[i][0]
    known = np.nan_to_num(unit, nan=-1e9)
    assert shown["probability"] == pytest.approx(softmax(known[:, 0])[i] * softmax(known[:, 1])[j])


def test_nothing_is_answered_from_an_empty_passage() -> None:
    (answer,) = TASK.answers([np.zeros((0, 2), dtype=np.float32)], [Example("who ?", "")])
    assert answer.as_dict() == {"answer": "", "start": 0, "probability": 0.0}


def test_each_word_is_read_at_its_first_and_last_piece_of_its_window() -> None:
    reading = Reading(train_tokenizer([Example(PASSAGE), Example("who ?")] * 3, 120), 24)
    task = tasks.build("question-answering", (), windows=tasks.Windows(4))
    examples = [Example("who ?", PASSAGE), Example("who ?", "the cat"), Example("who ?", "")]
    encoded = task.encode(reading, examples)
    rows = sum(e.windows for e in encoded)
    logits = np.arange(rows * 24 * 2, dtype=np.float32).reshape(rows, 24, 2)
    units = task.units(logits, encoded)
    assert [len(u) for u in units] == [len(passage_words(str(e.pair))) for e in examples]
    first = encoded[0]
    assert first.windows > 1
    for word, (start, end) in enumerate(units[0]):
        assert start == logits[first.word_rows[word], first.word_starts[word], 0]
        assert end == logits[first.word_rows[word], first.word_ends[word], 1]
    assert units[1][0, 0] == logits[first.windows, encoded[1].word_starts[0], 0]


def test_windows_share_a_quarter_of_the_maximum_and_the_report_says_so() -> None:
    encoder = Reading(train_tokenizer([Example(PASSAGE), Example("who ?")] * 3, 120), 24)
    example = Example("who ?", PASSAGE)
    shares = {}
    for stride in (5, 6, 7):
        (encoded,) = tasks.build("question-answering", (), windows=tasks.Windows(stride)).encode(encoder, [example])
        shares[stride] = [row.tolist() for row in (encoded.word_rows, encoded.word_starts)]
    assert len({str(places) for places in shares.values()}) == 3
    (encoded,) = TASK.encode(encoder, [example])
    assert [row.tolist() for row in (encoded.word_rows, encoded.word_starts)] == shares[6]
    assert TASK.in_words(True, 24).shared_tokens == 6
    assert TASK.in_words(True, 24).long_texts == "passages"


def test_questions_are_pairs_or_objects() -> None:
    assert TASK.question({"question": "who ?", "context": "me"}) == Example("who ?", "me")
    assert TASK.question(["who ?", "me"]) == Example("who ?", "me")
    for wrong in ("who ?", {"question": "who ?"}, ["a", 1]):
        with pytest.raises(UserError, match="question and passage"):
            TASK.question(wrong)


def test_predictions_are_scored_as_texts() -> None:
    examples = [_asked("the cat")]
    assert TASK.gold(examples) == [["the cat"]]
    assert TASK.metric.score(["cat"], TASK.gold(examples)) == 1.0  # the official script leaves articles out
    assert TASK.constant(TASK.gold(examples)) == [""]
