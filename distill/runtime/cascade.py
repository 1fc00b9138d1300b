"""A bundle of two models: the small one answers where it is sure, else the larger one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from distill.errors import UserError, shown
from distill.runtime.bundle import Bundle
from distill.runtime.forward import ALONE
from distill.runtime.manifest import LARGER, MANIFEST, Manifest, read_manifest
from distill.tasks import Answer
from distill.tasks.task import Logits, softmax
from distill.text import Example

Who = Literal["small", "larger"]


@dataclass(frozen=True)
class Told:
    """An answer, and which of the two models gave it. The answer's own fields are read as if they were its own."""

    answer: Answer
    model: Who

    def __getattr__(self, name: str) -> Any:
        if name == "answer":  # of an object that is being copied
            raise AttributeError(name)
        return getattr(self.answer, name)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**self.answer.as_dict(), "model": self.model}

    def as_line(self) -> str:
        """The answer alone."""
        return self.answer.as_line()


class CascadeBundle(Bundle):
    """A bundle of a classifier that asks a larger one where it is not sure.

    >>> bundle = load("exports/clinc150-cascade")
    >>> bundle(["what is my balance"])[0].model
    'small'
    """

    def __init__(self, directory: Path, manifest: Manifest, variant: str, threads: int | None = None) -> None:
        assert manifest.cascade is not None
        self.threshold = manifest.cascade.threshold
        inside = directory / LARGER
        sha256 = manifest.sha256.get(f"{LARGER}/{MANIFEST}")
        if sha256 is None:
            raise UserError(f"bundle.json of {directory} has no sha256 of {LARGER}/{MANIFEST}; export the bundle again")
        own = read_manifest(inside, sha256)
        if own.cascade is not None:
            raise UserError(f"{inside} holds two models itself; a cascade has two in all; export the bundle again")
        same = ("name", "labels")
        if [own.task.get(key) for key in same] != [manifest.task.get(key) for key in same]:
            raise UserError(
                f"{inside} answers {shown(own.task.get('labels'))}, but the smaller model "
                f"{shown(manifest.task.get('labels'))}; export the bundle again"
            )
        self.larger = Bundle(inside, own, own.default_variant, threads)
        super().__init__(directory, manifest, variant, threads)

    def logits(self, examples: Sequence[Example], tokens: int = ALONE) -> list[Logits]:
        """What the model that answers says of each example, [1, C]."""
        return self._asked(examples, tokens)[0]

    def _answers(self, examples: Sequence[Example], tokens: int) -> list[Answer]:
        units, models = self._asked(examples, tokens)
        answers = self.task.answers(units, examples)
        return [Told(answer, model) for answer, model in zip(answers, models, strict=True)]

    def _asked(self, examples: Sequence[Example], tokens: int) -> tuple[list[Logits], list[Who]]:
        """(logits of each example, which model they are of)."""
        units = super().logits(examples, tokens)
        models: list[Who] = ["small"] * len(units)
        unsure = [row for row, one in enumerate(units) if softmax(one)[0].max() < self.threshold]
        theirs = self.larger.logits([examples[row] for row in unsure], tokens)
        for row, one in zip(unsure, theirs, strict=True):
            units[row], models[row] = one, "larger"
        return units, models
