"""One plain loop, for teachers and students, tasks and masked tokens alike."""

import math
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distill.errors import UserError
from distill.models.answers import Kept, forward_of, outcome
from distill.models.writing import TOKENS as WRITTEN_TOKENS
from distill.models.writing import write_on, write_texts
from distill.progress import track
from distill.results import CurvePoint
from distill.runtime import in_order, respond
from distill.runtime.forward import Forward, batches_by_tokens
from distill.runtime.generation import BEAMS
from distill.tasks import Task
from distill.tasks.task import Logits
from distill.tasks.text_to_text import units_of
from distill.text import Encoded, Example, Reading
from distill.training.ahead import ahead
from distill.training.average import MovingAverage
from distill.training.devices import Machine
from distill.training.learner import Learner, add_gradients, make_optimizer
from distill.training.memory import Room, halving
from distill.training.problem import Problem, Rows, steps_of
from distill.training.state import State, randomness

LOG_STEPS = 20
"""The loss is read at least this often; in between nothing waits for it."""
TOKENS = 4096
"""Padded tokens of a batch that is answered without gradients; larger ones are slower on a CPU."""
MOST_LOGITS = 2**25
"""Of such a batch, where each token has those of a whole vocabulary: 134 MB."""


@dataclass(frozen=True)
class TrainingResult:
    """How a training went. The model holds the weights of the best step."""

    validation: float
    thresholds: tuple[float, ...]
    """What the task chose on validation at the best step; empty where it chooses nothing."""
    best_step: int
    steps: int
    seconds: float
    curve: tuple[CurvePoint, ...]


def train(problem: Problem, state: State | None, machine: Machine) -> TrainingResult:
    """Trains ``problem.model`` in place and leaves it with the weights that were best on validation: those of a step,
    or with ``ema`` their moving average at it.

    Order of data, dropout and everything else follow from the seed. With a ``state`` in a folder, it is saved there
    from time to time, and a training that was stopped goes on from it, to what it would have become, with as many
    processes as before. Several processes share each step. With a budget of no steps the model is evaluated as it is.
    Raises UserError where the loss is not finite.
    """
    state = state or State()
    budget, device = problem.budget, machine.place
    torch.manual_seed(problem.seed)
    learner = Learner(problem.model, problem.objective, machine.autocast).to(device)
    machine.start_alike(learner)
    optimizer, schedule = make_optimizer(learner, problem)
    average = None if budget.ema is None else MovingAverage(problem.model, budget.ema)
    parts: dict[str, Any] = {"learner": learner, "optimizer": optimizer, "schedule": schedule}
    if average is not None:
        parts["average"] = average
    if not state.load(parts, machine.rank) and machine.rank:  # dropout of its own
        torch.manual_seed(int(np.random.default_rng([problem.seed, machine.rank, state.step]).integers(2**63)))
    evaluate_at = {math.ceil(budget.steps * (i + 1) / budget.evaluations) for i in range(budget.evaluations)}
    unread: list[Tensor] = []
    room = Room(state.tokens or budget.tokens)
    with closing(ahead(steps_of(problem, state.step, machine, device.type == "cuda", room))) as steps:
        for step in track(steps, problem.what, budget.steps - state.step):
            learner.train()
            problem.objective.step_to(state.step / budget.steps)
            unread.append(add_gradients(learner, problem.signal, step, machine))
            nn.utils.clip_grad_norm_(learner.parameters(), budget.clip)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            if average is not None:
                average.update()
            state.step += 1
            if state.step in evaluate_at or state.step % LOG_STEPS == 0:
                read_losses(unread, problem, state, machine)
            if state.step in evaluate_at:
                with nullcontext() if average is None else average.in_place():
                    evaluate(problem, state, machine)
                if budget.patience and state.bad >= budget.patience:
                    break
            if is_due(state, problem, machine):
                read_losses(unread, problem, state, machine)
                state.others = machine.gathered([randomness()], machine.processes)[1:]
                if machine.is_main:
                    state.tokens = room.tokens
                    state.save(parts)
    if not budget.steps:
        evaluate(problem, state, machine)
    if state.best_weights:
        problem.model.load_state_dict(state.best_weights)
    elif average is not None:
        average.put()
    problem.model.eval()
    if machine.is_main:
        state.forget()
    return TrainingResult(state.best, state.thresholds, state.best_step, state.step, state.seconds, tuple(state.curve))


def read_losses(unread: list[Tensor], problem: Problem, state: State, machine: Machine) -> None:
    """Moves losses from the device to the state. Raises UserError, with the first step concerned, for one that is not
    finite; the same in every process."""
    if not unread:
        return
    found = machine.total(torch.stack(unread)).tolist()
    for step, loss in enumerate(found, start=state.step - len(found) + 1):
        if not math.isfinite(loss):
            raise UserError(diverged(problem, f"the loss is {loss}", step, machine))
    state.losses += found
    unread.clear()


def diverged(problem: Problem, what: str, step: int, machine: Machine) -> str:
    """Why a training ends whose numbers are none, and which settings mend it."""
    mends = [f"lower {key}" for key in (problem.rate_key, problem.clip_key) if key is not None]
    if machine.precision != "fp32":
        mends.append("set precision=fp32")
    return (
        f"{problem.what}: {what} at step {step} of {problem.budget.steps} with learning rate {problem.rate:g}; "
        + ", or ".join(mends)
    )


def evaluate(problem: Problem, state: State, machine: Machine) -> None:
    """One more point of the curve; the weights are kept where they are the best so far. One process decides.

    Raises UserError where the model answers with what is no number.
    """
    loss = sum(state.losses) / len(state.losses) if state.losses else math.nan  # untrained
    state.losses = []
    if problem.validation is None:
        state.curve.append(CurvePoint(state.step, loss, math.nan))
        state.best_step, state.best = state.step, math.nan
        return
    reached, chosen = machine.decide(score(problem.model, problem.validation, machine))
    if not math.isfinite(reached):
        what = f"{problem.validation.task.metric.title} on validation is {reached}"
        raise UserError(diverged(problem, what, state.step, machine))
    state.curve.append(CurvePoint(state.step, loss, reached))
    if reached <= state.best:
        state.bad += 1
        return
    state.best, state.best_step, state.bad, state.thresholds = reached, state.step, 0, chosen
    state.best_weights = {name: t.detach().cpu().clone() for name, t in problem.model.state_dict().items()}


def is_due(state: State, problem: Problem, machine: Machine) -> bool:
    """Whether the state is to be saved now: the main process's clock says so, and the others are asked now and then."""
    if state.folder is None or (machine.processes > 1 and state.step % LOG_STEPS):
        return False
    due = machine.decide(time.monotonic() - state.saved > problem.budget.checkpoint_seconds)
    if due:
        state.saved = time.monotonic()
    return due


def score(model: nn.Module, rows: Rows, machine: Machine) -> tuple[float, tuple[float, ...]]:
    """The task's primary metric, and the thresholds it was reached with; NaN where an answer is no number."""
    units = answer_texts(model, rows.reading, rows.task, rows.encoded, machine, beams=1)
    seen = (u[e.word_starts >= 0] if rows.task.words else u for u, e in zip(units, rows.encoded, strict=True))
    if not all(np.isfinite(unit).all() for unit in seen):
        return math.nan, ()
    fitted = rows.task.fit(units, rows.examples)
    return rows.task.metric.score(
        fitted.predictions(units, rows.examples), rows.task.gold(rows.examples)
    ), fitted.thresholds


def answer_texts(  # as many parameters as :func:`ask`, and the width of a search
    model: nn.Module,
    reading: Reading,
    task: Task,
    examples: Sequence[Encoded],
    machine: Machine,
    what: str = "",
    beams: int = BEAMS,
) -> list[Logits]:
    """What a model answers, [U, C] each: as :func:`predict`, or what it writes where that is what counts."""
    if task.predicts_tokens:
        return predict(model, reading, task, examples, machine, what)
    return written_texts(model, reading, examples, machine, what, beams)


def written_texts(  # as many parameters as :func:`write_texts`, and the machine
    model: nn.Module,
    reading: Reading,
    sources: Sequence[Encoded],
    machine: Machine,
    what: str = "",
    beams: int = BEAMS,
    tokens: int = WRITTEN_TOKENS,
) -> list[Logits]:
    """What an encoder-decoder writes from each source (:func:`write_texts`), as units."""
    own = sources[machine.rank :: machine.processes]
    written = write_texts(model.to(machine.place), reading, own, beams, what, tokens)
    return machine.gathered([units_of(text) for text in written], len(sources))


def continue_texts(
    model: nn.Module, reading: Reading, texts: Sequence[str], seed: Sequence[int], machine: Machine, what: str
) -> list[str]:
    """Texts that a language model writes from the beginnings of these (:func:`write_on`), the same for any number of
    processes: each batch has random numbers of its own."""
    prompts = [reading.prompt(text) for text in texts]
    batches = batches_by_tokens([1] * len(prompts), [len(ids) for ids in prompts], WRITTEN_TOKENS)
    numbers = range(machine.rank, len(batches), machine.processes)
    own, model = [], model.to(machine.place)
    for number in track(numbers, what):
        torch.manual_seed(int(np.random.default_rng([*seed, number]).integers(2**63)))
        own.append(write_on(model, reading, [prompts[row] for row in batches[number]]))
    written = [""] * len(texts)
    for rows, of_batch in zip(batches, machine.gathered(own, len(batches)), strict=True):
        for row, text in zip(rows, of_batch, strict=True):
            written[row] = text
    return written


def predict(
    model: nn.Module,
    reading: Reading,
    task: Task,
    examples: Sequence[Example] | Sequence[Encoded],
    machine: Machine,
    what: str = "",
) -> list[Logits]:
    """Logits of each example, [U, C] of float32, in the order given. The model is put into eval mode.

    Examples are texts, or what was read of them. Several processes share them, and each gets all answers.
    """
    return ask(forward_on(machine, model, outcome if task.writes else None), reading, task, examples, machine, what)


def forward_on(machine: Machine, model: nn.Module, kept: Kept | None = None) -> Forward:
    """The model, put into eval mode, where the machine computes; what does not fit in memory is cut in two."""
    return halving(forward_of(model.to(machine.place).eval(), machine.autocast, kept))


def ask(
    forward: Forward,
    reading: Reading,
    task: Task,
    examples: Sequence[Example] | Sequence[Encoded],
    machine: Machine,
    what: str = "",
) -> list[Logits]:
    """The same of a model that is ready to answer."""
    own: Any = examples
    if machine.processes > 1:
        own = [examples[i] for i in range(machine.rank, len(examples), machine.processes)]
    found = in_order(respond(forward, reading, task, own, tokens_of_answers(reading, task), what))
    return machine.gathered(found, len(examples))


def tokens_of_answers(reading: Reading, task: Task) -> int:
    """Padded tokens of a batch that is answered without gradients."""
    return min(TOKENS, max(1, MOST_LOGITS // reading.vocabulary_size)) if task.writes else TOKENS
