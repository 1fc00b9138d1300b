"""Whether fp32 graphs compute what the torch model computes."""

import copy
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill.models.answers import forward_of, model_inputs, named_output
from distill.models.graphs import by_token
from distill.progress import track
from distill.results import Parity
from distill.runtime import ALONE, Forward, Graphs, in_order, respond
from distill.tasks import Task
from distill.tasks.task import Logits
from distill.text import Encoded, Example, Reading, pad

BATCHES = (1, 2, 7)
LENGTHS = (2, 17)
"""Tokens a row; the reading's maximum is added."""
TOGETHER = 2048
"""Padded tokens of a batch of questions."""

Batch = dict[str, NDArray[np.int64]]


def check_parity(
    model: nn.Module,
    graphs: Graphs,
    reading: Reading,
    task: Task,
    questions: Sequence[Example],
    vocabulary_size: int,
    tolerance: float,
) -> Parity:
    """Compares the graph of the role ``model`` with the model, on the CPU in fp32.

    First every output at real positions, for every batch of 1, 2 and 7 rows, 2, 17 and the maximum of tokens, padded
    and not, of random ids below ``vocabulary_size`` and of the ``questions``' own ids. Then from text to answer: each
    of ``questions`` through :func:`distill.runtime.respond`, alone and beside the others, against the model on it
    alone.

    It passes where no logit differs by more than ``tolerance`` (absolute) and all answers are equal. An answer that
    differs while its logits are within ``tolerance`` is a tie to this precision, not a failure; ties are counted in
    ``detail``. A graph that does not run on some shape has not passed; that is a result, never an exception.
    """
    reference = copy.deepcopy(model).to("cpu", torch.float32).eval()
    differences = [0.0]
    cases = 0
    answers_equal = True
    remarks = []
    inputs, of_graphs = graphs.inputs["model"], graphs.forward(task)
    try:
        grid = list(_grid(reading, questions, vocabulary_size, types="token_type_ids" in inputs))
        for batch in track(grid, "parity"):
            cases += 1
            real = batch["attention_mask"] == 1
            expected, found = _outputs(reference, task, batch), graphs.run("model", batch, task.outputs)
            for name, e, f in zip(task.outputs, expected, found, strict=True):
                if by_token(task, name) and f.shape == e.shape:
                    e, f = e[real], f[real]
                differences.append(_difference(e, f))
        if questions:
            cases += len(questions)
            encoded = task.encode(reading, questions)
            of_torch = in_order(respond(_row_by_row(reference), reading, task, encoded, ALONE))
            of_graph = in_order(respond(of_graphs, reading, task, encoded, ALONE, "parity"))
            apart = [_difference(e, f) for e, f in zip(of_torch, of_graph, strict=True)]
            padded = in_order(respond(of_graphs, reading, task, encoded, TOGETHER))
            beside = [_difference(e, f) for e, f in zip(of_torch, padded, strict=True)]
            if max(beside) > tolerance >= max(apart):
                remarks.append("a text is answered otherwise where it is padded to the length of another")
            differences += apart + beside
            answers = zip(task.predictions(of_torch, questions), task.predictions(of_graph, questions), strict=True)
            unequal = [i for i, (expected_answer, answer) in enumerate(answers) if not _same(expected_answer, answer)]
            ties = sum(apart[i] <= tolerance for i in unequal)
            answers_equal = ties == len(unequal)
            remarks.append(f"{len(questions) - len(unequal)} of {len(questions)} answers equal from text to answer")
            if ties:
                remarks.append(f"{ties} answers differ where logits are tied within {tolerance:g}")
    except Exception as error:
        if not type(error).__module__.startswith("onnxruntime"):  # its classes share no base but Exception
            raise
        answers_equal = False
        differences.append(float("inf"))
        remarks.append(f"case {cases} did not run: {error}")
    largest = float(np.max(differences))
    remarks.insert(0, f"batch {_list(BATCHES)} x length {_list(_lengths(reading))}, padded and not")
    return Parity(largest <= tolerance and answers_equal, largest, tolerance, cases, answers_equal, "; ".join(remarks))


def _same(expected: Any, found: Any) -> bool:
    """Equal answers; numbers are as close as logits must be, and were compared as such."""
    return isinstance(expected, float) or bool(np.array_equal(expected, found))


def _lengths(reading: Reading) -> list[int]:
    return sorted({min(length, reading.max_length) for length in (*LENGTHS, reading.max_length)})


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _grid(reading: Reading, questions: Sequence[Example], vocabulary_size: int, types: bool) -> Iterator[Batch]:
    """Batches of rows that are cut, or repeated, to the length wanted."""
    generator = np.random.default_rng(0)
    encoded = reading.encode(questions) if questions else []
    for rows, length, padded, real in itertools.product(BATCHES, _lengths(reading), (False, True), (False, True)):
        if real and not encoded:
            continue
        batch = []
        for _ in range(rows):
            n = int(generator.integers(1, length)) if padded else length
            if real:
                text = encoded[int(generator.integers(len(encoded)))]
                ids, kinds = np.resize(text.input_ids, n), np.resize(text.token_type_ids, n)
            else:
                ids = generator.integers(vocabulary_size, size=n)
                kinds = generator.integers(2 if types else 1, size=n)
            batch.append(Encoded(ids, kinds, np.zeros(0, dtype=np.int64), False))
        yield pad(batch, reading.pad_id, length)


def _outputs(model: nn.Module, task: Task, batch: Batch) -> list[NDArray[np.float32]]:
    """What torch computes for each output of the task's graph."""
    inputs = {name: torch.from_numpy(array) for name, array in batch.items()}
    with torch.no_grad(), _one_thread():
        output = model(**model_inputs(model, inputs))
        return [named_output(model, output, inputs["attention_mask"], name).numpy() for name in task.outputs]


@contextmanager
def _one_thread() -> Iterator[None]:
    """With two on a busy machine, parity of 6 layers of 384 took 60 s instead of 4."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _row_by_row(model: nn.Module) -> Forward:
    """The model on one row at a time, not padded: the simplest way there is, unlike the graph's."""
    of_row = forward_of(model)

    def forward(arrays: Batch) -> Logits:
        width = arrays["input_ids"].shape[1]
        rows = []
        for row, length in enumerate(arrays["attention_mask"].sum(axis=1)):
            with _one_thread():
                logits = of_row({name: array[row : row + 1, :length] for name, array in arrays.items()})
            if logits.ndim == 3:  # rows of unequal length, so that they can be stacked
                logits = np.pad(logits, ((0, 0), (0, width - length), (0, 0)))
            rows.append(logits)
        return np.concatenate(rows)

    return forward


def _difference(expected: Logits, found: Logits) -> float:
    """Largest absolute difference; NaN where only one is NaN, infinite where the shapes differ."""
    if expected.shape != found.shape:
        return float("inf")
    compared = ~(np.isnan(expected) & np.isnan(found))  # a word without a piece is NaN on both sides
    return float(np.abs(expected - found)[compared].max(initial=0.0))
