"""Texts without labels that no memory holds: read, cleaned, encoded and labelled shard by shard."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from distill.data.stream import Known, Sieve, Stream
from distill.errors import UserError
from distill.stages import sharding
from distill.stages.artifacts import Artifact
from distill.stages.context import Run, Signal, Streamed, StudentTexts, Texts
from distill.stages.sharding import InShards, asker, keep_folder, new_folder
from distill.stages.stage import TRAINING_LIBRARIES, TRAINING_ROOMS
from distill.tasks import Task
from distill.text import Encoded, Example, Reading, TokenStore
from distill.text.token_store import join_arrays
from distill.training.devices import Machine

if TYPE_CHECKING:
    from distill.data.stream import Shard

OF_DATA = ("data/stream.py", "data/variants.py", "data/examples.py")


@dataclass(frozen=True)
class ReadStream(InShards):
    """The ids of streamed texts, with the tokenizer of a student that reads with another one than its teacher."""

    name: ClassVar[str] = "stream-tokens"
    rooms: ClassVar[tuple[str, ...]] = (*OF_DATA, "text", "tasks")
    libraries: ClassVar[tuple[str, ...]] = ("tokenizers", "numpy", "pyarrow")

    stream: Stream
    labels: Artifact
    """That says which texts were labelled."""
    reading: Reading
    task: Task

    @property
    def what(self) -> str:
        """In words."""
        return "reading of streamed texts"

    def shards(self, machine: Machine) -> Sequence[str]:
        """Neighbouring rows of a file."""
        return list(self.stream.shards(sharding.SHARD))

    def maker(self, work: Path, machine: Machine) -> Callable[[str], None]:
        """Reads the texts of a shard that have labels."""
        shards = self.stream.shards(sharding.SHARD)
        until = np.cumsum([shard.rows for shard in shards.values()]).tolist()
        ends = dict(zip(shards, until, strict=True))
        kept = np.load(self.labels.directory / "kept.npy", mmap_mode="r", allow_pickle=False)

        def make(name: str) -> None:
            own = kept[ends[name] - shards[name].rows : ends[name]]
            aside = new_folder(work / name)
            TokenStore.write(aside / "tokens", self.encoded(shards[name], own.tolist()))
            keep_folder(aside, work / name)

        return make

    def encoded(self, shard: "Shard", kept: Sequence[bool]) -> Iterator[Encoded]:
        """What is read of the rows that are kept."""
        at = 0
        for texts in self.stream.read(shard):
            own = [Example(text or "") for text, keep in zip(texts, kept[at:], strict=False) if keep]
            at += len(texts)
            yield from self.task.encode(self.reading, own)

    def store(self, folder: Path, shards: Sequence[Path], machine: Machine) -> None:
        """Leaves a :class:`TokenStore`, ``tokens``."""
        TokenStore.join(folder / "tokens", [shard / "tokens" for shard in shards])


@dataclass(frozen=True)
class LabelStream(InShards):
    """The teacher's logits on streamed texts, and the ids that it read."""

    name: ClassVar[str] = "stream-labels"
    rooms: ClassVar[tuple[str, ...]] = (*TRAINING_ROOMS, *OF_DATA, "stages/sharding.py")
    libraries: ClassVar[tuple[str, ...]] = (*TRAINING_LIBRARIES, "pyarrow")
    on_device: ClassVar[bool] = True

    model: Artifact
    reading: Reading
    task: Task
    stream: Stream
    known: Known
    """What is left out of the stream."""

    @property
    def what(self) -> str:
        """In words."""
        return "soft labels of streamed texts"

    def shards(self, machine: Machine) -> Sequence[str]:
        """Neighbouring rows of a file."""
        return list(self.stream.shards(sharding.SHARD))

    def maker(self, work: Path, machine: Machine) -> Callable[[str], None]:
        """Reads, cleans, encodes and labels a shard; of its texts no more than a batch is held."""
        shards = self.stream.shards(sharding.SHARD)
        numbers = {name: number for number, name in enumerate(shards, start=1)}
        ask = asker(self.model, self.reading, self.task, machine)

        def make(name: str) -> None:
            sieve, encoded = Sieve(self.known), list[Encoded]()
            for texts in self.stream.read(shards[name]):
                encoded += self.task.encode(self.reading, sieve(texts))
            answers, what = work / f"{name}.answers", f"{self.what}, shard {numbers[name]} of {len(shards)}"
            units = ask(encoded, answers, what)
            aside = new_folder(work / name)
            TokenStore.write(aside / "tokens", encoded)
            logits = np.concatenate(units) if units else np.zeros((0, 0), np.float32)
            np.save(aside / "logits.npy", logits.astype(np.float32))
            np.save(aside / "kept.npy", np.array(sieve.kept, dtype=np.bool_))
            (aside / "dropped.json").write_text(json.dumps(sieve.dropped))
            keep_folder(aside, work / name)
            shutil.rmtree(answers)

        return make

    def store(self, folder: Path, shards: Sequence[Path], machine: Machine) -> None:
        """Leaves for the M texts that are kept ``tokens``, a :class:`TokenStore`, and ``logits.npy`` [M, C]; for the
        rows ``kept.npy`` and, by reason, ``dropped.json``."""
        dropped: Counter[str] = Counter()
        for shard in shards:
            dropped.update(json.loads((shard / "dropped.json").read_text()))
        labelled = [shard for shard in shards if len(np.load(shard / "logits.npy", mmap_mode="r"))]
        if not labelled:
            raise UserError(f"no text of {self.stream.place} is left to learn on; left out: {dict(dropped)}")
        TokenStore.join(folder / "tokens", [shard / "tokens" for shard in labelled])
        join_arrays(folder / "logits.npy", [shard / "logits.npy" for shard in labelled])
        join_arrays(folder / "kept.npy", [shard / "kept.npy" for shard in shards])
        (folder / "dropped.json").write_text(json.dumps(dropped))


def label_stream(this: Run, texts: Texts, own: StudentTexts, signal: Signal) -> Streamed | None:
    """What the teacher says of streamed texts, and what the student reads of them; None where there are none."""
    stream = texts.dataset.stream
    if stream is None:
        return None
    assert signal.teacher.model is not None
    known = Known.of(texts.dataset)
    labels = this.artifacts.get(LabelStream(signal.teacher.model, texts.reading, texts.task, stream, known))
    read = labels
    if not own.same_tokens:
        read = this.artifacts.get(ReadStream(stream, labels, own.reading, own.task))
    return Streamed(stream, labels, read)
