"""A stage: a value that says what is to be computed, and from what."""

import ast
import dataclasses
import hashlib
import inspect
import json
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from distill.config import Source
from distill.sources import identity_of
from distill.tasks import Task
from distill.training.devices import Machine

PACKAGE = Path(__file__).resolve().parent.parent
TRAINING_ROOMS = ("training", "models", "objectives", "text", "tasks", "metrics", "runtime/forward.py")
TRAINING_LIBRARIES = ("torch", "transformers", "accelerate", "tokenizers", "numpy")


@dataclass(frozen=True)
class Stage(ABC):
    """What one folder of results is made of. Its fields are its fingerprint, so that a stage that computes with what it
    has in hand reads nothing that is not fingerprinted. The one exception says so with ``NO_MATTER``: a field that is
    only checked, and changes no result."""

    name: ClassVar[str]
    """Of its folders."""
    rooms: ClassVar[tuple[str, ...]]
    """Rooms and files of the package that its result depends on, besides the file that it stands in."""
    libraries: ClassVar[tuple[str, ...]]
    """Packages whose version its result depends on."""
    together: ClassVar[bool] = False
    """Every process of the run computes it, and the main one writes; else that one alone computes, and the others
    wait."""
    on_device: ClassVar[bool] = False
    """Its result depends on device and precision."""
    by_content: ClassVar[bool] = False
    """What it leaves is told by its files: where another way led to the same ones, what was made of those holds."""

    @property
    @abstractmethod
    def what(self) -> str:
        """What is computed, in words."""

    @property
    def shared(self) -> bool:
        """Whether other runs do a part of it (:meth:`help_out`) while one computes it."""
        return False

    @abstractmethod
    def compute(self, folder: Path, machine: Machine) -> None:
        """Fills a folder, which may hold what a stage that was stopped left in it."""

    def help_out(self, folder: Path, machine: Machine) -> None:  # noqa: B027 - most have no part to give away
        """Computes parts that nobody else computes, in the folder that another run is filling."""

    def content(self, machine: Machine) -> dict[str, Any]:
        """All that the result depends on, in plain JSON values."""
        file = Path(inspect.getfile(type(self)))
        own = file.relative_to(PACKAGE).as_posix() if file.is_relative_to(PACKAGE) else str(file)
        return {
            "stage": self.name,
            "inputs": fields_of(self),
            "source": source_fingerprint((*self.rooms, own)),
            "libraries": library_versions(self.libraries),
            **({"device": machine.device, "precision": machine.precision} if self.on_device else {}),
        }

    def fingerprint(self, machine: Machine) -> str:
        """Digest of :meth:`content`, hexadecimal."""
        content = json.dumps(self.content(machine), sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def identity(value: Any) -> Any:
    """What a field of a stage is, in plain JSON values.

    A value with an ``identity`` (an artifact, a part of the data, a reading) is that; a source is the state of what it
    names; a task is its section of ``bundle.json`` and, where it stands outside of the package, its source; a dataclass
    is its fields, without those that do not matter.
    Raises TypeError for what cannot be told from another value of its kind.
    """
    if hasattr(value, "identity"):
        return value.identity
    if isinstance(value, Source):
        return identity_of(value)
    if isinstance(value, Task):
        return identity_of_task(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return fields_of(value)
    if isinstance(value, dict):
        return {str(key): identity(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [identity(one) for one in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"{type(value).__name__} has no identity; a stage cannot be told by it")


def identity_of_task(task: Task) -> dict[str, Any]:
    """What a task was built with. The source of one that was registered from elsewhere is in no room, so it stands
    here."""
    file = getattr(sys.modules.get(type(task).__module__), "__file__", None)
    if file is None or Path(file).resolve().is_relative_to(PACKAGE):
        return task.section()
    return {**task.section(), "source": file_fingerprint(Path(file)).hex()}


def fields_of(value: Any) -> dict[str, Any]:
    """The identity of each field of a dataclass, without those that do not matter."""
    fields = [f for f in dataclasses.fields(value) if f.metadata.get("matters", True)]
    return {f.name: identity(getattr(value, f.name)) for f in fields}


@cache
def source_fingerprint(rooms: tuple[str, ...]) -> str:
    """Digest of the source of rooms, each a folder or file of the package."""
    digest = hashlib.blake2b(digest_size=16)
    for room in sorted(rooms):
        path = PACKAGE / room
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(room.encode() if file == path else file.relative_to(PACKAGE).as_posix().encode())
            digest.update(file_fingerprint(file))
    return digest.hexdigest()


@cache
def file_fingerprint(file: Path) -> bytes:
    """Digest of what a file's source does; many stages share rooms."""
    return hashlib.blake2b(code_of(file.read_text(encoding="utf-8")).encode(), digest_size=16).digest()


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
