"""DistilBERT's method: a student that knows the language before it sees the task."""

import dataclasses
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from distill.config import LayersStudent, PretrainedTeacher, PretrainingConfig
from distill.config.data import NO_MATTER
from distill.data import Part
from distill.errors import UserError
from distill.stages.artifacts import Artifact
from distill.stages.context import Run, Texts
from distill.stages.stage import TRAINING_LIBRARIES, TRAINING_ROOMS, Stage
from distill.text import Example, Reading
from distill.training.devices import Machine

if TYPE_CHECKING:
    from distill.training import Problem
    from distill.training.pretraining import Corpus

MOST_HELD_OUT = 500
"""Texts that masked tokens are looked for in afterwards."""
OF_CORPUS = tuple(
    f"data/{file}.py"
    for file in ("corpus", "examples", "json_rows", "parallel", "readers", "sentences", "tables", "variants")
)
"""What reads the corpora."""
READING_LIBRARIES = ("datasets", "pyarrow")


@dataclass(frozen=True)
class LookAtCorpora(Stage):
    """Whether the corpora that a recipe names can be read, and have texts enough: known before anything is trained."""

    name: ClassVar[str] = "corpora"
    rooms: ClassVar[tuple[str, ...]] = (*OF_CORPUS, "tasks", "text")
    libraries: ClassVar[tuple[str, ...]] = READING_LIBRARIES

    settings: PretrainingConfig
    held_out: Part
    """Texts that are not to be learnt on."""

    @property
    def what(self) -> str:
        """In words."""
        return "reading of the texts that the student is pretrained on"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves nothing. Raises UserError where they cannot be read, or are too few."""
        seen_and_unseen(self.settings, (), self.held_out.examples)


@dataclass(frozen=True)
class PretrainStudent(Stage):
    """A student of chosen layers, trained on masked language modelling beside the teacher's checkpoint.

    A checkpoint without a head for masked tokens gets one first, trained on the same texts.
    """

    name: ClassVar[str] = "pretraining"
    rooms: ClassVar[tuple[str, ...]] = (*TRAINING_ROOMS, *OF_CORPUS)
    libraries: ClassVar[tuple[str, ...]] = (*TRAINING_LIBRARIES, *READING_LIBRARIES)
    together: ClassVar[bool] = True
    on_device: ClassVar[bool] = True

    teacher: PretrainedTeacher
    student: LayersStudent
    """Its layers, and how it is pretrained."""
    seed: int
    reading: Reading
    texts: Part
    held_out: Part
    """Texts that are not to be learnt on."""
    tokens: int
    """Of a forward pass, at most, as of every training of students (``train.tokens``)."""
    checkpoint_seconds: float = field(metadata=NO_MATTER)
    """How often a state to go on from is written, likewise."""

    @property
    def what(self) -> str:
        """In words."""
        return "pretraining of the student"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves ``model`` and ``result.json``."""
        from distill.models import LoadedModel, save_model
        from distill.models.masked import load_masked_lm
        from distill.models.students import layers_student
        from distill.training import State, train
        from distill.training.pretraining import Corpus, masked_score

        settings = self.student.pretraining
        own = self.reading
        reading = Reading(own.tokenizer, settings.max_length, own.pad_id, own.special_tokens)
        parts = seen_and_unseen(settings, self.texts.examples, self.held_out.examples)
        seen, unseen = (Corpus(part, reading, settings.masked) for part in parts)
        teacher, has_head = load_masked_lm(self.teacher, self.seed)
        if not has_head:
            learn_head(self.problem(teacher, None, seen, machine), folder / "work", machine)
        small = layers_student(self.student, teacher)
        scores = {"teacher": masked_score(teacher, unseen, machine)}
        scores["student before"] = masked_score(small, unseen, machine)
        problem = self.problem(small, teacher, seen, machine)
        train(problem, State(folder / "work" / "student"), machine)
        scores["student after"] = masked_score(small, unseen, machine)
        if not machine.is_main:
            return
        shutil.rmtree(folder / "work", ignore_errors=True)
        loaded = LoadedModel(small.cpu(), self.reading.tokenizer, self.reading.special_tokens)
        save_model(loaded, folder / "model", 512)
        in_numbers = {who: dataclasses.asdict(score) for who, score in scores.items()}
        result = {"texts": len(seen.encoded), "tokens": sum(seen.lengths), "scores": in_numbers}
        (folder / "result.json").write_text(json.dumps(result))

    def problem(self, student: Any, teacher: Any, texts: "Corpus", machine: Machine) -> "Problem":
        """That of masked tokens, in forward passes as large, and with states as often, as the recipe has them."""
        from distill.training.pretraining import masked_problem

        found = masked_problem(student, teacher, texts, self.student.pretraining, self.seed, machine)
        budget = dataclasses.replace(found.budget, tokens=self.tokens, checkpoint_seconds=self.checkpoint_seconds)
        return dataclasses.replace(found, budget=budget)


def seen_and_unseen(
    settings: PretrainingConfig, training: Sequence[Example], held_out: Sequence[Example]
) -> tuple[list[Example], list[Example]]:
    """(texts that are learnt on, others that masked tokens are looked for in) of :func:`load_corpus`. Raises UserError
    where there are too few."""
    from distill.data.corpus import load_corpus

    found = load_corpus(settings, training, held_out)
    unseen = max(1, min(MOST_HELD_OUT, len(found) // 20))
    if len(found) <= unseen:
        raise UserError(f"pretraining has {len(found)} texts; give more in student.pretraining.texts")
    return found[unseen:], found[:unseen]


def learn_head(problem: "Problem", work: Path, machine: Machine) -> None:
    """Trains the teacher's head for masked tokens, or takes what it has learnt where the student's training was
    stopped."""
    import torch

    from distill.training import State, train

    learnt = work / "teacher.pt"
    if machine.decide(learnt.is_file()):
        problem.model.load_state_dict(torch.load(learnt, map_location="cpu", weights_only=True))
        return
    train(problem, State(work / "teacher"), machine)
    if machine.is_main:
        work.mkdir(parents=True, exist_ok=True)
        aside = learnt.with_name(".teacher.pt")
        torch.save(problem.model.state_dict(), aside)
        os.replace(aside, learnt)


def look_at_corpora(this: Run, texts: Texts) -> None:
    """Raises UserError, before anything is trained, where a corpus that the student is pretrained on cannot be read."""
    student = this.config.student
    if "pretrained" not in this.config.arms or not isinstance(student, LayersStudent) or not student.pretraining.texts:
        return
    own = student.pretraining
    named = PretrainingConfig(texts=own.texts, text=own.text, limit=own.limit)
    this.artifacts.get(LookAtCorpora(named, texts.dataset.part("validation", "test")))


def pretrain_student(this: Run, texts: Texts) -> Artifact | None:
    """The pretrained student, where an arm starts from it."""
    student, teacher = this.config.student, this.config.teacher
    if "pretrained" not in this.config.arms:
        return None
    assert isinstance(student, LayersStudent)
    assert isinstance(teacher, PretrainedTeacher)
    return this.artifacts.get(
        PretrainStudent(
            teacher=dataclasses.replace(teacher, train=type(teacher.train)(), tries=1),
            student=student,
            seed=this.config.seeds[0],
            reading=texts.reading,
            texts=texts.training,
            held_out=texts.dataset.part("validation", "test"),
            tokens=this.config.train.tokens,
            checkpoint_seconds=this.config.train.checkpoint_seconds,
        )
    )


def in_words(artifact: Artifact) -> str:
    """What the report says of it."""
    result = artifact.read("result.json")
    scores = ", ".join(f"{who} {score['accuracy']:.1%}" for who, score in result["scores"].items())
    asked = result["scores"]["teacher"]["tokens"]
    return (
        f"pretraining on {result['texts']:,} texts, {result['tokens']:,} tokens; of {asked:,} masked tokens in texts "
        f"held out the models find: {scores}"
    )
