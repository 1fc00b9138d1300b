"""What a loss sees of a batch is what the task reads after it: torch's units against numpy's, windows and all."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from task_worlds import ANSWERING, WORLDS

from distill import tasks
from distill.objectives import NOWHERE
from distill.tasks.task import NO_LABEL
from distill.text import Example, Reading, Span, rows_of, train_tokenizer
from distill.training.batching import make_batch
from distill.training.soft_labels import SoftLabelStore


def _example(task: str, row: dict[str, Any]) -> Example:
    match task:
        case "multi-label-classification":
            return Example(row["text"], label=tuple(row["labels"]))
        case "regression":
            return Example(row["first"], row["second"], float(row["score"]))
        case "token-classification":
            return Example(tuple(row["words"]), label=tuple(row["tags"]))
        case "question-answering":
            answers = zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
            return Example(row["question"], row["context"], tuple(Span(text, start) for text, start in answers))
        case "sentence-embedding":
            return Example(row["first"])
    return Example(row["text"], label=row["label"])


def _world(task: str, windows: bool) -> tuple[tasks.Task, Reading, list[Example]]:
    generator = random.Random(0)
    examples = [_example(task, WORLDS[task][0](generator)) for _ in range(7)]
    texts = [Example(json.dumps([e.text, e.pair])) for e in examples]
    names: set[str] = set()
    for e in examples:
        if isinstance(e.label, str):
            names.add(e.label)
        elif isinstance(e.label, tuple) and task != "question-answering":
            names.update(map(str, e.label))
    made = tasks.build(task, sorted(names), windows=tasks.Windows(2) if windows else None)
    return made, Reading(train_tokenizer(texts * 3, 120), 14 if windows else 64), examples


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("task", ANSWERING)
def test_units_of_a_batch_are_those_of_the_task(task: str, windows: bool, tmp_path: Path) -> None:
    made, encoder, examples = _world(task, windows)
    encoded = made.encode(encoder, examples)
    if windows and task not in ("sentence-embedding", "text-classification", "multi-label-classification"):
        assert any(e.windows > 1 for e in encoded)
    rows = rows_of(encoded)
    width, length = made.width or 5, max(len(row.input_ids) for row in rows)
    shape = (len(rows), length, width) if made.words else (len(rows), width)
    logits = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = made.units(logits, encoded)
    SoftLabelStore.write(tmp_path / "store", examples, expected)
    store = SoftLabelStore(tmp_path / "store")
    batch = make_batch(encoded, examples, made, encoder.pad_id, [store[e] for e in examples])
    units, mask = batch.gather(torch.from_numpy(logits)), batch.unit_mask
    assert batch.inputs["input_ids"].shape == (len(rows), length)
    assert batch.teacher is not None
    for row, (unit, example) in enumerate(zip(expected, examples, strict=True)):
        known = ~np.isnan(unit[:, 0])
        if made.kind == "span":
            found, soft = (t[row].T[: len(unit)].numpy() for t in (units, batch.teacher))
            assert (units[row, :, len(unit) :] == NOWHERE).all()
            assert (batch.teacher[row, :, len(unit) :] == NOWHERE).all()
            assert mask[row].all()
        else:
            found, soft = units[row, : len(unit)].numpy(), batch.teacher[row, : len(unit)].numpy()
            assert mask[row, : len(unit)].numpy().tolist() == known.tolist()
            assert not mask[row, len(unit) :].any()
        np.testing.assert_allclose(found[known], unit[known], rtol=1e-6)
        np.testing.assert_array_equal(soft[known], unit[known])
        target = made.targets(example, len(unit) if made.words else None)
        np.testing.assert_array_equal(batch.labels[row, : len(target)].numpy(), target)


def test_the_largest_logit_of_a_texts_windows_is_taken_where_that_is_asked_for() -> None:
    _, encoder, _ = _world("regression", True)
    task = tasks.build("regression", (), windows=tasks.Windows(2, "max"))
    examples = [Example("gorgeous " * 20, label=1.0), Example("dull", label=0.0)]
    encoded = task.encode(encoder, examples)
    batch = make_batch(encoded, examples, task, encoder.pad_id)
    rows = len(batch.inputs["input_ids"])
    logits = torch.arange(rows).float().neg().unsqueeze(1)
    assert batch.gather(logits).flatten().tolist() == [0.0, -(rows - 1.0)]


def test_an_answer_that_the_student_cannot_see_is_no_label() -> None:
    """A word whose pieces are all cut away cannot be pointed at."""
    task, encoder, examples = _world("question-answering", False)
    far = Example(examples[0].text, "the " * 3 + "end", (Span("end", 12),))
    (encoded,) = task.encode(encoder, [far])
    gone = encoded.word_starts.copy()
    gone[-1] = -1
    object.__setattr__(encoded, "word_starts", gone)
    batch = make_batch([encoded], [far], task, encoder.pad_id)
    assert batch.labels.tolist() == [[NO_LABEL, NO_LABEL]]
