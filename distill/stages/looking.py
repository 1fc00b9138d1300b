"""A look inside of the teacher and the exported student: what they look at, and what their layers hold."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from distill.data import Part
from distill.results import Inside, from_plain
from distill.stages.artifacts import Artifact
from distill.stages.context import Lesson, Run, Texts
from distill.stages.findings import Chosen
from distill.stages.stage import Stage
from distill.tasks import Task
from distill.text import Example, Reading
from distill.training.devices import Machine

SHOWN_WORDS = range(6, 17)
"""So many words has the text of which attention is shown, where there is one."""


@dataclass(frozen=True)
class LookInside(Stage):
    """Attention on one text, and a linear probe of each layer."""

    name: ClassVar[str] = "inside"
    rooms: ClassVar[tuple[str, ...]] = ("evaluation", "models", "text", "tasks", "metrics", "runtime")
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "tokenizers", "numpy", "scikit-learn")

    who: str
    model: Artifact
    reading: Reading
    task: Task
    shown: Example
    texts: Part
    """Train, validation and test."""

    @property
    def what(self) -> str:
        """In words."""
        return f"look inside of the {self.who}"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves ``inside.json``."""
        from distill.evaluation.probes import probe_layers, sampled
        from distill.models import load_model
        from distill.models.attention import attention_maps

        model = load_model(self.model.directory / "model", self.task).model.eval()
        maps = attention_maps(model, self.reading, self.task, self.shown)
        splits = sampled(*(self.texts.of(split) for split in ("train", "validation", "test")))
        probed = self.task.kind == "categorical" and all(splits)
        probes = probe_layers(model, self.reading, self.task, splits) if probed else ()
        found = {
            "model": self.who,
            "attention": [dataclasses.asdict(one) for one in maps],
            "probes": [dataclasses.asdict(one) for one in probes],
        }
        (folder / "inside.json").write_text(json.dumps(found), encoding="utf-8")


def look_inside(this: Run, texts: Texts, lesson: Lesson, chosen: Chosen) -> tuple[Inside, ...]:
    """Teacher and exported student, where the recipe asks for it; ``texts`` are as the teacher reads them."""
    teacher = None if lesson.signal.ensemble else lesson.signal.teacher.model
    if not this.config.report.look_inside:
        return ()
    shown = text_to_show(texts.dataset.test or texts.dataset.validation)
    part = texts.dataset.part("train", "validation", "test")
    looks = [LookInside("student", chosen.model, lesson.texts.reading, texts.task, shown, part)]
    if teacher is not None:
        looks.insert(0, LookInside("teacher", teacher, texts.reading, texts.task, shown, part))
    return tuple(from_plain(Inside, this.artifacts.get(look).read("inside.json")) for look in looks)


def text_to_show(examples: tuple[Example, ...]) -> Example:
    """The first of a length that can be read in a figure; else the shortest."""
    words = {row: len(e.text.split() if isinstance(e.text, str) else e.text) for row, e in enumerate(examples)}
    fitting = [row for row, count in words.items() if count in SHOWN_WORDS]
    return examples[fitting[0] if fitting else min(words, key=lambda row: (words[row] == 0, words[row]))]
