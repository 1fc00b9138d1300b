"""A number for a text."""

import numpy as np
import pytest

from distill import tasks
from distill.text import Example

TASK = tasks.build("regression", ())


def test_the_logit_is_the_number() -> None:
    units = [np.array([[2.5]], dtype=np.float32), np.array([[-1.0]], dtype=np.float32)]
    examples = [Example("a", label=2.0), Example("b", "c", label=-1.0)]
    assert TASK.width == 1
    assert TASK.predictions(units, examples) == [2.5, -1.0]
    assert TASK.gold(examples) == [2.0, -1.0]
    assert TASK.answers(units, examples)[0].as_dict() == {"value": 2.5}
    assert TASK.targets(examples[0]).tolist() == [[2.0]]
    assert np.isnan(TASK.targets(Example("a"))).all()
    assert TASK.labels_of([1.5]) == [1.5]


def test_the_constant_answer_has_no_correlation() -> None:
    gold = [1.0, 2.0, 4.0]
    assert TASK.constant(gold) == [pytest.approx(7 / 3)] * 3
    assert TASK.metric.name == "pearson"
    assert TASK.metric.score(TASK.constant(gold), gold) == 0.0


def test_windows_are_pooled_to_one_number() -> None:
    from distill.text import Reading, train_tokenizer

    words = " ".join(["cat", "dog", "mat"] * 10)
    reading = Reading(train_tokenizer([Example(words)] * 3, 60), 12)
    for pooling, expected in (("mean", np.mean), ("max", np.max)):
        task = tasks.build("regression", (), windows=tasks.Windows(2, pooling))  # type: ignore[arg-type]
        encoded = task.encode(reading, [Example(words), Example("cat")])
        assert encoded[0].windows == 4
        assert encoded[1].windows == 1
        logits = np.array([[1.0], [5.0], [3.0], [2.0], [7.0]], dtype=np.float32)
        first, second = task.units(logits, encoded)
        assert first.tolist() == [[expected(logits[:4])]]
        assert second.tolist() == [[7.0]]
        assert tasks.from_section(task.section()).windows == task.windows
