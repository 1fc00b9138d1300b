"""Texts longer than the maximum, read in windows: nothing is lost, and each word stands where its pieces are."""

import re

import numpy as np
import pytest
from tokenizers import Tokenizer

from distill.errors import UserError
from distill.text import Encoded, Example, Reading, rows_of, train_tokenizer

WORDS = ["unbelievable", "cat", "mat", "naïve", "1990s", "a", "log", "gorgeous"]
PASSAGE = " ".join(f"{WORDS[i % 8]}{'.' if i % 5 == 4 else ''}" for i in range(40))
SPANS = [m.span() for m in re.finditer(r"\w+|[^\w\s]", PASSAGE)]


@pytest.fixture(scope="module", params=["wordpiece", "bpe", "unigram"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return train_tokenizer([Example(PASSAGE), Example("who sat on the mat ?")] * 3, 300, request.param)


def _ids(rows: list[Encoded], stride: int, special: int) -> list[int]:
    """The ids of a text put together again from its windows: ``special`` before and one after, ``stride`` shared."""
    found: list[int] = []
    for i, row in enumerate(rows):
        ids = row.input_ids[special:-1].tolist()
        assert not i or ids[:stride] == found[-stride:]
        found += ids[stride if i else 0 :]
    return found


@pytest.mark.parametrize("stride", [0, 3])
def test_windows_of_a_text_are_the_whole_text(tokenizer: Tokenizer, stride: int) -> None:
    reading = Reading(tokenizer, 16)
    (encoded,) = reading.encode([Example(PASSAGE)], stride)
    rows = rows_of([encoded])
    assert encoded.windows == len(rows) > 3
    assert max(len(row.input_ids) for row in rows) == 16
    assert not any(row.truncated for row in rows)
    whole = Reading(tokenizer, 1000).encode([Example(PASSAGE)])[0].input_ids
    if stride:
        assert _ids(rows, stride, 1) == whole[1:-1].tolist()
    else:
        assert np.concatenate([row.input_ids[1:-1] for row in rows]).tolist() == whole[1:-1].tolist()


def test_a_text_that_fits_is_one_window_and_the_same_as_without(tokenizer: Tokenizer) -> None:
    reading = Reading(tokenizer, 400)
    (windowed,), (plain,) = reading.encode([Example(PASSAGE)], 5), reading.encode([Example(PASSAGE)])
    assert windowed.windows == 1
    assert windowed.input_ids.tolist() == plain.input_ids.tolist()


def test_without_a_stride_a_text_is_cut_and_says_so(tokenizer: Tokenizer) -> None:
    (encoded,) = Reading(tokenizer, 16).encode([Example(PASSAGE)])
    assert encoded.truncated
    assert encoded.windows == 1


def test_each_word_is_taken_from_the_window_that_holds_most_of_it(tokenizer: Tokenizer) -> None:
    words = tuple(PASSAGE.split())
    reading = Reading(tokenizer, 20)
    (encoded,) = reading.encode([Example(words)], 6)
    (alone,) = Reading(tokenizer, 1000).encode([Example(words)])
    rows = rows_of([encoded])
    assert len(encoded.word_starts) == len(words)
    for word in range(len(words)):
        row = rows[encoded.word_rows[word]].input_ids
        start, end = encoded.word_starts[word], encoded.word_ends[word]
        whole = alone.input_ids[alone.word_starts[word] : alone.word_ends[word] + 1]
        assert row[start] == whole[0] or len(whole) > 6  # a word longer than the overlap may be cut everywhere
        if len(whole) <= 6:
            assert row[start : end + 1].tolist() == whole.tolist()


def test_words_of_a_passage_stand_where_their_characters_are(tokenizer: Tokenizer) -> None:
    reading = Reading(tokenizer, 28)
    (encoded,) = reading.encode_passages([Example("who sat on the mat ?", PASSAGE)], [SPANS], 8)
    rows = rows_of([encoded])
    assert encoded.windows > 2
    assert (encoded.word_starts >= 0).all()
    for word, (first, last) in enumerate(SPANS):
        ids = rows[encoded.word_rows[word]].input_ids[encoded.word_starts[word] : encoded.word_ends[word] + 1]
        text = tokenizer.decode(ids.tolist()).strip()
        expected = PASSAGE[first:last]
        plain = text.replace(" ", "").replace("ï", "i")
        assert expected.replace("ï", "i") in (plain, plain.removeprefix("##")), (expected, text)


def test_a_long_question_leaves_half_of_the_room_to_the_passage(tokenizer: Tokenizer) -> None:
    reading = Reading(tokenizer, 31)
    (encoded,) = reading.encode_passages([Example(PASSAGE, "the cat sat")], [[(0, 3), (4, 7), (8, 11)]], 2)
    assert max(len(row.input_ids) for row in rows_of([encoded])) <= 31
    assert (encoded.word_starts >= 0).all()


def test_an_empty_passage_has_no_words(tokenizer: Tokenizer) -> None:
    (encoded,) = Reading(tokenizer, 31).encode_passages([Example("who ?", "")], [[]], 2)
    assert len(encoded.word_starts) == 0
    assert encoded.windows == 1


def test_windows_that_share_more_than_they_hold_are_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match=r"windows of 16 tokens cannot share 13; give data\.stride below 13"):
        Reading(tokenizer, 16).encode([Example(PASSAGE)], 13)
    with pytest.raises(UserError, match=r"give data\.stride below 6"):
        Reading(tokenizer, 16).encode([Example(PASSAGE, PASSAGE)], 8)
