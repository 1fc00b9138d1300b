"""Whether fp32 graphs compute what the torch model computes."""

import copy
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill.metrics import TokenPredictions
from distill.models.answers import Kept, forward_of, model_inputs, named_output, outcome
from distill.models.graphs import by_token
from distill.progress import track
from distill.results import Parity
from distill.runtime import ALONE, Forward, Graphs, generate, in_order, respond
from distill.runtime.generation import writing
from distill.tasks import Task
from distill.tasks.task import Logits
from distill.text import Encoded, Example, Reading, pad
from distill.text.encoding import Ids

BATCHES = (1, 2, 7)
LENGTHS = (2, 17)
"""Tokens a row; the reading's maximum is added."""
TOGETHER = 2048
"""Padded tokens of a batch of questions."""
PROMPTS, PROMPT_TOKENS, WRITTEN_TOKENS = 3, 8, 24
"""Texts that are written, tokens of a question that each begins with, tokens that are written behind these."""

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
    """Compares the graph that answers with the model, on the CPU in fp32.

    First every output at real positions, for every batch of 1, 2 and 7 rows, 2, 17 and the maximum of tokens, padded
    and not, of random ids below ``vocabulary_size`` and of the ``questions``' own ids; of a model that writes also
    padded on the left and read in two pieces. Then from text to answer: each of ``questions`` through
    :func:`distill.runtime.respond`, alone and beside the others, against the model on it alone. Then, of a model that
    writes, what it writes behind the beginnings of some questions, token by token.

    It passes where no logit differs by more than ``tolerance`` (absolute) and all answers are equal. An answer that
    differs while its logits are within ``tolerance`` is a tie to this precision, not a failure; ties are counted in
    ``detail``. A graph that does not run on some shape has not passed; that is a result, never an exception.
    """
    reference = copy.deepcopy(model).to("cpu", torch.float32).eval()
    found, task = _Found(tolerance), task.next_token
    try:
        types = "token_type_ids" in graphs.inputs["decoder" if task.writes else "model"]
        for batch in track(list(_grid(reading, questions, vocabulary_size, types)), "parity"):
            found.cases += 1
            if "encoder" in graphs.sessions:
                batch["target_ids"] = batch["input_ids"]  # as long as the source, so that the same are real
            _compare_outputs(found, reference, graphs, task, batch)
        if questions:
            found.cases += len(questions)
            _compare_answers(found, reference, graphs, reading, task, questions)
        if questions and task.writes:
            _compare_texts(found, reference, graphs, reading, task, questions)
    except Exception as error:
        if not type(error).__module__.startswith("onnxruntime"):  # its classes share no base but Exception
            raise
        found.answers_equal = False
        found.differences.append(float("inf"))
        found.remarks.append(f"case {found.cases} did not run: {error}")
    largest = float(np.max(found.differences))
    shapes = f"batch {_list(BATCHES)} x length {_list(_lengths(reading))}, padded and not"
    passed, detail = largest <= tolerance and found.answers_equal, "; ".join([shapes, *found.remarks])
    return Parity(passed, largest, tolerance, found.cases, found.answers_equal, detail)


@dataclass
class _Found:
    """What the comparison has found so far."""

    tolerance: float
    cases: int = 0
    differences: list[float] = field(default_factory=lambda: [0.0])
    answers_equal: bool = True
    remarks: list[str] = field(default_factory=list)


def _compare_outputs(found: _Found, model: nn.Module, graphs: Graphs, task: Task, batch: Batch) -> None:
    """Every output of one batch."""
    real = batch["attention_mask"] == 1
    expected = _outputs(model, task, batch)
    for name, e, f in zip(task.outputs, expected, graphs.answer(task, batch, task.outputs), strict=True):
        if by_token(task, name) and f.shape == e.shape:
            e, f = e[real], f[real]
        found.differences.append(_difference(e, f))
    if "encoder" in graphs.sessions:
        found.differences.append(_difference(expected[0][real], graphs.target_logits(batch, pieces=2)[real]))
    elif task.writes:
        found.differences.append(_difference(expected[0][real], _in_two_pieces(graphs, batch)))


def _in_two_pieces(graphs: Graphs, batch: Batch) -> Logits:
    """Logits [N, V] of all real tokens of a batch that is padded on the left, the second half read from the cache."""
    mask = batch["attention_mask"]
    turned = (np.arange(mask.shape[1]) + mask.sum(axis=1, keepdims=True)) % mask.shape[1]
    ids, mask = (np.take_along_axis(batch[name], turned, axis=1) for name in ("input_ids", "attention_mask"))
    half = mask.shape[1] // 2
    cache, logits = graphs.empty_cache(len(ids)), []
    for piece in (slice(0, half), slice(half, None)):
        arrays = {"input_ids": ids[:, piece], "attention_mask": mask[:, : piece.stop], **cache}
        names = ("logits", *(name.replace("past", "present") for name in cache))
        of_piece, *tensors = graphs.run("decoder", arrays, names)
        logits.append(of_piece)
        cache = dict(zip(cache, tensors, strict=True))
    found: Logits = np.concatenate(logits, axis=1)[mask == 1]
    return found


def _compare_answers(
    found: _Found, model: nn.Module, graphs: Graphs, reading: Reading, task: Task, questions: Sequence[Example]
) -> None:
    """From text to answer."""
    encoded, of_graphs, tolerance = task.encode(reading, questions), graphs.forward(task), found.tolerance
    kept_of_torch = outcome if task.writes else None
    of_torch = in_order(respond(_row_by_row(model, kept_of_torch), reading, task, encoded, ALONE))
    of_graph = in_order(respond(of_graphs, reading, task, encoded, ALONE, "parity"))
    padded = in_order(respond(of_graphs, reading, task, encoded, TOGETHER))
    kept = slice(1) if task.kind == "token" else slice(None)  # the others of its numbers are tokens
    apart = [_difference(e[..., kept], f[..., kept]) for e, f in zip(of_torch, of_graph, strict=True)]
    beside = [_difference(e[..., kept], f[..., kept]) for e, f in zip(of_torch, padded, strict=True)]
    if max(beside) > tolerance >= max(apart):
        found.remarks.append("a text is answered otherwise where it is padded to the length of another")
    found.differences += apart + beside
    answers = zip(task.predictions(of_torch, questions), task.predictions(of_graph, questions), strict=True)
    unequal = [i for i, (expected_answer, answer) in enumerate(answers) if not _same(expected_answer, answer)]
    ties = sum(apart[i] <= tolerance for i in unequal)
    found.answers_equal = ties == len(unequal)
    found.remarks.append(f"{len(questions) - len(unequal)} of {len(questions)} answers equal from text to answer")
    if ties:
        found.remarks.append(f"{ties} answers differ where logits are tied within {tolerance:g}")


def _compare_texts(
    found: _Found, model: nn.Module, graphs: Graphs, reading: Reading, task: Task, questions: Sequence[Example]
) -> None:
    """What is written behind the first tokens of some questions, or from them, each token the one that torch finds most
    likely behind those before it."""
    begun = min(PROMPT_TOKENS, reading.max_length - 1)
    prompts = [reading.prompt(str(question.text))[:begun] for question in questions[:PROMPTS]]
    if "encoder" in graphs.sessions:
        prompts = [one.input_ids for one in reading.encode([Example(q.text) for q in questions[:PROMPTS]])]
    settings = replace(writing(task, reading), max_new_tokens=WRITTEN_TOKENS, beams=1)
    equal = ties = 0
    for written in generate(graphs, prompts, settings):
        behind = _behind(model, graphs, prompts[written.row], np.array(written.ids), settings.start_id)
        equal += bool((behind == 0).all())
        ties += bool((behind > 0).any() and (behind <= 2 * found.tolerance).all())
    found.cases += len(prompts)
    found.answers_equal &= equal + ties == len(prompts)
    found.remarks.append(f"{equal} of {len(prompts)} texts written alike")
    if ties:
        found.remarks.append(f"{ties} texts differ where logits are tied within {found.tolerance:g}")


def _behind(model: nn.Module, graphs: Graphs, prompt: Ids, ids: Ids, start_id: int | None) -> Logits:
    """[L], by how much the logit of each token that the graph wrote is below the highest of torch."""
    read = np.concatenate([prompt, ids[:-1]])[None]
    arrays = {"input_ids": read, "attention_mask": np.ones_like(read)}
    if "encoder" in graphs.sessions:
        arrays = {"input_ids": prompt[None], "attention_mask": np.ones_like(prompt)[None]}
        arrays["target_ids"] = np.array([[start_id, *ids[:-1]]])
    with _one_thread():
        logits_LV = forward_of(model)(arrays)[0][-len(ids) :]
    below: Logits = logits_LV.max(axis=1) - logits_LV[np.arange(len(ids)), ids]
    return below


def _same(expected: Any, found: Any) -> bool:
    """Equal answers; numbers are as close as logits must be, and were compared as such."""
    if isinstance(expected, TokenPredictions):
        return bool(np.array_equal(expected.best, found.best))
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


def _row_by_row(model: nn.Module, kept: Kept | None = None) -> Forward:
    """The model on one row at a time, its text not padded: the simplest way there is, unlike the graph's."""
    of_row = forward_of(model, kept=kept)

    def forward(arrays: Batch) -> Logits:
        width = arrays.get("target_ids", arrays["input_ids"]).shape[1]
        rows = []
        for row, length in enumerate(arrays["attention_mask"].sum(axis=1)):
            own = {
                name: array[row : row + 1, : None if name == "target_ids" else length] for name, array in arrays.items()
            }
            with _one_thread():
                logits = of_row(own)
            if logits.ndim == 3:  # rows of unequal length, so that they can be stacked
                logits = np.pad(logits, ((0, 0), (0, width - logits.shape[1]), (0, 0)))
            rows.append(logits)
        return np.concatenate(rows)

    return forward


def _difference(expected: Logits, found: Logits) -> float:
    """Largest absolute difference; NaN where only one is NaN, infinite where the shapes differ."""
    if expected.shape != found.shape:
        return float("inf")
    compared = ~(np.isnan(expected) & np.isnan(found))  # a word without a piece is NaN on both sides
    return float(np.abs(expected - found)[compared].max(initial=0.0))
