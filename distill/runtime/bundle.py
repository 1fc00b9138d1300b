"""Loading a bundle and asking it questions."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from distill import tasks
from distill.errors import UserError, nearest
from distill.runtime.forward import ALONE, in_order, respond
from distill.runtime.graph import Graph
from distill.runtime.manifest import Manifest, read_manifest, verify
from distill.tasks import Answer
from distill.tasks.task import Logits
from distill.text import Example, Reading


class Bundle:
    """A compact model with its tokenizer and task.

    >>> bundle = load("exports/quickstart")
    >>> bundle(["a gorgeous, witty, seductive movie"])[0].label
    'fresh'
    """

    def __init__(self, directory: Path, manifest: Manifest, variant: str, threads: int | None = None) -> None:
        files = list(manifest.graphs[variant].values())
        verify(directory, manifest, ["tokenizer.json", *files])
        self.directory = directory
        self.manifest = manifest
        self.variant = variant
        self.task = tasks.from_section(manifest.task)
        self.reading = Reading.from_file(directory / "tokenizer.json", manifest.max_length, manifest.pad_id)
        self.graph = Graph(directory / manifest.graphs[variant]["model"], threads)

    def __call__(self, questions: Iterable[Any], tokens: int = ALONE) -> list[Answer]:
        """Answers, one a question, in the same order.

        One text is run at a time: an int8 graph scales its activations over the batch, so that an answer depends a
        little on the texts beside it. Batches of more ``tokens``, such as 4096, use many cores better.
        A question is a text, a pair of texts, or an object as the task describes it; an empty text is a valid one.
        Raises UserError where a question is none of these.
        """
        if isinstance(questions, str):
            questions = [questions]
        examples = [self.task.question(q) for q in questions]
        return self.task.answers(self.logits(examples, tokens), examples)

    def logits(self, examples: Sequence[Example], tokens: int = ALONE) -> list[Logits]:
        """Logits of each example, [U, C]: U is 1 for a text and the number of words for a tagged sentence."""
        return in_order(respond(self.graph.forward(self.task), self.reading, self.task, examples, tokens))


def load(directory: str | Path, variant: str | None = None, threads: int | None = None) -> Bundle:
    """Loads a bundle: its default variant, or the one named.

    Raises UserError where the folder is no bundle, is incomplete or was altered, or has no such variant.
    """
    path = Path(directory)
    manifest = read_manifest(path)
    if variant is not None and variant not in manifest.graphs:
        raise UserError(f"{path} has no variant '{variant}'{nearest(variant, manifest.graphs)}")
    return Bundle(path, manifest, variant or manifest.default_variant, threads)
