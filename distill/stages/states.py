"""What happens inside the teacher, kept on the disk where it fits, so that students need not run it again and again."""

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from distill.config import LayersStudent, ObjectiveConfig, TransformerStudent
from distill.progress import say
from distill.results import FLOORS, from_plain
from distill.runtime.forward import ALONE
from distill.stages.artifacts import Artifact
from distill.stages.context import Lesson, Run, bears_padding, kept_of
from distill.stages.signal import ON_TRANSFER, WITHOUT_ANSWERS
from distill.stages.stage import TRAINING_LIBRARIES, TRAINING_ROOMS, Stage
from distill.stages.tokens import Tokens, tokens_of
from distill.tasks import Task
from distill.text import Reading
from distill.training.devices import Machine
from distill.training.states import BYTES, Compared, Sizes, name_of, write_index, write_shard

GB = 1e9
ROOM = 1e9
"""Bytes of the disk that are left free, for the students."""
BESIDE = "the teacher runs beside the students"
BEYOND = "beyond"
"""Left where a number is none, or too large for float16."""


@dataclass(frozen=True)
class CompareLayers(Stage):
    """Which layers of the teacher a student is compared with."""

    name: ClassVar[str] = "compared"
    rooms: ClassVar[tuple[str, ...]] = TRAINING_ROOMS
    libraries: ClassVar[tuple[str, ...]] = TRAINING_LIBRARIES

    model: Artifact
    student: LayersStudent | TransformerStudent
    objective: ObjectiveConfig
    task: Task

    @property
    def what(self) -> str:
        """In words."""
        return "layers of the teacher that the student is compared with"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves ``compared.json``."""
        from distill.models import load_model
        from distill.training.inside import compared_in

        teacher = load_model(self.model.directory / "model", self.task).model
        compared = compared_in(self.objective, self.student, teacher, self.task)
        (folder / "compared.json").write_text(json.dumps(dataclasses.asdict(compared)))


@dataclass(frozen=True)
class KeepStates(Stage):
    """What happens inside the teacher at the very tokens that students read, as far as it is compared, kept by the
    content of the texts."""

    name: ClassVar[str] = "states"
    rooms: ClassVar[tuple[str, ...]] = TRAINING_ROOMS
    libraries: ClassVar[tuple[str, ...]] = TRAINING_LIBRARIES
    together: ClassVar[bool] = True
    on_device: ClassVar[bool] = True

    model: Artifact
    compared: Compared
    vocabulary: Artifact
    """Of the students, whose tokens are a part of the teacher's where it was trimmed."""
    reading: Reading
    task: Task
    texts: Tokens

    @property
    def what(self) -> str:
        """In words."""
        return f"states inside the teacher on {' and '.join(self.texts.splits)}"

    @property
    def bytes(self) -> int:
        """That it takes on the disk."""
        sizes = self.sizes
        return BYTES * int(self.compared.numbers(sizes.tokens_until[-1:], sizes.rows_until[-1:])[0])

    @property
    def places(self) -> Any:
        """[N], where the texts stand, each once."""
        from distill.training.soft_labels import first_of_each, keys_of

        return first_of_each(keys_of(self.texts.examples))

    @property
    def sizes(self) -> Sizes:
        """Of the texts, each once."""
        encoded, places = self.texts.encoded, self.places
        tokens, rows = (np.append(0, counts[places]).cumsum() for counts in (encoded.tokens, encoded.windows))
        return Sizes(tokens, rows)

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves ``store``, and ``shape.json``, that of the teacher; or ``beyond``, where there is a number that
        float16 does not hold. Shards are written by all processes, and not again after a stop."""
        store, work, sizes = folder / "store", folder / "work", self.sizes
        if machine.decide(store.exists() or (folder / BEYOND).exists()):  # it was stopped after the last shard
            return
        work.mkdir(exist_ok=True)
        self.ask(work, sizes, machine)
        machine.barrier()
        if not machine.is_main:
            return
        for claim in work.glob("*.claim"):
            claim.unlink()
        if (work / BEYOND).exists():
            (folder / BEYOND).touch()
            shutil.rmtree(work)
            return
        write_index(work, self.compared, [self.texts.examples[place] for place in self.places], sizes)
        work.rename(store)

    def ask(self, work: Path, sizes: Sizes, machine: Machine) -> None:
        """Asks the teacher about shards that no other process asks about."""
        from distill.models import load_model
        from distill.training.inside import look_at, shape_of, states_of
        from distill.training.loop import TOKENS
        from distill.training.shards import work_off

        teacher = load_model(self.model.directory / "model", self.task).model
        if machine.is_main:
            (work.parent / "shape.json").write_text(json.dumps(dataclasses.asdict(shape_of(teacher, self.task))))
        forward = states_of(teacher, self.compared, kept_of(self.vocabulary), machine)
        alone = not bears_padding(self.model)
        shards = {name_of(first): (first, end) for first, end in sizes.shards(self.compared)}
        encoded, places = self.texts.encoded, self.places
        numbers = {shard: number for number, shard in enumerate(shards, start=1)}

        def keep(shard: str) -> None:
            first, end = shards[shard]
            what = self.what + (f", shard {numbers[shard]} of {len(shards)}" if len(shards) > 1 else "")
            if not (work / BEYOND).exists():
                texts = [encoded[int(place)] for place in places[first:end]]
                tokens = ALONE if alone else TOKENS
                states = look_at(texts, forward, self.compared, self.reading.pad_id, tokens, what)
                if all(np.isfinite(part).all() for text in states for part in text):
                    write_shard(work, first, states)
                    return
                (work / BEYOND).touch()
            (work / shard).touch()

        work_off(work, list(shards), keep, len(shards) * machine.rank // machine.processes, machine.is_main)


def keep_states(this: Run, lesson: Lesson) -> Lesson:
    """The lesson with what happens inside the teacher, where terms look there and it is to be kept and fits; else the
    teacher runs beside the students. A line says which, and why."""
    config, texts, model = this.config, lesson.texts, lesson.signal.teacher.model
    arms = [arm for arm in config.arms if arm not in (*FLOORS, *WITHOUT_ANSWERS)]
    if not (config.objective.states_gb and config.objective.looks_inside and arms):
        return lesson
    assert model is not None
    assert isinstance(config.student, LayersStudent | TransformerStudent)
    layers = this.artifacts.get(CompareLayers(model, config.student, config.objective, texts.task))
    compared = from_plain(Compared, layers.read("compared.json"))
    part = texts.learnt if any(arm in ON_TRANSFER for arm in arms) else texts.dataset.part("train")
    stage = KeepStates(model, compared, texts.vocabulary, texts.reading, texts.task, tokens_of(this, texts, part))
    size, most = stage.bytes, config.objective.states_gb
    why = f"{stage.what} take {size / GB:.3g} GB, "
    room = this.machine.by_main(lambda: shutil.disk_usage(config.outputs).free + this.artifacts.written(stage) - ROOM)
    if size > most * GB:
        say(f"{why}more than objective.states_gb={most:g}: {BESIDE}")
    elif size > room:
        say(f"{why}more than the disk of {config.outputs} has room for ({max(room, 0) / GB:.3g} GB): {BESIDE}")
    else:
        say(f"{why}within objective.states_gb={most:g}: kept on the disk, and no student needs the teacher beside")
        states = this.artifacts.get(stage)
        if not (states.directory / BEYOND).exists():
            return dataclasses.replace(lesson, states=states)
        say(f"{stage.what} have numbers that float16 does not hold, above 65504 or none: {BESIDE}")
    return lesson
