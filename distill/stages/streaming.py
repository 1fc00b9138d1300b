"""Texts without labels that no memory holds: read, cleaned, encoded and labelled shard by shard."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from distill.config.data import NO_MATTER
from distill.data import Dataset
from distill.data.stream import Known, Sieve, Stream, repeats
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

OF_DATA = ("data/stream.py", "data/variants.py", "data/examples.py")


@dataclass(frozen=True)
class OfStream(InShards):
    """What is made of streamed texts."""

    stream: Stream

    def shards(self, machine: Machine) -> Sequence[str]:
        """Neighbouring rows of a file."""
        return list(self.stream.shards(sharding.SHARD))


@dataclass(frozen=True)
class SieveStream(OfStream):
    """Which streamed texts are learnt on."""

    name: ClassVar[str] = "stream-rows"
    rooms: ClassVar[tuple[str, ...]] = (*OF_DATA, "stages/sharding.py")
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "pyarrow")

    known: Known
    """What is left out of the stream."""

    @property
    def what(self) -> str:
        """In words."""
        return "cleaning of streamed texts"

    @contextmanager
    def maker(self, work: Path, machine: Machine) -> Iterator[Callable[[str], None]]:
        """Reads a shard; of its texts no more than a batch is held."""
        shards, starts = self.stream.shards(sharding.SHARD), first_rows(self.stream)

        def make(name: str) -> None:
            sieve = Sieve(self.known)
            for texts in self.stream.read(shards[name]):
                sieve.see(texts)
            keys, rows = sieve.in_order()
            aside = new_folder(work / name)
            np.save(aside / "keys.npy", keys)
            np.save(aside / "rows.npy", starts[name] + rows)
            np.save(aside / "kept.npy", np.array(sieve.kept, dtype=np.bool_))
            (aside / "dropped.json").write_text(json.dumps(sieve.dropped))
            keep_folder(aside, work / name)

        yield make

    def store(self, folder: Path, shards: Sequence[Path], machine: Machine) -> None:
        """Leaves ``kept.npy``, of each row, and ``dropped.json``, rows by reason. The first row with a text keeps it,
        whichever shards the others are in."""
        dropped: Counter[str] = Counter()
        for shard in shards:
            dropped.update(json.loads((shard / "dropped.json").read_text()))
        kept = np.concatenate([np.load(shard / "kept.npy") for shard in shards])
        found = [tuple(np.load(shard / f"{name}.npy", mmap_mode="r") for name in ("keys", "rows")) for shard in shards]
        for repeated in repeats(found):
            kept[repeated] = False
            dropped["stream: duplicate"] += len(repeated)
        if not kept.any():
            raise UserError(f"no text of {self.stream.place} is left to learn on; left out: {dict(dropped)}")
        np.save(folder / "kept.npy", kept)
        (folder / "dropped.json").write_text(json.dumps(+dropped))


@dataclass(frozen=True)
class OfSievedStream(OfStream):
    """What is made of those that are learnt on."""

    rooms: ClassVar[tuple[str, ...]] = (*OF_DATA, "text", "tasks", "stages/sharding.py")
    libraries: ClassVar[tuple[str, ...]] = ("tokenizers", "numpy", "pyarrow")

    sieved: Artifact
    """That says which texts those are."""
    reading: Reading
    task: Task

    def reader(self) -> Callable[[str], Iterator[Encoded]]:
        """Reads the texts of a shard; no more of them than a batch is held."""
        shards, starts = self.stream.shards(sharding.SHARD), first_rows(self.stream)
        kept = np.load(self.sieved.directory / "kept.npy", mmap_mode="r", allow_pickle=False)

        def read(name: str) -> Iterator[Encoded]:
            start = starts[name]
            for texts in self.stream.read(shards[name]):
                own = [Example(text or "") for text, keep in zip(texts, kept[start:], strict=False) if keep]
                start += len(texts)
                yield from self.task.encode(self.reading, own)

        return read


@dataclass(frozen=True)
class ReadStream(OfSievedStream):
    """The ids of streamed texts, with the tokenizer of a student that reads with another one than its teacher."""

    name: ClassVar[str] = "stream-tokens"

    @property
    def what(self) -> str:
        """In words."""
        return "reading of streamed texts"

    @contextmanager
    def maker(self, work: Path, machine: Machine) -> Iterator[Callable[[str], None]]:
        """Reads a shard."""
        read = self.reader()

        def make(name: str) -> None:
            aside = new_folder(work / name)
            TokenStore.write(aside / "tokens", read(name))
            keep_folder(aside, work / name)

        yield make

    def store(self, folder: Path, shards: Sequence[Path], machine: Machine) -> None:
        """Leaves a :class:`TokenStore`, ``tokens``."""
        TokenStore.join(folder / "tokens", [shard / "tokens" for shard in shards])


@dataclass(frozen=True)
class LabelStream(OfSievedStream):
    """The teacher's logits on streamed texts, and the ids that it read."""

    name: ClassVar[str] = "stream-labels"
    rooms: ClassVar[tuple[str, ...]] = (*TRAINING_ROOMS, *OF_DATA, "stages/sharding.py")
    libraries: ClassVar[tuple[str, ...]] = (*TRAINING_LIBRARIES, "pyarrow")
    on_device: ClassVar[bool] = True

    model: Artifact
    sharded: bool = field(default=False, metadata=NO_MATTER)

    @property
    def what(self) -> str:
        """In words."""
        return "soft labels of streamed texts"

    @contextmanager
    def maker(self, work: Path, machine: Machine) -> Iterator[Callable[[str], None]]:
        """Reads and labels a shard."""
        numbers = {name: number for number, name in enumerate(self.shards(machine), start=1)}
        read = self.reader()
        with asker(self.model, self.reading, self.task, machine, self.sharded) as ask:

            def make(name: str) -> None:
                encoded = list(read(name))
                answers, what = work / f"{name}.answers", f"{self.what}, shard {numbers[name]} of {len(numbers)}"
                units = ask(encoded, answers, what)
                aside = new_folder(work / name)
                TokenStore.write(aside / "tokens", encoded)
                logits = np.concatenate(units) if units else np.zeros((0, 0), np.float32)
                np.save(aside / "logits.npy", logits.astype(np.float32))
                keep_folder(aside, work / name)
                shutil.rmtree(answers)

            yield make

    def store(self, folder: Path, shards: Sequence[Path], machine: Machine) -> None:
        """Leaves for the M texts ``tokens``, a :class:`TokenStore`, and ``logits.npy`` [M, C]."""
        labelled = [shard for shard in shards if len(np.load(shard / "logits.npy", mmap_mode="r"))]
        TokenStore.join(folder / "tokens", [shard / "tokens" for shard in labelled])
        join_arrays(folder / "logits.npy", [shard / "logits.npy" for shard in labelled])


def first_rows(stream: Stream) -> dict[str, int]:
    """The number of the first row of each shard, among all rows."""
    shards = stream.shards(sharding.SHARD)
    starts = np.cumsum([0, *(shard.rows for shard in shards.values())]).tolist()
    return dict(zip(shards, starts, strict=False))


def sieve_stream(this: Run, dataset: Dataset) -> Artifact | None:
    """Which streamed texts are learnt on; None where there are none."""
    stream = dataset.stream
    return None if stream is None else this.artifacts.get(SieveStream(stream, Known.of(dataset)))


def label_stream(
    this: Run, texts: Texts, own: StudentTexts, signal: Signal, sieved: Artifact | None
) -> Streamed | None:
    """What the teacher says of streamed texts, and what the student reads of them; None where there are none."""
    stream = texts.dataset.stream
    if stream is None or sieved is None:
        return None
    assert signal.teacher.model is not None
    model, sharded = signal.teacher.model, this.config.sharded
    labels = this.artifacts.get(LabelStream(stream, sieved, texts.reading, texts.task, model, sharded))
    read = labels
    if not own.same_tokens:
        read = this.artifacts.get(ReadStream(stream, sieved, own.reading, own.task))
    return Streamed(stream, sieved, labels, read)
