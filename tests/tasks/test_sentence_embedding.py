"""Vectors of texts and of pairs."""

import numpy as np
import pytest

from distill import tasks
from distill.text import Example, Reading, train_tokenizer

TASK = tasks.build("sentence-embedding", ())


def test_a_pair_is_two_rows_and_a_text_is_one() -> None:
    reading = Reading(train_tokenizer([Example("the cat sat on the mat")] * 3, 60), 12)
    examples = [Example("the cat"), Example("the mat", "a cat"), Example("")]
    encoded = TASK.encode(reading, examples)
    assert [e.windows for e in encoded] == [1, 2, 1]
    assert encoded[1].more[0].input_ids.tolist() == reading.encode([Example("a cat")])[0].input_ids.tolist()
    units = TASK.units(np.arange(8, dtype=np.float32).reshape(4, 2), encoded)
    assert [u.tolist() for u in units] == [[[0, 1]], [[2, 3], [4, 5]], [[6, 7]]]


def test_the_prediction_is_the_cosine() -> None:
    random = np.random.default_rng(0)
    one, other = random.normal(size=(2, 5)).astype(np.float32)
    expected = one @ other / np.sqrt((one @ one) * (other @ other))
    examples = [Example("a", "b", label=3.0)]
    units = [np.stack([one, other])]
    assert TASK.predictions(units, examples) == [pytest.approx(expected, rel=1e-6)]
    assert TASK.predictions([np.zeros((2, 5), dtype=np.float32)], examples) == [0.0]
    assert TASK.gold(examples) == [3.0]
    shown = TASK.answers(units, examples)[0].as_dict()
    assert shown["similarity"] == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(shown["vectors"], units[0])
    assert TASK.answers([units[0][:1]], [Example("a")])[0].as_dict()["similarity"] is None


def test_no_vector_stands_in_the_data() -> None:
    assert np.isnan(TASK.targets(Example("a"))).all()
    assert TASK.targets(Example("a", "b")).shape == (2, 1)
