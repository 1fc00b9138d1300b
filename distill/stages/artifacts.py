"""What stages leave behind, so that nothing already computed is computed again.

An artifact is a folder named after its stage and the stage's fingerprint.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill.errors import UserError
from distill.progress import say
from distill.results import Figure, StageCost, write_aside
from distill.stages.costs import counted, energy_of, of_processes, stretches_in
from distill.stages.stage import Stage
from distill.tasks.task import Logits
from distill.training.devices import Machine
from distill.training.memory import is_out_of_memory
from distill.training.shards import lock

DONE = "done.json"
HELPER = "helper"
CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


@dataclass(frozen=True)
class Artifact:
    """A finished stage."""

    directory: Path
    identity: str
    """The fingerprint of the stage, or the digest of what it left, where that tells it."""
    cost: StageCost

    def read(self, name: str) -> Any:
        """A JSON file of the artifact."""
        return json.loads((self.directory / name).read_text(encoding="utf-8"))


class Artifacts:
    """The artifacts of all runs under one folder: runs share what they have in common, such as a fine-tuned teacher."""

    def __init__(self, root: Path, machine: Machine, meter: Callable[[], Any]) -> None:
        self.root = root
        self.machine = machine
        self.meter = meter
        """Makes a context manager with ``seconds``, ``figure`` (energy), and both ``so_far``."""

    def get(self, stage: Stage) -> Artifact:
        """The artifact of a stage, computed where it is not there yet.

        The stage gets a folder to fill, which gets its name when the stage is done. A stage that was stopped finds the
        folder as it left it.
        """
        # One process looks, as two might find a source in two states.
        fingerprint = self.machine.by_main(lambda: stage.fingerprint(self.machine))
        directory = self.root / f"{stage.name}-{fingerprint[:16]}"
        cached = True
        if not self.machine.decide((directory / DONE).is_file()):
            partial = directory.with_name(directory.name + ".partial")
            if self.machine.is_main:
                partial.mkdir(parents=True, exist_ok=True)
                with alone(partial, stage.what, lambda: self._help(stage, partial)):
                    sweep(partial)
                    cached = (directory / DONE).is_file()  # another run was at it
                    if self.machine.decide(cached):
                        shutil.rmtree(partial, ignore_errors=True)
                    else:
                        self._finish(stage, directory)
            elif not self.machine.decide(False) and stage.together:
                self._compute(stage, partial)
            self.machine.barrier()
        done = json.loads((directory / DONE).read_text(encoding="utf-8"))
        cost = StageCost(stage.what, done["seconds"], Figure(**done["energy"]), cached)
        return Artifact(directory, done.get("digest", fingerprint), cost)

    def again(self, stage: Stage) -> Artifact:
        """The artifact of a stage, computed once more, since what it left is of no use."""
        directory = self.get(stage).directory
        self.machine.by_main(lambda: (directory / DONE).unlink(missing_ok=True))
        return self.get(stage)

    def written(self, stage: Stage) -> int:
        """Bytes that a stage has on the disk already, done or not; for the process that looks."""
        directory = self.root / f"{stage.name}-{stage.fingerprint(self.machine)[:16]}"
        total = 0
        for folder in (directory, directory.with_name(directory.name + ".partial")):
            for path in folder.rglob("*"):
                with contextlib.suppress(FileNotFoundError):  # another run is at it
                    total += path.stat().st_size
        return total

    def _finish(self, stage: Stage, directory: Path) -> None:
        """Computes a stage, and gives its folder the name when it is done."""
        content = stage.content(self.machine)
        partial = directory.with_name(directory.name + ".partial")
        say(stage.what)
        seconds, energy = self._compute(stage, partial)
        for spent in partial.glob("spent-*.json"):
            spent.unlink()
        took = {"seconds": seconds, "energy": dataclasses.asdict(energy)}
        told = {"digest": digest_of(partial)} if stage.by_content else {}
        write_aside(partial / DONE, json.dumps({**took, **told, **content}, indent=1))
        shutil.rmtree(directory, ignore_errors=True)
        partial.rename(directory)

    def _help(self, stage: Stage, partial: Path) -> None:
        """Does a part of what another run is at, where the stage has parts; its cost is that run's to tell."""
        if not stage.shared:
            return
        say(f"{stage.what}, together with another run")
        own = f"spent-{HELPER}-{socket.gethostname()}-{os.getpid()}.json"
        with counted(partial / own, self.meter(), self.machine.processes):
            stage.help_out(partial, self.machine)

    def _compute(self, stage: Stage, partial: Path) -> tuple[float, Figure]:
        """Fills a folder. Gives seconds and energy of all stretches, and of all processes where they share the stage.

        Raises UserError where the disk or the memory is full.
        """
        machine = self.machine
        try:
            with counted(partial / f"spent-{machine.rank}.json", self.meter(), machine.processes) as stretches:
                stage.compute(partial, machine)
        except UserError:
            raise
        except Exception as error:  # torch and safetensors have errors of their own for a full disk
            if (isinstance(error, OSError) and error.errno in CANNOT_WRITE) or no_room(self.root):
                reason = error.strerror if isinstance(error, OSError) and error.strerror else os.strerror(errno.ENOSPC)
                raise UserError(
                    f"{stage.what}: cannot write to {self.root} ({reason}); free space or set outputs=FOLDER"
                ) from error
            said = " ".join(str(error).split())[:200] or type(error).__name__
            if machine.precision == "bf16" and "bfloat16" in said.lower():
                raise UserError(
                    f"{stage.what}: this model does not compute in bf16 ({said}); set precision=fp32"
                ) from error
            if is_out_of_memory(error):
                raise UserError(
                    f"{stage.what}: out of memory on this {machine.device} ({said}); take a smaller model, or lower "
                    "train.tokens, teacher.train.tokens, compression.train.tokens or data.max_length"
                ) from error
            raise
        if machine.is_main:
            for helper in sorted(partial.glob(f"spent-{HELPER}-*.json")):
                stretches += stretches_in(helper)
        energy = energy_of(stretches)
        if stage.together:
            energy = of_processes(machine.gathered([energy], machine.processes), machine.device)
        return sum(one.seconds for one in stretches), energy


def digest_of(folder: Path) -> str:
    """Of the names and bytes of all files in it, hexadecimal."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def sweep(folder: Path) -> None:
    """Removes what a process was about to write when it was killed: until it is whole, its name begins with a dot."""
    for path in list(folder.rglob(".*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(folder: Path, what: str, help_out: Callable[[], None]) -> Iterator[None]:
    """Helps another process that fills the same folder, where ``help`` can, and waits for it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not lock(descriptor, wait=False):
            help_out()
            say(f"waiting for another run: {what}")
            lock(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def no_room(folder: Path) -> bool:
    """Whether the disk is full."""
    return shutil.disk_usage(folder).free < 1 << 20


def save_units(path: Path, units: Sequence[Logits]) -> None:
    """Writes logits of examples, one [U, C] array each."""
    offsets = np.concatenate([[0], np.cumsum([len(u) for u in units])]).astype(np.int64)
    np.savez(path, logits=np.concatenate(list(units)).astype(np.float32), offsets=offsets)


def load_units(path: Path) -> list[Logits]:
    """Reads what :func:`save_units` wrote."""
    with np.load(path, allow_pickle=False) as data:
        return np.split(data["logits"], data["offsets"][1:-1])
