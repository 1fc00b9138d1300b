"""The mean of several answers, against plain numpy on probabilities."""

import numpy as np
import pytest
from little_world import word_pieces
from numpy.typing import NDArray

from distill import tasks
from distill.tasks.task import Kind, softmax
from distill.text import Example, Reading
from distill.training.batching import make_batch
from distill.training.mixture import mixture

Logits = NDArray[np.float32]
SHAPES: dict[Kind, tuple[int, int]] = {"categorical": (3, 4), "bernoulli": (1, 5), "span": (7, 2), "number": (1, 1)}


def answers(kind: Kind, count: int = 3, scale: float = 3.0) -> list[Logits]:
    random = np.random.default_rng(5)
    return [(scale * random.normal(size=SHAPES[kind]) + 1).astype(np.float32) for _ in range(count)]


def probabilities(kind: Kind, logits: Logits) -> NDArray[np.float64]:
    if kind == "bernoulli":
        return 1 / (1 + np.exp(-logits.astype(np.float64)))
    return softmax(logits, axis=0 if kind == "span" else -1)


@pytest.mark.parametrize("kind", ["categorical", "bernoulli", "span"])
def test_probabilities_are_the_mean_of_the_answers(kind: Kind) -> None:
    given = answers(kind)
    mean = np.mean([probabilities(kind, one) for one in given], axis=0)
    found = mixture(kind, given)
    assert found.dtype == np.float32
    np.testing.assert_allclose(probabilities(kind, found), mean, atol=1e-6)


def test_numbers_are_averaged() -> None:
    given = answers("number")
    np.testing.assert_allclose(mixture("number", given), np.mean(given, axis=0), atol=1e-6)


@pytest.mark.parametrize("kind", list(SHAPES))
def test_equal_answers_are_kept_as_they_are(kind: Kind) -> None:
    (given,) = answers(kind, 1)
    np.testing.assert_allclose(mixture(kind, [given] * 3), given, atol=1e-5)


@pytest.mark.parametrize("kind", ["categorical", "bernoulli", "span"])
def test_answers_that_are_sure_give_finite_logits(kind: Kind) -> None:
    given = answers(kind, scale=2000.0)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        found = mixture(kind, given)
    assert np.isfinite(found).all()
    with np.errstate(over="ignore"):
        mean = np.mean([probabilities(kind, one) for one in given], axis=0)
        np.testing.assert_allclose(probabilities(kind, found), mean, atol=1e-5)


@pytest.mark.parametrize("kind", ["categorical", "span"])
def test_words_without_an_answer_are_left_out(kind: Kind) -> None:
    given = answers(kind)
    with_gap = [np.insert(one, 1, np.nan, axis=0) for one in given]
    found = mixture(kind, with_gap)
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(np.delete(found, 1, axis=0), mixture(kind, given), atol=1e-6)
    assert mixture(kind, [one[:0] for one in given]).shape == (0, SHAPES[kind][1])


@pytest.mark.parametrize("kind", ["categorical", "bernoulli", "span"])
def test_probabilities_are_the_weighted_mean_of_the_answers(kind: Kind) -> None:
    given, weights = answers(kind), [3.0, 0.5, 1.5]
    told = [probabilities(kind, one) for one in given]
    wanted = (3 * told[0] + 0.5 * told[1] + 1.5 * told[2]) / 5
    np.testing.assert_allclose(probabilities(kind, mixture(kind, given, weights)), wanted, atol=1e-6)
    assert np.abs(wanted - np.mean(told, axis=0)).max() > 0.01
    np.testing.assert_array_equal(mixture(kind, given, [1.0, 1.0, 1.0]), mixture(kind, given))


def test_numbers_are_averaged_by_weight() -> None:
    given = [np.array([[x]], dtype=np.float32) for x in (1.0, 2.0, 6.0)]
    np.testing.assert_allclose(mixture("number", given, [2.0, 1.0, 1.0]), [[2.5]])


@pytest.mark.parametrize("kind", ["categorical", "bernoulli", "span"])
def test_whoever_is_surer_of_an_answer_weighs_more_in_it(kind: Kind) -> None:
    """Answer by answer: a text or word, start and end, a label."""
    given, weights = answers(kind, 2), [2.0, 1.0]
    told = [probabilities(kind, one) for one in given]
    found = probabilities(kind, mixture(kind, given, weights, by_confidence=True))
    for cell in np.ndindex(told[0].shape):
        if kind == "bernoulli":
            sure = [max(p[cell], 1 - p[cell]) for p in told]
        else:
            sure = [float(p[:, cell[1]].max() if kind == "span" else p[cell[0]].max()) for p in told]
        own = [w * s for w, s in zip(weights, sure, strict=True)]
        wanted = sum(s * p[cell] for s, p in zip(own, told, strict=True)) / sum(own)
        assert found[cell] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("by_confidence", [False, True])
def test_a_word_that_one_does_not_see_is_told_by_the_others(by_confidence: bool) -> None:
    one, other = answers("categorical", 2)
    one[1] = np.nan
    found = mixture("categorical", [one, other], [5.0, 1.0], by_confidence)
    np.testing.assert_allclose(softmax(found[1]), softmax(other[1]), atol=1e-6)
    start, end = answers("span", 2)
    start[2] = np.nan
    seen = softmax(np.delete(start, 2, axis=0), axis=0)
    mean = (np.insert(seen, 2, 0, axis=0) + softmax(end, axis=0)) / 2
    np.testing.assert_allclose(softmax(mixture("span", [start, end]), axis=0), mean, atol=1e-6)


@pytest.mark.parametrize("by_confidence", [False, True])
def test_words_that_one_teacher_cut_off_are_told_by_the_others(by_confidence: bool) -> None:
    """Each cuts a sentence where its own tokens end."""
    longest, shorter, shortest = answers("categorical")
    given, weights = [longest, shorter[:2], shortest[:0]], [1.0, 3.0, 5.0]
    found = mixture("categorical", given, weights, by_confidence)
    assert found.shape == longest.shape
    np.testing.assert_array_equal(found[:2], mixture("categorical", [longest[:2], shorter[:2]], [1, 3], by_confidence))
    np.testing.assert_allclose(softmax(found[2]), softmax(longest[2]), atol=1e-6)


def test_teachers_whose_tokenizers_cut_a_sentence_elsewhere_teach_every_word_that_one_of_them_sees() -> None:
    task = tasks.build("token-classification", ("O", "B-thing"), "")
    sentence = Example(("a", "gorgeous", "film", "of", "note"), ("O",) * 5)
    whole, letters = word_pieces([" ".join(sentence.text)]), word_pieces(["a b c d e f g h i l m n o r s t u"])
    readings = [Reading(whole, 6), Reading(letters, 11)]  # room for 4 words of a token each; for 2, letter by letter
    random, told = np.random.default_rng(3), []
    for reading in readings:
        encoded = task.encode(reading, [sentence])
        length = max(len(e.input_ids) for e in encoded)
        told += task.units(random.normal(size=(1, length, 2)).astype(np.float32), encoded)
    assert [len(units) for units in told] == [4, 2]
    mixed = mixture(task.kind, told)
    np.testing.assert_allclose(softmax(mixed[2:]), softmax(told[0][2:]), atol=1e-6)
    student = Reading(whole, 16)
    batch = make_batch(task.encode(student, [sentence]), [sentence], task, student.pad_id, [mixed])
    assert batch.unit_mask.tolist() == [[True] * 4 + [False]]  # what none of them sees is not learnt
