"""Stages that are computed shard by shard, by all processes and runs that need them."""

import contextlib
import os
import shutil
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from distill.runtime.forward import Forward
from distill.stages.artifacts import Artifact
from distill.stages.context import bears_padding
from distill.stages.stage import Stage
from distill.tasks import Task
from distill.tasks.task import Logits
from distill.text import Encoded, Reading
from distill.training.devices import Machine

SHARD = 2**15
"""Texts that are labelled before they are kept, and that one of several processes takes at a time."""
SHARD_TOKENS = 2**20
"""Tokens of these texts, where each has a soft label over a vocabulary: 273 MB of :func:`most_likely`'s numbers."""

Ask = Callable[[Sequence[Encoded], Path, str], list[Logits]]
"""What a model says of texts, [U, C] each, as it is told what they are; what it said is kept in a folder meanwhile."""


class InShards(Stage):
    """Every process takes shards, of other runs too, and the main one those that another left unfinished."""

    together: ClassVar[bool] = True

    @property
    def sharded(self) -> bool:
        """Whether a model is asked of which each process has a part: then the main process takes all shards, and the
        others take part in what it asks."""
        return False

    @property
    def shared(self) -> bool:
        """With runs whose processes each have all that a shard needs."""
        return not self.sharded

    @abstractmethod
    def shards(self, machine: Machine) -> Sequence[str]:
        """The name of each."""

    @abstractmethod
    def maker(self, work: Path, machine: Machine) -> AbstractContextManager[Callable[[str], None]]:
        """What computes a shard, and leaves it in ``work`` under its name by a rename."""

    @abstractmethod
    def store(self, folder: Path, shards: Sequence[Path], machine: Machine) -> None:
        """Puts all shards together."""

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves what :meth:`store` makes."""
        work, used = folder / "work", folder / "used"
        if not machine.decide(used.exists()):  # else it was stopped after the shards were stored
            self.make(work, machine, wait=machine.is_main)
            machine.barrier()
            if machine.is_main:
                self.store(folder, [work / shard for shard in self.shards(machine)], machine)
                work.rename(used)  # at once: a helper that is late finds no folder to work in
        if machine.is_main:
            shutil.rmtree(used)

    def help_out(self, folder: Path, machine: Machine) -> None:
        """Computes shards that are free."""
        self.make(folder / "work", machine, wait=False)

    def make(self, work: Path, machine: Machine, wait: bool) -> None:
        """Computes shards that nobody else computes, and keeps them in a folder."""
        from distill.training.shards import work_off

        shards = list(self.shards(machine))
        with self.maker(work, machine) as make:
            with contextlib.suppress(FileNotFoundError):  # another run has just finished
                work.mkdir(exist_ok=True)
            if machine.is_main or not self.sharded:
                work_off(work, shards, make, len(shards) * machine.rank // machine.processes, wait)


@contextmanager
def asker(
    model: Artifact, reading: Reading, task: Task, machine: Machine, sharded: bool, to_learn: bool = True
) -> Iterator[Ask]:
    """A model that is ready to say something of one shard after the other; where it is ``sharded`` over processes, to
    the main one."""
    from distill.models import load_model
    from distill.models.answers import check_finite, most_likely, outcome
    from distill.runtime.forward import ALONE, in_order, respond
    from distill.training import Answers, forward_on, tokens_of_answers

    loaded, of_tokens = load_model(model.directory / "model", task).model, most_likely if to_learn else outcome
    kept = of_tokens if task.writes else None
    together = tokens_of_answers(reading, task) * (machine.processes if sharded else 1)
    tokens = together if bears_padding(model) else ALONE
    ready: AbstractContextManager[Forward]
    if sharded:
        from distill.training.sharded import sharded_on

        ready = sharded_on(machine, loaded, kept)
    else:
        ready = nullcontext(forward_on(machine, loaded, kept))
    with ready as forward:

        def ask(encoded: Sequence[Encoded], folder: Path, what: str) -> list[Logits]:
            answers = Answers(forward, folder / str(tokens))  # those of batches of another size are no use
            units = in_order(respond(answers, reading, task, encoded, tokens, what))
            check_finite(units, encoded, task, "the teacher")
            return units

        yield ask


def cut_by_tokens(shard: slice, tokens: NDArray[np.int64]) -> Iterator[slice]:
    """Neighbouring texts of a shard, of :data:`SHARD_TOKENS` tokens at most, or one text. ``tokens``: [N], of every
    text, those of other shards too."""
    start, until = shard.start, np.cumsum(tokens[shard])
    while until[-1] > SHARD_TOKENS and len(until) > 1:
        fit = max(1, int(np.searchsorted(until, SHARD_TOKENS, side="right")))
        yield slice(start, start + fit)
        start, until = start + fit, until[fit:] - until[fit - 1]
    yield slice(start, shard.stop)


def keep_folder(aside: Path, folder: Path) -> None:
    """Gives a folder that is whole its name, where no other process has done so."""
    try:
        aside.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(aside)


def new_folder(beside: Path) -> Path:
    """A folder of this process, to be filled and then renamed."""
    aside = beside.with_name(f"new-{os.getpid()}-{beside.name}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    return aside
