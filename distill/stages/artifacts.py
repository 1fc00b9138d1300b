"""What stages leave behind, so that nothing already computed is computed again.

An artifact is a folder named after its stage and a fingerprint of everything the result depends on: the stage's part of
the configuration, the fingerprints of the artifacts it reads, device and precision, versions of the libraries and the
source of the stage's own code.
"""

import ast
import contextlib
import dataclasses
import errno
import hashlib
import inspect
import json
import os
import shutil
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from distill.errors import UserError
from distill.progress import say
from distill.results import Figure, StageCost, write_aside
from distill.tasks.task import Logits

PACKAGE = Path(__file__).resolve().parent.parent
DONE = "done.json"
CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


@dataclass(frozen=True)
class Artifact:
    """A finished stage."""

    directory: Path
    fingerprint: str
    cost: StageCost

    def read(self, name: str) -> Any:
        """A JSON file of the artifact."""
        return json.loads((self.directory / name).read_text(encoding="utf-8"))


@cache
def source_fingerprint(rooms: tuple[str, ...]) -> str:
    """Digest of the source of rooms, each a folder or file of the package."""
    digest = hashlib.blake2b(digest_size=16)
    for room in sorted(rooms):
        path = PACKAGE / room
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(PACKAGE).as_posix().encode())
            digest.update(code_of(file.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()


def code_of(source: str) -> str:
    """What a source does: its syntax tree, without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


@cache
def library_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Versions of installed packages, without importing them."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return found


class Artifacts:
    """The artifacts of all runs under one folder: runs share what they have in common, such as a fine-tuned teacher."""

    def __init__(self, root: Path, meter: Callable[[], Any]) -> None:
        self.root = root
        self.meter = meter
        """Makes a context manager with ``seconds`` and ``figure`` (energy)."""

    def stage(
        self,
        name: str,
        what: str,
        inputs: dict[str, Any],
        rooms: Sequence[str],
        libraries: Sequence[str],
        compute: Callable[[Path], None],
    ) -> Artifact:
        """The artifact of a stage, computed where it is not there yet.

        ``compute`` gets a folder to fill; the folder gets its name when the stage is done. A stage that was stopped
        finds the folder as it left it.
        """
        content = {
            "inputs": plain(inputs),
            "source": source_fingerprint(tuple(rooms)),
            "stage": code_of(textwrap.dedent(inspect.getsource(compute))),
            "libraries": library_versions(tuple(libraries)),
        }
        fingerprint = hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()
        directory = self.root / f"{name}-{fingerprint[:16]}"
        if (directory / DONE).is_file():
            done = json.loads((directory / DONE).read_text(encoding="utf-8"))
            return Artifact(directory, fingerprint, StageCost(what, done["seconds"], Figure(**done["energy"]), True))
        partial = directory.with_name(directory.name + ".partial")
        partial.mkdir(parents=True, exist_ok=True)
        with alone(partial, what):
            if (directory / DONE).is_file():  # another run was at it
                shutil.rmtree(partial, ignore_errors=True)
                return self.stage(name, what, inputs, rooms, libraries, compute)
            return self._compute(directory, partial, fingerprint, what, content, compute)

    def _compute(
        self,
        directory: Path,
        partial: Path,
        fingerprint: str,
        what: str,
        content: dict[str, Any],
        compute: Callable[[Path], None],
    ) -> Artifact:
        say(what)
        start = time.monotonic()
        try:
            with self.meter() as meter:
                compute(partial)
        except UserError:
            raise
        except Exception as error:  # torch and safetensors have errors of their own for a full disk
            if (isinstance(error, OSError) and error.errno in CANNOT_WRITE) or no_room(self.root):
                reason = error.strerror if isinstance(error, OSError) and error.strerror else os.strerror(errno.ENOSPC)
                raise UserError(
                    f"{what}: cannot write to {self.root} ({reason}); free space or set outputs=FOLDER"
                ) from error
            raise
        cost = StageCost(what, time.monotonic() - start, meter.figure)
        write_aside(
            partial / DONE,
            json.dumps({"seconds": cost.seconds, "energy": dataclasses.asdict(cost.energy), **content}, indent=1),
        )
        shutil.rmtree(directory, ignore_errors=True)
        partial.rename(directory)
        return Artifact(directory, fingerprint, cost)


@contextlib.contextmanager
def alone(folder: Path, what: str) -> Iterator[None]:
    """Waits for another process that fills the same folder, where the system has locks."""
    try:
        import fcntl
    except ImportError:  # not a Unix
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run: {what}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)


def no_room(folder: Path) -> bool:
    """Whether the disk is full."""
    return shutil.disk_usage(folder).free < 1 << 20


def plain(value: Any) -> Any:
    """Dataclasses, tuples and paths as JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def save_units(path: Path, units: Sequence[Logits]) -> None:
    """Writes logits of examples, one [U, C] array each."""
    offsets = np.concatenate([[0], np.cumsum([len(u) for u in units])]).astype(np.int64)
    np.savez(path, logits=np.concatenate(list(units)).astype(np.float32), offsets=offsets)


def load_units(path: Path) -> list[Logits]:
    """Reads what :func:`save_units` wrote."""
    with np.load(path, allow_pickle=False) as data:
        return np.split(data["logits"], data["offsets"][1:-1])
