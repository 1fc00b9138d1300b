"""Soft labels are found by the content of a row, and reach the batch at the right units."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import make_setting

from distill import tasks
from distill.tasks.task import NO_LABEL, Logits
from distill.text import Encoded, Example, Reading, Target, train_tokenizer
from distill.training import SoftLabelStore
from distill.training.batching import make_batch
from distill.training.gathers import Whole


def _units(sizes: list[int], classes: int = 3) -> list[Logits]:
    random = np.random.default_rng(0)
    return [random.normal(size=(size, classes)).astype(np.float32) for size in sizes]


def test_each_text_gets_its_own_logits_back_in_any_order(tmp_path: Path) -> None:
    texts = ["a", "b", "", "a b", "c"]
    examples = [Example(t) for t in texts] + [Example("a", "b"), Example(("a", "b")), Example("a", "")]
    units = _units([1] * len(examples))
    SoftLabelStore.write(tmp_path, examples, units)
    store = SoftLabelStore(tmp_path)
    assert len(store) == len(examples)
    for i in np.random.default_rng(1).permutation(len(examples)):
        np.testing.assert_array_equal(store[examples[i]], units[i])


def test_sentences_have_as_many_rows_as_words(tmp_path: Path) -> None:
    sizes = [3, 0, 1, 7]
    examples = [Example(tuple(f"w{i}{j}" for j in range(size))) for i, size in enumerate(sizes)]
    units = _units(sizes)
    units[3][2] = np.nan
    SoftLabelStore.write(tmp_path, examples, units)
    store = SoftLabelStore(tmp_path)
    for example, unit in zip(reversed(examples), reversed(units), strict=True):
        np.testing.assert_array_equal(store[example], unit)
        assert store[example].dtype == np.float32


def test_a_text_that_the_teacher_never_saw_is_a_key_error(tmp_path: Path) -> None:
    SoftLabelStore.write(tmp_path, [Example("a")], _units([1]))
    store = SoftLabelStore(tmp_path)
    for other in (Example("b"), Example("a", ""), Example(("a",)), Example("a ")):
        with pytest.raises(KeyError, match="other data"):
            store[other]


def test_the_label_of_a_row_plays_no_part(tmp_path: Path) -> None:
    units = _units([1])
    SoftLabelStore.write(tmp_path, [Example("a", label="good")], units)
    np.testing.assert_array_equal(SoftLabelStore(tmp_path)[Example("a", label="bad")], units[0])


def test_a_source_with_two_targets_has_the_units_of_each(tmp_path: Path) -> None:
    examples = [Example("yes", label=Target("ja")), Example("yes", label=Target("ja doch")), Example("yes")]
    units = _units([3, 7, 1])
    SoftLabelStore.write(tmp_path, [*examples, examples[0]], [*units, units[0]])
    store = SoftLabelStore(tmp_path)
    assert len(store) == 3
    for example, unit in zip(examples, units, strict=True):
        np.testing.assert_array_equal(store[example], unit)


def test_a_text_that_repeats_is_stored_once_and_a_new_store_replaces_the_old(tmp_path: Path) -> None:
    units = _units([1, 1])
    SoftLabelStore.write(tmp_path, [Example("x")], _units([1]))
    SoftLabelStore.write(tmp_path, [Example("a"), Example("b"), Example("a")], [units[0], units[1], units[0]])
    store = SoftLabelStore(tmp_path)
    assert len(store) == 2
    assert store.logits.shape == (2, 3)
    np.testing.assert_array_equal(store[Example("b")], units[1])
    with pytest.raises(KeyError):
        store[Example("x")]


def test_many_keys_survive_the_file_also_those_that_end_in_zero_bytes(tmp_path: Path) -> None:
    examples = [Example(f"text {i}") for i in range(3000)]
    assert any(e.key.endswith(b"\0") for e in examples)
    SoftLabelStore.write(tmp_path, examples, [np.full((1, 2), i, dtype=np.float32) for i in range(3000)])
    store = SoftLabelStore(tmp_path)
    assert [int(store[e][0, 0]) for e in examples] == list(range(3000))


def test_logits_are_read_from_a_memory_mapped_file(tmp_path: Path) -> None:
    SoftLabelStore.write(tmp_path, [Example("a")], _units([1]))
    assert isinstance(SoftLabelStore(tmp_path).logits, np.memmap)


def test_a_batch_of_texts_has_one_unit_each_with_label_and_soft_labels(tmp_path: Path) -> None:
    setting = make_setting(6, 2)
    texts = [*setting.texts[:3], Example("no label here")]
    SoftLabelStore.write(tmp_path, texts, _units([1] * 4, 2))
    encoded = setting.encoder.encode(texts)
    store = SoftLabelStore(tmp_path)
    batch = make_batch(encoded, texts, setting.task, setting.encoder.pad_id, [store[e] for e in texts])
    assert isinstance(batch.gather, Whole)
    assert batch.unit_mask.tolist() == [[True]] * 4
    expected = [["bad", "good"].index(str(e.label)) for e in texts[:3]]
    assert batch.labels.tolist() == [[i] for i in expected] + [[NO_LABEL]]
    assert batch.teacher is not None
    np.testing.assert_array_equal(batch.teacher[:, 0].numpy(), np.concatenate(_units([1] * 4, 2)))
    assert batch.inputs["attention_mask"].sum(1).tolist() == [len(e.input_ids) for e in encoded]
    logits = torch.randn(4, 2)
    assert torch.equal(batch.gather(logits), logits[:, None])


WORDS = [("the", "unbelievable", "log"), ("log", "", "the"), ("the",) * 12, ()]
TAGS = ("B-x", "O")


def _sentences() -> tuple[Reading, list[Example]]:
    encoder = Reading(train_tokenizer([Example("the log unbeliev able log the"), Example("able")] * 3, 60), 8)
    return encoder, [Example(words, label=tuple(TAGS[i % 2] for i in range(len(words)))) for words in WORDS]


def test_a_batch_of_sentences_masks_what_student_or_teacher_cannot_see(tmp_path: Path) -> None:
    task = tasks.build("token-classification", TAGS)
    encoder, examples = _sentences()
    units = _units([3, 3, 4, 0], 2)  # the teacher read only four words of the third
    units[0][2] = np.nan  # and no piece of this one
    SoftLabelStore.write(tmp_path, examples, units)
    encoded = encoder.encode(examples)
    store = SoftLabelStore(tmp_path)
    batch = make_batch(encoded, examples, task, encoder.pad_id, [store[e] for e in examples])
    assert batch.unit_mask.tolist() == [
        [True, True, False, False, False, False],
        [True, False, True, False, False, False],
        [True, True, True, True, False, False],
        [False] * 6,
    ]
    assert batch.labels[0].tolist() == [0, 1, 0, *[NO_LABEL] * 3]
    assert batch.labels[2].tolist() == [0, 1, 0, 1, 0, 1]
    assert batch.teacher is not None
    assert batch.teacher.isfinite().all()
    for row, column in batch.unit_mask.nonzero().tolist():
        np.testing.assert_array_equal(batch.teacher[row, column].numpy(), units[row][column])


def test_without_a_store_all_words_with_a_piece_count() -> None:
    encoder, examples = _sentences()
    task = tasks.build("token-classification", TAGS)
    batch = make_batch(encoder.encode(examples), examples, task, encoder.pad_id)
    assert batch.teacher is None
    assert batch.unit_mask.sum(1).tolist() == [3, 2, 6, 0]


def test_units_of_a_batch_are_the_logits_at_the_first_piece_of_each_word() -> None:
    encoder, examples = _sentences()
    task = tasks.build("token-classification", TAGS)
    encoded: list[Encoded] = encoder.encode(examples)
    batch = make_batch(encoded, examples, task, encoder.pad_id)
    logits = torch.randn(4, batch.inputs["input_ids"].shape[1], 2)
    found = batch.gather(logits)
    expected = task.units(logits.numpy(), encoded)  # what inference does
    for row, unit in enumerate(expected):
        for word, values in enumerate(unit):
            if batch.unit_mask[row, word]:
                np.testing.assert_array_equal(found[row, word].numpy(), values)
            else:
                assert np.isnan(values).all()
