"""Small runs, and all that their stages were given and left."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from little_world import review, write_bert
from task_worlds import labels_of_a_review

from distill import pipeline
from distill.config import Config, build_config
from distill.measure import Specification
from distill.results import Figure, Measurement
from distill.stages.artifacts import Artifact, Artifacts
from distill.stages.stage import Stage

S = TypeVar("S", bound=Stage)

LETTERS = {"validation": "αβγδεζθλ", "test A": "бджзцчщэ", "test B": "բգդզթժլծ"}
"""Characters that occur in the texts of one file and nowhere else."""
OTHER = {"fresh": "rotten", "rotten": "fresh"}
LABELS = ("blame", "film", "praise")
STEPS = (
    "read_data",
    "read_texts",
    "prepare_teacher",
    "ask_teacher",
    "mix_teachers",
    "choose_transfer",
    "prepare_student",
    "train_assistants",
    "keep_states",
    "train_arms",
    "fit_floor",
    "train_static",
    "evaluate",
    "choose",
    "compress",
    "export_teacher",
    "export_student",
    "variant_results",
)
"""Of the pipeline, whose values are remembered."""


@dataclass
class SmallRun:
    """A finished run."""

    config: Config
    outcome: pipeline.Outcome | None = None
    asked: list[tuple[Stage, Artifact]] = field(default_factory=list)
    """Every stage in order, with its artifact."""
    values: dict[str, Any] = field(default_factory=dict)
    """What each step of the pipeline gave."""
    measured: list[Specification] = field(default_factory=list)

    def of(self, kind: type[S]) -> list[tuple[S, Artifact]]:
        """The stages of one kind."""
        return [(stage, artifact) for stage, artifact in self.asked if isinstance(stage, kind)]


def run(config: Config) -> SmallRun:
    """Runs the pipeline without measuring anything, and remembers."""
    found = SmallRun(config)
    get = Artifacts.get

    def remembered(self: Artifacts, stage: Stage) -> Artifact:
        artifact = get(self, stage)
        found.asked.append((stage, artifact))
        return artifact

    def remember(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            found.values[name] = step(*given)
            return found.values[name]

        return call

    def not_measured(specification: Specification) -> Measurement:
        found.measured.append(specification)
        return Measurement(1, "none", *[Figure(None, "ms", "unavailable", "not measured here")] * 10)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Artifacts, "get", remembered)
        patch.setattr("distill.measure.measure", not_measured)
        patch.setattr("distill.report.render_html", lambda report: "")  # plots take longer than all trainings
        for name in STEPS:
            patch.setattr(pipeline, name, remember(name, getattr(pipeline, name)))
        found.outcome = pipeline.run(config)
    return found


def write_data(folder: Path, task: str) -> None:
    """Writes train, transfer, validation and two test files, A and B.

    Texts of validation and test hold words of their own, and each is longer than any that is trained on. The labels in
    B are the other ones, so that what is best on A is worst on B.
    """
    generator = random.Random(11)
    seen: set[str] = set()

    def row(letters: str) -> dict[str, Any]:
        if task == "text-classification":
            text, label, _ = review(generator)
            made: dict[str, Any] = {"text": text, "label": label}
        else:
            made = labels_of_a_review(generator)
            made["label"] = made.pop("labels")
        if made["text"] in seen:
            return row(letters)
        seen.add(made["text"])
        own = generator.choices(words_of(letters), k=24) if letters else []
        return {**made, "text": " ".join([made["text"], *own])}

    counts = {"train": 80, "transfer": 40, "validation": 40, "test A": 40, "test B": 40}
    for split, count in counts.items():
        rows = [row(LETTERS.get(split, "")) for _ in range(count)]
        if split == "transfer":
            rows = [{"text": one["text"]} for one in rows]
        if split == "test B":
            rows = [{**one, "label": other_label(one["label"])} for one in rows]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")


def words_of(letters: str) -> list[str]:
    """Words made of these letters."""
    return [letters[i:] + letters[:i] for i in range(len(letters))]


def other_label(label: Any) -> Any:
    """The one that is wrong where this is right."""
    return OTHER[label] if isinstance(label, str) else [name for name in LABELS if name not in label]


def texts_in(folder: Path, split: str) -> list[str]:
    """The texts of a file."""
    lines = (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def write_teacher(folder: Path, data: Path) -> Path:
    """A random encoder whose tokenizer knows the words of validation and test, too, and whose weights are so large that
    it says something else of each text."""
    splits = ("train", "transfer", "validation", "test A", "test B")
    return write_bert(folder, [text for split in splits for text in texts_in(data, split)], initializer_range=0.2)


def teacher_in(folder: Path) -> dict[str, Any]:
    """The recipe's section of a teacher that lies in a folder."""
    return {"name": "pretrained", "source": {"path": str(folder)}, "tries": 2}


def config_of(data: Path, outputs: Path, test: str, **changes: Any) -> Config:
    """A recipe with two learning rates and two seeds, whose trainings take a few steps."""
    train = {"steps": 6, "evaluations": 3, "batch_size": 16, "learning_rates": [2e-3, 6e-3]}
    values = {
        "name": "small",
        "recipe": "small",
        "data": {
            **{split: {"path": str(data / f"{split}.jsonl")} for split in ("train", "transfer", "validation")},
            "test": {"path": str(data / f"{test}.jsonl")},
        },
        "train": train,
        "seeds": [0, 1],
        "teacher_floor": False,
        "threads": 1,
        "device": "cpu",
        "precision": "fp32",
        "export": {"max_drop": 100},
        "outputs": str(outputs / "outputs"),
        "exports": str(outputs / "exports"),
        **changes,
    }
    values["teacher"] = {"train": train, **values["teacher"]}
    return build_config(values)
