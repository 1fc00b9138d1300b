"""The one forward loop: every example once, under its own row, in batches that hold what they may."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_graphs import CORPUS

from distill import tasks
from distill.runtime import ALONE, in_order, respond
from distill.runtime.forward import batches_by_tokens
from distill.tasks import Task, Windows
from distill.text import Example, Reading, TokenStore, rows_of, train_tokenizer

TEXTS = [Example(text) for text in ("fine", "", "a mess " * 9, "not much", "a mess from start to end", "fine fine", "")]
SENTENCES = [Example(tuple(str(e.text).split())) for e in TEXTS]
QUESTIONS = [Example("what ?", str(e.text)) for e in TEXTS]


@pytest.fixture(scope="module")
def reading() -> Reading:
    return Reading(train_tokenizer([Example(text) for text in [*CORPUS, "what ?"] * 3], 200), 12)


class Sums:
    """A model whose logits are the ids of real tokens, summed, or at each token; it keeps the batches it was given."""

    def __init__(self, by_token: bool, outputs: int = 2) -> None:
        self.by_token, self.outputs = by_token, outputs
        self.batches: list[dict[str, Any]] = []

    def __call__(self, arrays: dict[str, Any]) -> Any:
        self.batches.append(arrays)
        assert {array.shape for array in arrays.values()} == {arrays["input_ids"].shape}
        ids = arrays["input_ids"] * arrays["attention_mask"]
        x = (ids if self.by_token else ids.sum(axis=1)).astype(np.float32)
        return np.stack([x, *(-x for _ in range(self.outputs - 1))], axis=-1)


def expected_units(task: Task, reading: Reading, examples: Sequence[Example]) -> list[np.ndarray]:
    """In the way of an independent few lines: no batches, no padding."""
    found = []
    for e in task.encode(reading, examples):
        rows = rows_of([e])
        if task.words:
            places = [e.word_starts, e.word_ends] if task.kind == "span" else [e.word_starts, e.word_starts]
            columns = [
                [
                    sign * rows[row].input_ids[at] if at >= 0 else np.nan
                    for row, at in zip(e.word_rows, own, strict=True)
                ]
                for sign, own in zip((1, -1), places, strict=True)
            ]
            found.append(np.array(columns, dtype=np.float32).T.reshape(-1, 2))
        else:
            sums = np.array([row.input_ids.sum() for row in rows], dtype=np.float32)
            sums = sums if task.kind == "vector" else sums.mean(keepdims=True)
            found.append(np.stack([sums, -sums], axis=1))
    return found


OF_TASK = {"token-classification": SENTENCES, "question-answering": QUESTIONS, "sentence-embedding": QUESTIONS}


@pytest.mark.parametrize("stored", [False, True], ids=["texts", "store"])
@pytest.mark.parametrize("tokens", [ALONE, 24, 10_000])
@pytest.mark.parametrize("windows", [None, Windows(1)], ids=["cut", "windows"])
@pytest.mark.parametrize("name", [name for name, task in tasks.TASKS.items() if not task.writes])
def test_each_row_gets_the_units_of_its_own_example(
    name: str, windows: Windows | None, tokens: int, stored: bool, reading: Reading, tmp_path: Path
) -> None:
    task = tasks.build(name, ("B-x", "O"), windows=windows)
    examples: Any = OF_TASK.get(name, TEXTS)
    model, expected = Sums(task.words), expected_units(task, reading, examples)
    if stored:
        TokenStore.write(tmp_path, task.encode(reading, examples))
        examples = TokenStore(tmp_path)
    responses = list(respond(model, reading, task, examples, tokens))
    assert sorted(r.row for r in responses) == list(range(len(expected)))
    for response in responses:
        np.testing.assert_allclose(response.units, expected[response.row], rtol=1e-6)
    for found, own in zip(in_order(responses), expected, strict=True):
        np.testing.assert_allclose(found, own, rtol=1e-6)
    if tokens == ALONE:
        assert len(model.batches) == len(expected)
    else:
        assert len(model.batches) < len(expected)
        several = [b["input_ids"] for b in model.batches if len(b["input_ids"]) > max(task_windows(task, reading))]
        assert all(ids.size <= tokens for ids in several)


def task_windows(task: Task, reading: Reading) -> list[int]:
    return [e.windows for e in task.encode(reading, OF_TASK.get(task.name, TEXTS))]


def test_padding_is_the_padding_token_of_the_reading(reading: Reading) -> None:
    model = Sums(False)
    list(respond(model, Reading(reading.tokenizer, 12, 7), tasks.build("text-classification", ("a", "b")), TEXTS, 1000))
    (batch,) = model.batches
    assert (batch["input_ids"][batch["attention_mask"] == 0] == 7).all()
    assert (batch["attention_mask"] == 0).any()


def test_a_response_is_there_before_the_next_batch_is_run(reading: Reading) -> None:
    model = Sums(False)
    responses = respond(model, reading, tasks.build("text-classification", ("a", "b")), TEXTS, ALONE)
    next(responses)
    assert len(model.batches) == 1


def test_nothing_is_asked_of_nothing(reading: Reading) -> None:
    assert in_order(respond(Sums(False), reading, tasks.build("text-classification", ("a", "b")), [], 100)) == []


@pytest.mark.parametrize("tokens", [1, 40, 64, 300, 5000])
def test_batches_hold_what_the_budget_allows_and_not_one_example_less(tokens: int) -> None:
    generator = np.random.default_rng(0)
    windows, longest = generator.integers(1, 5, 200).tolist(), generator.integers(1, 60, 200).tolist()
    batches = batches_by_tokens(windows, longest, tokens)
    order = [example for batch in batches for example in batch]
    assert sorted(order) == list(range(200))
    assert [longest[e] for e in order] == sorted(longest)

    def size(batch: list[int]) -> int:
        return sum(windows[e] for e in batch) * max(longest[e] for e in batch)

    assert all(size(batch) <= tokens or len(batch) == 1 for batch in batches)
    for batch, following in itertools.pairwise(batches):
        assert size([*batch, following[0]]) > tokens  # one more would be too much
