"""Language modelling: which tokens are predicted from which, and what is made of it."""

import itertools
import math

import numpy as np
import pytest

from distill.errors import UserError
from distill.metrics import TokenPredictions
from distill.tasks import Windows, build, from_section
from distill.tasks.language_modelling import outcome
from distill.text import Example, Reading, pad, rows_of, train_tokenizer

TEXTS = ["the cat sat on the mat and the dog sat on the log", "a dog", "", "ünïcödé 🙂"]
TOKENIZER = train_tokenizer([Example(text) for text in TEXTS] * 5, 320, "bpe")
EXAMPLES = [Example(text) for text in TEXTS]


def reading(max_length: int = 6) -> Reading:
    return Reading(TOKENIZER, max_length)


@pytest.mark.parametrize("shared", [None, 1, 3])
def test_each_token_of_a_text_is_told_once(shared: int | None) -> None:
    task = build("language-modelling", (), windows=None if shared is None else Windows(shared))
    read = reading()
    encoded = task.encode(read, EXAMPLES)
    ids = pad(rows_of(encoded), read.pad_id)["input_ids"]
    logits = np.random.default_rng(0).normal(size=(*ids.shape, read.vocabulary_size)).astype(np.float32)
    units = task.units(outcome(logits, ids), encoded)
    for text, unit in zip(TEXTS, units, strict=True):
        whole = [*TOKENIZER.encode(text, add_special_tokens=False).ids, read.boundary]
        assert unit[:, 2].tolist() == whole
    assert all(len(row.input_ids) <= 6 for row in rows_of(encoded))


def test_windows_share_what_they_are_asked_to_and_no_more() -> None:
    encoded = build("language-modelling", (), windows=Windows(3)).encode(reading(), EXAMPLES[:1])
    rows = [row.input_ids.tolist() for row in rows_of(encoded)]
    assert all(before[-3:] == after[:3] for before, after in itertools.pairwise(rows))
    assert rows[0][0] == rows[-1][-1] == reading().boundary
    assert len(rows[-1]) > 3


def test_windows_that_share_everything_are_refused() -> None:
    with pytest.raises(UserError, match=r"windows of 6 tokens cannot share 6; give data\.stride from 1 to 5"):
        build("language-modelling", (), windows=Windows(6)).encode(reading(), EXAMPLES)


def test_a_tokenizer_without_an_end_of_text_is_refused() -> None:
    bare = train_tokenizer(EXAMPLES * 5, 320, "bpe").to_str().replace("[SEP]", "[SEQ]")
    read = Reading(TOKENIZER.from_str(bare), 6)
    with pytest.raises(UserError, match="no end-of-text token"):
        build("language-modelling", ()).encode(read, EXAMPLES)


def test_outcome_against_plain_loops() -> None:
    random = np.random.default_rng(1)
    logits, ids = random.normal(size=(2, 4, 7)).astype(np.float32), random.integers(7, size=(2, 4))
    found = outcome(logits, ids)
    for row in range(2):
        for place in range(3):
            p = np.exp(logits[row, place].astype(np.float64))
            expected = math.log(p[ids[row, place + 1]] / p.sum()), p.argmax(), ids[row, place + 1]
            assert found[row, place] == pytest.approx(expected, abs=1e-5)


def test_metrics_are_those_of_the_definitions_and_better_the_higher() -> None:
    task = build("language-modelling", ())
    told = [TokenPredictions(3.0, np.array([1, 2]), 1), TokenPredictions(5.0, np.array([3, 4, 5]), 0)]
    score = {m.name: m.score(told, ["four", "ü four"]) for m in task.metrics}
    assert score == pytest.approx(
        {
            "bits_per_byte": -8.0 / math.log(2) / 11,
            "perplexity": -math.exp(8.0 / 5),
            "next_token_accuracy": 1 / 5,
        }
    )
    better = [TokenPredictions(1.0, one.best, one.right) for one in told]
    assert task.metric.score(better, ["four", "ü four"]) > score["bits_per_byte"]


def test_uniform_bytes_are_the_floor_of_eight_bits() -> None:
    task = build("language-modelling", ())
    gold = task.gold(EXAMPLES)
    assert gold == TEXTS
    assert [len(told.best) for told in task.constant(gold)] == [49, 5, 1, 16]
    assert task.metric.score(task.constant(gold), gold) == pytest.approx(-8.0)


def test_agreement_counts_tokens() -> None:
    task = build("language-modelling", ())
    one, other = [TokenPredictions(1.0, np.array([1, 2, 3]), 0)], [TokenPredictions(2.0, np.array([1, 9, 3]), 0)]
    assert task.agreement(one, other) == pytest.approx(2 / 3)


def test_questions() -> None:
    task = build("language-modelling", ())
    assert task.question("Once") == task.question({"text": "Once"}) == Example("Once")
    with pytest.raises(UserError, match="expected a text"):
        task.question(["a", "b"])


def test_section_comes_back() -> None:
    task = build("language-modelling", (), "perplexity", Windows(2))
    again = from_section(task.section())
    assert (again.name, again.metric.name, again.windows) == ("language-modelling", "perplexity", Windows(2))


def test_an_answer_is_a_likelihood_on_one_line() -> None:
    task = build("language-modelling", ())
    units = [np.array([[-1.0, 5, 5], [-2.0, 6, 7]], dtype=np.float32)]
    (answer,) = task.answers(units, [Example("abc")])
    assert answer.as_dict() == pytest.approx(
        {"bits_per_byte": 3 / math.log(2) / 3, "perplexity": math.exp(1.5), "tokens": 2}
    )
    assert answer.as_line() == "1.443 bits per byte, perplexity 4.5"
