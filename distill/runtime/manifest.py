"""``bundle.json``: what a bundle is made of, and whether it is whole."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from distill.errors import UserError, shown
from distill.results import from_plain
from distill.tasks import Task, from_section, gives_one_label

BUNDLE_SCHEMA = 1
MANIFEST = "bundle.json"
TOKENIZER = "tokenizer.json"
LARGER = "larger"
"""Folder of the larger model of a cascade, in the bundle."""

LONGEST = 1_000_000
"""Tokens that ``max_length`` may be at most."""
MANIFEST_LIMIT = 16_000_000
"""Bytes of ``bundle.json`` that are read at most; the limits below are those of the files that it names."""
TOKENIZER_LIMIT = 256_000_000
GRAPH_LIMIT = 2**31
"""A protobuf ends there."""
WEIGHTS_LIMIT = 2**34
"""Of the weights beside a graph."""
NEW_TOKENS_LIMIT = 4096
"""Tokens that are written behind a prompt where nobody asks for a number of them, at most."""
BEAMS_LIMIT = 64
WORKLOAD_LIMIT = 10_000_000
"""Tokens of all texts together that `distill measure` works on."""


@dataclass(frozen=True)
class Generation:
    """How a model writes where nothing else is said."""

    begin_id: int
    """The token that stands before each text."""
    end_ids: list[int]
    """A text ends with the first of these."""
    max_new_tokens: int = 128
    """Tokens that are written behind a prompt at most."""
    beams: int = 1
    """Width of the beam search; 1 writes token by token."""


@dataclass(frozen=True)
class Cascade:
    """A second, larger model, which is asked where the first one is not sure: a bundle in the folder ``larger/``."""

    threshold: float
    """A text whose highest probability by the first model is below it is asked of the larger one."""
    calls: float
    """Share of the texts that this is expected of."""


@dataclass(frozen=True)
class Columns:
    """How the labelled data was laid out that the bundle was trained on, as ``data`` in a recipe names it."""

    text: str = "text"
    pair: str | None = None
    label: str = "label"
    label_map: dict[str, str] = field(default_factory=dict)
    """From the value in the data to the label's name."""
    drop_labels: tuple[str, ...] = ()
    """Rows with these values in the label column are left out."""


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
    """Of the graph that answers."""
    outputs: list[str]
    """Of the same; a decoder also gives ``present.…`` for each ``past.…`` that it takes."""
    max_length: int
    """In tokens, special tokens counted."""
    pad_id: int
    default_variant: str
    sha256: dict[str, str]
    """Of every file that is run or read to run it: the tokenizer, the graphs, and the weights beside graphs that are
    too large to hold them (see :func:`weights_file`)."""
    licences: dict[str, str]
    versions: dict[str, str]
    workload: dict[str, list[int]] = field(default_factory=dict)
    """``token_lengths`` of typical texts, and ``second_lengths``, those of the second texts of pairs among them, for
    `distill measure`. Lengths alone, no text."""
    sizes: dict[str, int] = field(default_factory=dict)
    """In bytes, of the files that ``sha256`` names, so that none is read that has grown."""
    generation: Generation | None = None
    """Of a model that writes."""
    cascade: Cascade | None = None
    """Where the bundle holds two models. ``sha256`` then names the larger one's ``bundle.json``, too, which vouches for
    its files."""
    needs: dict[str, list[str]] = field(default_factory=dict)
    """For a variant that does not run everywhere, flags of processors (as in ``/proc/cpuinfo``) of which one must be
    there."""
    paired: bool | None = None
    """Whether an answer is about two texts, so that none is given to one alone, nor to two where it is about one. None:
    in an older bundle, which does not say."""
    columns: Columns = field(default_factory=Columns)
    """Where `distill evaluate` looks when nothing else is said."""

    @property
    def role(self) -> str:
        """Of the graph that answers."""
        return "model" if self.generation is None else "decoder"

    def files(self, variant: str) -> list[str]:
        """The tokenizer, the variant's graphs, and the weights beside them."""
        graphs = list(self.graphs[variant].values())
        return [TOKENIZER, *graphs, *(file for file in map(weights_file, graphs) if file in self.sha256)]


def graph_file(role: str, variant: str = "fp32") -> str:
    """Where a graph stands in a bundle: one suffix a variant, as in the hub's ONNX repositories."""
    return f"onnx/{role}.onnx" if variant == "fp32" else f"onnx/{role}_{variant}.onnx"


def weights_file(graph: str) -> str:
    """Where the weights of a graph stand that is too large to hold them: beside it, as in the hub's repositories."""
    return f"{graph}_data"


def stored(graph: Path) -> list[Path]:
    """The file of a graph, and that of its weights where they stand beside it."""
    weights = graph.with_name(weights_file(graph.name))
    return [graph, weights] if weights.is_file() else [graph]


def sha256_of(path: Path) -> str:
    """Hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(directory: Path, sha256: str | None = None) -> Manifest:
    """Reads ``bundle.json``, whose digest is ``sha256`` where one is given, and checks all that it says.

    Raises UserError where it is missing, malformed, newer, names files outside, or is not the one that was meant.
    """
    path = directory / MANIFEST
    old = directory.parent / f".{directory.name}.old"  # with_name refuses the folder "."
    if not os.path.exists(directory) and os.path.isdir(old):
        old.rename(directory)  # a writer was stopped between two renames: the old bundle is whole
    if not os.path.isdir(directory):
        raise UserError(f"no folder {directory}; give the folder of a bundle, such as exports/quickstart")
    if not os.path.isfile(path):
        check_no_run(directory)
        raise UserError(f"{directory} is not a bundle: it has no bundle.json; `distill run` writes one")
    try:
        with path.open("rb") as file:
            content = file.read(MANIFEST_LIMIT + 1)
        if len(content) > MANIFEST_LIMIT:
            raise ValueError(f"it has more than {MANIFEST_LIMIT:,} bytes")
        found = hashlib.sha256(content).hexdigest()
        if sha256 is not None and found != sha256.lower():
            raise UserError(f"{path} is not the file that was meant: its sha256 is {found}, expected {sha256}")
        data = json.loads(content.decode())
        json.dumps(data, ensure_ascii=False).encode()  # half of a character could be written nowhere
        version = data["schema_version"]
        if version != BUNDLE_SCHEMA:
            raise UserError(f"{path} has schema version {shown(version)}; this distill reads version {BUNDLE_SCHEMA}")
        manifest = from_plain(Manifest, data)
        _check(manifest)
        if from_section(manifest.task).writes != (manifest.generation is not None):
            raise ValueError("a task that writes has a section generation, and no other task has one")
        if manifest.cascade is not None:
            _check_cascade(manifest.cascade, from_section(manifest.task))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); export the bundle again") from error
    return manifest


def check_no_run(folder: Path) -> None:
    """Raises UserError for the folder of a run, whose ``config.json`` is a recipe and no model's."""
    try:
        with (folder / "config.json").open("rb") as file:
            recipe = json.loads(file.read(MANIFEST_LIMIT))
    except (OSError, ValueError, RecursionError):  # whoever reads it as a model's says what is wrong
        return
    if isinstance(recipe, dict) and {"recipe", "name", "exports"} <= recipe.keys():
        raise UserError(f"{folder} is the folder of a run; give its bundle, {recipe['exports']}/{recipe['name']}")


def _check(manifest: Manifest) -> None:
    """Raises ValueError where values of the right types do not fit each other, or are out of all bounds; UserError for
    a file outside of the bundle."""
    if not 1 <= manifest.max_length <= LONGEST:
        raise ValueError(f"max_length is {shown(manifest.max_length)}")
    if not 0 <= manifest.pad_id < 2**31:
        raise ValueError(f"pad_id is {shown(manifest.pad_id)}")
    if manifest.default_variant not in manifest.graphs:
        raise ValueError("default variant missing")
    if not all(manifest.role in graphs for graphs in manifest.graphs.values()):
        raise ValueError(f"a variant has no graph of the role {manifest.role}")
    if manifest.generation is not None:
        _check_generation(manifest.generation)
    lengths, second = (manifest.workload.get(name, []) for name in ("token_lengths", "second_lengths"))
    if not all(1 <= length <= manifest.max_length for length in lengths) or sum(lengths) > WORKLOAD_LIMIT:
        raise ValueError("the workload has lengths out of bounds")
    if second and (len(second) != len(lengths) or not all(0 <= n <= m for n, m in zip(second, lengths, strict=True))):
        raise ValueError("the lengths of second texts do not fit those of the workload")
    for file in [*(file for graphs in manifest.graphs.values() for file in graphs.values()), *manifest.sha256]:
        path = PureWindowsPath(file)  # which knows the separators of all systems
        if path.anchor or ".." in path.parts:
            raise UserError(f"bundle.json names a file outside of the bundle: {file}")
        if not file.isprintable() or not path.parts:
            raise ValueError(f"{shown(file)} is no path")


def _check_generation(generation: Generation) -> None:
    if not 1 <= generation.max_new_tokens <= NEW_TOKENS_LIMIT:
        raise ValueError(f"max_new_tokens is {shown(generation.max_new_tokens)}")
    if not 1 <= generation.beams <= BEAMS_LIMIT:
        raise ValueError(f"beams is {shown(generation.beams)}")
    if not all(0 <= token < 2**31 for token in (generation.begin_id, *generation.end_ids)):
        raise ValueError("the tokens that begin and end a text are no ids")


def _check_cascade(cascade: Cascade, task: Task) -> None:
    if not gives_one_label(task):
        raise ValueError(f"{task.name} gives no text one label with a probability, by which a model would be unsure")
    if not 0 < cascade.threshold <= 1:
        raise ValueError(f"the threshold of the cascade is {shown(cascade.threshold)}")
    if not 0 <= cascade.calls <= 1:
        raise ValueError(f"the share of calls is {shown(cascade.calls)}")


def verify(directory: Path, manifest: Manifest, files: list[str]) -> None:
    """Raises UserError where one of ``files`` is missing, or is not what ``bundle.json`` says it is.

    A file may be a link to one elsewhere, as the hub's cache lays them: what it holds is what counts. One of another
    size than stated, or beyond the limits of this module, is not read.
    """
    for file in files:
        path = directory / file
        if not os.path.isfile(path):  # which is False, too, where a path leads nowhere, such as in a circle
            raise UserError(
                f"the bundle {directory} is incomplete: {file} is missing; export it again or copy it whole"
            )
        size = path.stat().st_size
        if size > (limit := _limit(file)):
            raise UserError(f"{path} has {size:,} bytes; at most {limit:,} are read of such a file")
        if size != manifest.sizes.get(file, size):
            raise UserError(
                f"{path} was altered: it has {size:,} bytes, bundle.json says {manifest.sizes[file]:,}; export it again"
            )
        expected, found = manifest.sha256.get(file), sha256_of(path)
        if found != expected:
            raise UserError(f"{path} was altered: its sha256 is {found}, bundle.json says {expected}; export it again")


def _limit(file: str) -> int:
    if file == TOKENIZER:
        return TOKENIZER_LIMIT
    if file == f"{LARGER}/{MANIFEST}":
        return MANIFEST_LIMIT
    return WEIGHTS_LIMIT if file.endswith(weights_file("")) else GRAPH_LIMIT
