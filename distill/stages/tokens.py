"""Texts as a model reads them, read once."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from distill.data import Part
from distill.stages.artifacts import Artifact
from distill.stages.context import Run, Texts
from distill.stages.stage import Stage
from distill.tasks import Task
from distill.text import Example, Reading, TokenStore, in_parts
from distill.training.devices import Machine

if TYPE_CHECKING:
    from distill.training import Rows


@dataclass(frozen=True)
class ReadTexts(Stage):
    """The ids of texts, in files that arms, seeds and processes share."""

    name: ClassVar[str] = "tokens"
    rooms: ClassVar[tuple[str, ...]] = ("text", "tasks")
    libraries: ClassVar[tuple[str, ...]] = ("tokenizers", "numpy")

    reading: Reading
    task: Task
    texts: Part

    @property
    def what(self) -> str:
        """In words."""
        return f"reading of {' and '.join(self.texts.splits)}"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves a :class:`TokenStore`."""
        parts = in_parts(self.texts.examples)
        TokenStore.write(folder / "tokens", (e for part in parts for e in self.task.encode(self.reading, part)))


@dataclass(frozen=True)
class Tokens:
    """Some splits, with what was read of them."""

    texts: Part
    read: Artifact

    @property
    def splits(self) -> tuple[str, ...]:
        """Which ones."""
        return self.texts.splits

    @property
    def examples(self) -> tuple[Example, ...]:
        """The texts."""
        return self.texts.examples

    @property
    def encoded(self) -> TokenStore:
        """The ids, in the order of the texts."""
        return TokenStore(self.read.directory / "tokens")

    def rows(self, task: Task, reading: Reading, streamed: TokenStore | None = None) -> "Rows":
        """What a training takes; ``streamed`` texts stand behind the others."""
        from distill.training import Rows, StreamedRows

        if streamed is None:
            return Rows(task, reading, self.examples, self.encoded)
        return StreamedRows(task, reading, self.examples, self.encoded, streamed)


def tokens_of(this: Run, texts: Texts, part: Part) -> Tokens:
    """Some splits as they are read; read now, where that was not done before."""
    return Tokens(part, this.artifacts.get(ReadTexts(texts.reading, texts.task, part)))
