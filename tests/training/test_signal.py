"""What the teacher says of a batch, stored or computed beside."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import make_setting

from distill.training import Beside, SoftLabelStore, Stored, predict
from distill.training.batching import make_batch
from distill.training.signal import look

UNITS = frozenset({"units"})


@pytest.fixture(scope="module")
def words() -> Any:
    return make_setting(6, 2, words=True)


def test_stored_logits_are_found_by_the_number_of_the_row_in_any_order_of_the_store(words: Any, tmp_path: Path) -> None:
    units = [np.full((len(e.text), 2), i, dtype=np.float32) for i, e in enumerate(words.texts)]
    order = [3, 0, 5, 1, 4, 2]
    SoftLabelStore.write(tmp_path, [words.texts[i] for i in order], [units[i] for i in order])
    signal = Stored(SoftLabelStore(tmp_path), words.texts)
    for i, unit in enumerate(units):
        np.testing.assert_array_equal(signal[i], unit)
    with pytest.raises(KeyError, match="other data"):
        Stored(SoftLabelStore(tmp_path), words.validation)


def test_a_teacher_beside_says_what_the_same_teacher_stored(words: Any, tmp_path: Path) -> None:
    teacher = words.model(seed=4)
    answers = predict(teacher, words.encoder, words.task, words.texts, words.machine)
    SoftLabelStore.write(tmp_path, words.texts, answers)
    stored = Stored(SoftLabelStore(tmp_path), words.texts)
    encoded = words.encoder.encode(words.texts)
    soft = [stored[i] for i in range(len(words.texts))]
    batch = make_batch(encoded, words.texts, words.task, words.encoder.pad_id, soft)
    teacher.train()
    beside = Beside(teacher, UNITS)
    found, expected = beside.of(batch).units, stored.of(batch).units
    torch.testing.assert_close(found[batch.unit_mask], expected[batch.unit_mask], rtol=1e-5, atol=1e-6)
    assert not found.requires_grad
    assert not teacher.training  # frozen, without dropout
    assert not any(p.requires_grad for p in teacher.parameters())


def test_what_a_student_says_has_gradients(words: Any) -> None:
    encoded = words.encoder.encode(words.texts)
    batch = make_batch(encoded, words.texts, words.task, words.encoder.pad_id)
    seen = look(words.model(), batch, UNITS | {"hidden", "qkv"})
    assert all(x.requires_grad for x in (seen.units, *seen.hidden, *seen.qkv))
