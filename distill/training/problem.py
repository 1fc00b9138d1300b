"""What is trained on what, and the steps that follow from it."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distill.config import TrainConfig
from distill.errors import UserError
from distill.objectives import Objective
from distill.tasks import Task
from distill.text import Encoded, Example, Reading, TokenStore, rows_of
from distill.training.batching import Batch, each_tensor, make_batch
from distill.training.devices import Machine
from distill.training.memory import MEND, Room
from distill.training.planning import Epoch, Index, cut
from distill.training.signal import Signal, Stored, StoredInside

WITHOUT_LABEL = Example("")
"""Stands for a text of which no label and no words are kept."""


class Material(Protocol):
    """N texts that batches are made of."""

    @property
    def lengths(self) -> Sequence[int] | NDArray[np.int32]:
        """[N] tokens, which the order of an epoch is planned by."""

    def sizes(self, rows: Index) -> tuple[list[int], list[int]]:
        """Windows of these texts, and tokens of the longest window of each."""

    def batches(
        self, rows: Index, parts: Sequence[Index], random: np.random.Generator, signal: Signal | None
    ) -> list[Batch]:
        """The texts of a step, in parts (numbers within ``rows``). Whatever is drawn at ``random`` is drawn for all
        rows first, so that it depends neither on the parts nor on the number of processes."""


@dataclass(frozen=True)
class Rows:
    """Texts that were read once, with the task they are read for."""

    task: Task
    reading: Reading
    examples: Sequence[Example]
    encoded: Sequence[Encoded]

    @classmethod
    def read(cls, task: Task, reading: Reading, examples: Sequence[Example]) -> Self:
        """Reads the texts now."""
        return cls(task, reading, examples, task.encode(reading, examples))

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """[N], of the first window."""
        if isinstance(self.encoded, TokenStore):
            return self.encoded.first_lengths
        return np.array([len(e.input_ids) for e in self.encoded], dtype=np.int32)

    def at(self, row: int) -> tuple[Encoded, Example]:
        """What was read of a text, and the text."""
        return self.encoded[row], self.examples[row]

    def sizes(self, rows: Index) -> tuple[list[int], list[int]]:
        """Windows of these texts, and tokens of the longest window of each."""
        asked = [self.at(int(i))[0] for i in rows]
        return [e.windows for e in asked], [max(len(row.input_ids) for row in rows_of([e])) for e in asked]

    def batches(
        self, rows: Index, parts: Sequence[Index], random: np.random.Generator, signal: Signal | None
    ) -> list[Batch]:
        """With labels, and with what is stored of the teacher's. Nothing is random."""
        made = []
        for part in parts:
            own = [int(i) for i in rows[part]]
            soft = [signal[i] for i in own] if isinstance(signal, Stored) else None
            encoded, examples = zip(*map(self.at, own), strict=True)
            batch = make_batch(encoded, examples, self.task, self.reading.pad_id, soft)
            made.append(replace(batch, states=signal.states_of(own)) if isinstance(signal, StoredInside) else batch)
        return made


@dataclass(frozen=True)
class StreamedRows(Rows):
    """The same, and behind them M texts without labels that lie in files."""

    streamed: TokenStore

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """[N + M], of the first window."""
        return np.concatenate([super().lengths, self.streamed.first_lengths])

    def at(self, row: int) -> tuple[Encoded, Example]:
        """What was read of a text; of one that was streamed nothing else is known."""
        behind = row - len(self.examples)
        return super().at(row) if behind < 0 else (self.streamed[behind], WITHOUT_LABEL)


@dataclass(frozen=True)
class Problem:
    """What is trained on what."""

    model: nn.Module
    """Trained in place."""
    objective: Objective
    signal: Signal | None
    """None where no term reads the teacher. :class:`Stored` speaks of ``texts`` by their numbers."""
    texts: Material
    validation: Rows | None
    """None: nothing is chosen, and the weights of the last step are kept."""
    budget: TrainConfig
    rate: float
    """Learning rate at its highest."""
    seed: int
    """Order, dropout and all else follow from it."""
    what: str
    """In words, for progress and messages."""
    rate_key: str | None = "train.learning_rates"
    """The setting that ``rate`` comes from, for messages; None where it is fixed."""
    clip_key: str | None = "train.clip"
    """The same of ``budget.clip``."""


@dataclass(frozen=True)
class Step:
    """What one process does in one step."""

    batches: list[Batch]
    """Forward passes; none where fewer texts are left than there are processes."""
    counts: Tensor
    """[T], what each term counts in them, on the CPU"""
    tokens: int
    """Of a forward pass, at most. A single text may be above."""
    room: Room
    """Of all steps of the training."""
    cut: Callable[[int], list[Batch]]
    """The same texts in passes of at most so many tokens."""

    def smaller(self) -> "Step":
        """The same step in smaller passes, as all that come after it. Raises UserError where each pass is one text."""
        largest = max(pass_size(batch) for batch in self.batches)
        self.room.shrink(largest)
        smaller = self.fitted()
        if max(pass_size(batch) for batch in smaller.batches) == largest:
            raise UserError(f"out of memory with one text of {largest:,} tokens in a forward pass; {MEND}")
        return smaller

    def fitted(self) -> "Step":
        """The step in passes that there is room for, which may have become less since it was made."""
        tokens = self.room.tokens
        return self if self.tokens <= tokens else replace(self, batches=self.cut(tokens), tokens=tokens)


def pass_size(batch: Batch) -> int:
    """Padded tokens."""
    return batch.inputs["input_ids"].numel()


def steps_of(
    problem: Problem, first: int, machine: Machine, pin: bool = False, room: Room | None = None
) -> Iterator[Step]:
    """This process's share of each step from ``first`` on.

    A step is ``batch_size`` texts, whatever their length and however many processes there are: they are dealt out, and
    each share is cut into forward passes of at most ``tokens``, or what there is ``room`` for. ``pin`` keeps tensors
    where a GPU copies them from.
    """
    budget, texts = problem.budget, problem.texts
    room = room or Room(budget.tokens)
    per_epoch = math.ceil(len(texts.lengths) / budget.batch_size)
    plan: Epoch | None = None
    for step in range(first, budget.steps):
        epoch, in_epoch = divmod(step, per_epoch)
        if plan is None or in_epoch == 0:
            plan = Epoch(texts.lengths, budget.batch_size, problem.seed, epoch)
        rows = plan[in_epoch]
        own = np.arange(machine.rank, len(rows), machine.processes)
        cut_again = partial(batches_of, problem, step, rows, own)
        tokens = room.tokens
        batches = cut_again(tokens)
        counts = torch.zeros(len(problem.objective.terms), dtype=torch.int64)
        for batch in batches:
            counts += problem.objective.counts(batch)
        yield Step(each_tensor(batches, Tensor.pin_memory) if pin else batches, counts, tokens, room, cut_again)


def batches_of(problem: Problem, step: int, rows: Index, own: Index, tokens: int) -> list[Batch]:
    """A process's ``own`` of the ``rows`` of a step, in forward passes of at most ``tokens``."""
    parts = [own[part] for part in cut(*problem.texts.sizes(rows[own]), tokens)]
    return problem.texts.batches(rows, parts, np.random.default_rng([problem.seed, step]), problem.signal)
