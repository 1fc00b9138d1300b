"""Loading a bundle and asking it questions."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill import tasks
from distill.errors import UserError, nearest, shown
from distill.runtime.forward import ALONE, in_order, respond
from distill.runtime.graphs import Graphs
from distill.runtime.manifest import TOKENIZER, Manifest, read_manifest, verify
from distill.runtime.tokenizer_check import PROBE, check_tokenizer
from distill.tasks import Answer
from distill.tasks.task import Logits
from distill.text import Encoded, Example, Reading, pad
from distill.text.encoding import EMPTY, Ids
from distill.text.reading import as_user_error

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""What a graph may be fed."""


class Bundle:
    """A compact model with its tokenizer and task.

    >>> bundle = load("exports/quickstart")
    >>> bundle(["a gorgeous, witty, seductive movie"])[0].label
    'fresh'
    """

    def __init__(self, directory: Path, manifest: Manifest, variant: str, threads: int | None = None) -> None:
        verify(directory, manifest, manifest.files(variant))
        self.directory = directory
        self.manifest = manifest
        self.variant = variant
        self.task = tasks.from_section(manifest.task)
        tokenizer = directory / TOKENIZER
        with as_user_error(f"{tokenizer} is refused"):
            check_tokenizer(tokenizer)
        self.reading = Reading.from_file(tokenizer, manifest.max_length, manifest.pad_id)
        files = {role: directory / file for role, file in manifest.graphs[variant].items()}
        self.model = files["model"]
        """The graph that answers."""
        self.graphs = Graphs(files, threads)
        self._check()

    def __call__(self, questions: Any, tokens: int = ALONE) -> list[Answer]:
        """Answers, one a question, in the same order.

        A question is what the task says it is: a text; a tuple, such as a pair of texts or the words of a sentence; or
        an object (a dict), such as ``{"text": …, "text_pair": …}``. One of these alone is one question. Anything else
        that can be iterated over, such as a list, holds questions; among these a list is read as a tuple, for JSON has
        no tuples. An empty text is a valid one. `distill predict` takes the same questions.

        One text is run at a time: an int8 graph scales its activations over the batch, so that an answer depends a
        little on the texts beside it. Batches of more ``tokens``, such as 4096, use many cores better.

        Raises UserError where a question is none of these, and where the graph or the tokenizer fails on one.
        """
        if isinstance(questions, str | bytes | tuple | dict) or not isinstance(questions, Iterable):
            questions = [questions]
        examples = [self.example(question) for question in questions]
        return self.task.answers(self.logits(examples, tokens), examples)

    def example(self, question: Any) -> Example:
        """A question as the task reads it. Raises UserError where it is none."""
        example = self.task.question(question)
        words = example.text if isinstance(example.text, tuple) else (example.text,)
        try:
            "".join((*words, example.pair or "")).encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{shown(question)} is not UTF-8: it holds half of a character") from error
        return example

    def logits(self, examples: Sequence[Example], tokens: int = ALONE) -> list[Logits]:
        """Logits of each example, [U, C]: U is 1 for a text and the number of words for a tagged sentence."""
        return in_order(respond(self._forward, self.reading, self.task, examples, tokens))

    def _forward(self, arrays: dict[str, Ids]) -> Logits:
        """What the graph makes of a batch. Raises UserError where that is not what the task reads."""
        rows, length = arrays["input_ids"].shape
        try:
            logits = self.graphs.forward(self.task)(arrays)
        except Exception as error:  # onnxruntime raises classes of its own that derive from Exception alone
            raise UserError(f"{self.model} fails on {rows} x {length} ids: {error}") from error
        wanted = [rows, length] if self.task.words else [rows]
        width = "any" if self.task.kind == "vector" else self.task.width
        shape = list(getattr(logits, "shape", ()))
        if shape[:-1] != wanted or width not in ("any", shape[-1]):
            raise UserError(
                f"{self.model} gives an array of {shape} for {rows} x {length} ids; {self.task.name} reads one of "
                f"{[*wanted, width]}"
            )
        if not np.issubdtype(logits.dtype, np.floating) or not np.isfinite(logits).all():
            raise UserError(f"{self.model} gives values that are no finite numbers; export the bundle again")
        return logits

    def _check(self) -> None:
        """Whether manifest, tokenizer and graph fit each other: raises UserError before the first question."""
        session = self.graphs.sessions["model"]
        inputs, outputs = set(self.graphs.inputs["model"]), {output.name for output in session.get_outputs()}
        if inputs != set(self.manifest.inputs) or not inputs <= set(INPUTS):
            raise UserError(
                f"{self.model} takes {shown(sorted(inputs))}, bundle.json says {shown(self.manifest.inputs)}; a graph "
                f"takes some of {', '.join(INPUTS)}"
            )
        if missing := {*self.task.read, *self.manifest.outputs} - outputs:
            raise UserError(f"{self.model} does not give {shown(sorted(missing))}, only {shown(sorted(outputs))}")
        self.reading.encode([Example(PROBE)])
        self([self.task.sample(paired=False)])
        ids = np.array([self.reading.vocabulary_size - 1, self.manifest.pad_id])[: self.manifest.max_length]
        self._forward(pad([Encoded(ids, np.zeros_like(ids), EMPTY, False)], self.manifest.pad_id))


def load(
    directory: str | Path, variant: str | None = None, threads: int | None = None, sha256: str | None = None
) -> Bundle:
    """Loads a bundle: its default variant, or the one named.

    All that ``bundle.json`` says is checked, and its tokenizer and graph answer a question before this returns. Sizes
    of files are bounded, texts that a tokenizer makes much longer are refused; but a graph can loop, and take any time
    and memory that it likes: load what you trust. ``sha256`` is the digest of a ``bundle.json`` that you trust, which
    names those of all other files.

    Raises UserError where the folder is no bundle, is incomplete or was altered, or has no such variant.
    """
    path = Path(directory)
    try:
        manifest = read_manifest(path, sha256)
        if variant is not None and variant not in manifest.graphs:
            raise UserError(f"{path} has no variant '{variant}'{nearest(variant, manifest.graphs)}")
        return Bundle(path, manifest, variant or manifest.default_variant, threads)
    except OSError as error:
        raise UserError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error
