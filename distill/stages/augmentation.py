"""Texts made of the training texts: more of what the teacher says something of."""

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from distill.config import AugmentConfig, MaskStep, PretrainedTeacher, WordStep
from distill.data import Part
from distill.data.augmentation import Given, Likely, make_texts
from distill.data.near_words import near_words
from distill.data.splits import without_overlap
from distill.data.variants import pieces_of
from distill.data.word_methods import BARE
from distill.errors import UserError
from distill.stages.artifacts import Artifact
from distill.stages.context import Run, Teacher, Texts
from distill.stages.stage import Stage
from distill.stages.texts import read_by_student, reading_of_other
from distill.tasks import Task
from distill.text import Example, Reading
from distill.training.devices import Machine

INHERITED = ("categorical", "bernoulli")
"""Kinds of answers that a text which was made takes over from the one it was made of; a number, such as how alike two
texts are, is another one once words have changed."""
HELD_OUT = ("validation", "test", "out_of_scope")


@dataclass(frozen=True)
class MakeTexts(Stage):
    """Texts made of those of train and transfer. It is given nothing else of the data."""

    name: ClassVar[str] = "augmented"
    rooms: ClassVar[tuple[str, ...]] = (
        *(f"data/{file}.py" for file in ("augmentation", "near_words", "variants", "word_methods")),
        *("text", "models", "tasks", "runtime/forward.py"),
    )
    libraries: ClassVar[tuple[str, ...]] = ("numpy", "tokenizers", "torch", "transformers")
    on_device: ClassVar[bool] = True

    augment: AugmentConfig
    seed: int
    mask: str | None
    """The teacher's mask token, where something is masked and each model that reads it has that token."""
    model: Artifact | None
    """The teacher, where its embeddings say which words are near."""
    masked_lm: PretrainedTeacher | None
    """Its checkpoint, where that says which words are likely in the place of masked ones."""
    reading: Reading
    task: Task
    texts: Part

    @property
    def what(self) -> str:
        """In words."""
        return f"texts made by {' and '.join(step.name for step in self.augment.steps)}"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves ``made.jsonl``, a text a line, and ``counts.json``."""
        examples = self.texts.examples
        if self.task.kind not in INHERITED:
            examples = tuple(dataclasses.replace(e, label=None) for e in examples)
        second_stays = self.task.words and not self.task.tagged
        given = Given(self.mask, self.near(), self.likely(machine), second_stays)
        made, duplicates = make_texts(examples, self.augment, self.seed, given)
        with (folder / "made.jsonl").open("w", encoding="utf-8") as file:
            for one in made:
                e = one.example
                row = {"text": e.text, "pair": e.pair, "label": e.label, "by": one.by}
                file.write(json.dumps(row) + "\n")
        (folder / "counts.json").write_text(json.dumps({"duplicates": duplicates}))

    def near(self) -> dict[str, tuple[str, ...]]:
        """For each word of the texts that is a single piece, those near to it."""
        if self.model is None:
            return {}
        from distill.models import load_model

        model: Any = load_model(self.model.directory / "model", self.task).model
        embeddings = model.get_input_embeddings().weight.detach().numpy()
        count = max(step.neighbours for step in self.augment.steps if isinstance(step, WordStep))
        words = {word for e in self.texts.examples for piece in pieces_of(e) for word in piece.split()}
        bare = {match[2] for word in words if (match := BARE.fullmatch(word))}
        if own := BARE.fullmatch(self.mask or ""):
            bare.discard(own[2])  # <mask>, put in by a step before, stays what it is
        return near_words(self.reading.tokenizer, embeddings, bare, count)

    def likely(self, machine: Machine) -> Likely | None:
        """The checkpoint as the masked language model that it was pretrained as."""
        if self.masked_lm is None:
            return None
        from distill.models.masked import check_masked_lm, likely_words, load_masked_lm

        check_masked_lm(self.masked_lm, self.reading.special_tokens.get("mask_token"))
        model = load_masked_lm(self.masked_lm, self.seed)[0].to(machine.place).eval()
        return lambda blanks, count: likely_words(model, self.reading, blanks, count, machine.autocast, self.what)


def augment_texts(this: Run, texts: Texts, teacher: Teacher) -> Texts:
    """With the texts that the recipe asks to be made, but for those that also stand in validation or test."""
    asked, dataset = this.config.augment, texts.dataset
    if not asked.steps:
        return texts
    masks, near = (any(isinstance(step, kind) for step in asked.steps) for kind in (MaskStep, WordStep))
    likely = asked.asks_masked_lm
    artifact = this.artifacts.get(
        MakeTexts(
            augment=asked,
            seed=this.config.data.split_seed,
            mask=mask_of(this, texts) if masks or likely else None,
            model=teacher.model if near else None,
            masked_lm=checkpoint_of(this) if likely else None,
            reading=texts.reading,
            task=texts.task,
            texts=texts.training,
        )
    )
    made = read_made(artifact)
    dropped = Counter({"augmented: duplicate": artifact.read("counts.json")["duplicates"]})
    held_out = {split: dataset.part(split).examples for split in HELD_OUT}
    kept = without_overlap(list(made), held_out, dropped, "augmented: ")
    if not kept:
        raise UserError(
            f"augment made no text of the {len(texts.training.examples)} training texts that is not there already; "
            "choose another augment, or augment=none"
        )
    by = Counter(made[e] for e in kept)
    found = ", ".join(f"{count:,} by {name}" for name, count in by.items())
    note = f"augmented: {len(kept):,} texts made of {len(texts.training.examples):,} training texts: {found}"
    more = dataclasses.replace(
        dataset,
        augmented=tuple(Example(e.text, e.pair) for e in kept),
        inherited=tuple(e for e in kept if e.label is not None),
        dropped={**dataset.dropped, **{reason: count for reason, count in dropped.items() if count}},
        notes=(*dataset.notes, note),
    )
    return dataclasses.replace(texts, dataset=more, costs=(*texts.costs, artifact.cost))


def mask_of(this: Run, texts: Texts) -> str | None:
    """The teacher's mask token, where the student and each further teacher, which read the same texts, have that very
    token: to another tokenizer it would be words."""
    mask = texts.reading.special_tokens.get("mask_token")
    others = (reading_of_other(dataclasses.replace(this, config=one), texts.dataset) for one in this.config.others)
    known = mask is not None and all(knows(one, mask) for one in (read_by_student(this, texts), *others))
    return mask if known else None


def knows(reading: Reading, token: str) -> bool:
    """Whether it reads it, in a text, as one token."""
    return reading.tokenizer.token_to_id(token) in reading.tokenizer.encode(token).ids


def checkpoint_of(this: Run) -> PretrainedTeacher:
    """What the teacher starts from, and nothing of how it is trained."""
    teacher = this.config.teacher
    assert isinstance(teacher, PretrainedTeacher)
    return PretrainedTeacher(teacher.name, teacher.source, trust_remote_code=teacher.trust_remote_code)


def read_made(artifact: Artifact) -> dict[Example, str]:
    """The texts that were made, with the methods that made them."""
    found = {}
    for line in (artifact.directory / "made.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text, label = (tuple(row[key]) if isinstance(row[key], list) else row[key] for key in ("text", "label"))
        found[Example(text, row["pair"], label)] = row["by"]
    return found
