"""``bundle.json``: what a bundle is made of, and whether it is whole."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.errors import UserError
from distill.tasks import from_section

BUNDLE_SCHEMA = 1


@dataclass(frozen=True)
class Manifest:
    """The content of ``bundle.json``."""

    schema_version: int
    name: str
    task: dict[str, Any]
    """Name, labels and metric; windows and thresholds where the task has them."""
    graphs: dict[str, dict[str, str]]
    """For each variant, the file of each role; relative to the bundle."""
    inputs: list[str]
    outputs: list[str]
    max_length: int
    """In tokens, special tokens counted."""
    pad_id: int
    default_variant: str
    sha256: dict[str, str]
    """Of every file that is run or read to run it."""
    licences: dict[str, str]
    versions: dict[str, str]
    workload: dict[str, list[int]] = field(default_factory=dict)
    """``token_lengths`` of typical texts, and ``second_lengths``, those of the second texts of pairs among them, for
    `distill measure`. Lengths alone, no text."""


def graph_file(role: str, variant: str = "fp32") -> str:
    """Where a graph stands in a bundle: one suffix a variant, as in the hub's ONNX repositories."""
    return f"onnx/{role}.onnx" if variant == "fp32" else f"onnx/{role}_{variant}.onnx"


def sha256_of(path: Path) -> str:
    """Hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(directory: Path) -> Manifest:
    """Reads ``bundle.json``. Raises UserError where it is missing, malformed, newer, or names files outside."""
    path = directory / "bundle.json"
    old = directory.parent / f".{directory.name}.old"  # with_name refuses the folder "."
    if not directory.exists() and old.is_dir():  # a writer was stopped between two renames: the old bundle is whole
        old.rename(directory)
    if not directory.is_dir():
        raise UserError(f"no folder {directory}; give the folder of a bundle, such as exports/quickstart")
    if not path.is_file():
        raise UserError(f"{directory} is not a bundle: it has no bundle.json; `distill run` writes one")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = data["schema_version"]
        if version != BUNDLE_SCHEMA:
            raise UserError(f"{path} has schema version {version}; this distill reads version {BUNDLE_SCHEMA}")
        manifest = Manifest(**data)
        files = [file for graphs in manifest.graphs.values() for file in graphs.values()]
        if manifest.default_variant not in manifest.graphs:
            raise ValueError("default variant missing")
        if not all("model" in graphs for graphs in manifest.graphs.values()):
            raise ValueError("a variant has no graph of the role model")
        if not {"name", "metric", "labels"} <= set(manifest.task) or not isinstance(manifest.sha256, dict):
            raise ValueError("name, metric or labels of the task, or sha256, missing")
        from_section(manifest.task)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}); export the bundle again") from error
    root = directory.resolve()
    for file in [*files, *manifest.sha256]:
        if not (root / file).resolve().is_relative_to(root):
            raise UserError(f"{path} names a file outside of the bundle: {file}")
    return manifest


def verify(directory: Path, manifest: Manifest, files: list[str]) -> None:
    """Raises UserError where one of ``files`` is missing, or is not what ``bundle.json`` says it is."""
    for file in files:
        if not (directory / file).is_file():
            raise UserError(
                f"the bundle {directory} is incomplete: {file} is missing; export it again or copy it whole"
            )
        expected, found = manifest.sha256.get(file), sha256_of(directory / file)
        if found != expected:
            raise UserError(
                f"{directory / file} was altered: its sha256 is {found}, bundle.json says {expected}; export it again"
            )
