"""What every stage needs, and what stages hand on to each other."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from distill.config import Config
from distill.data import Dataset
from distill.results import Candidate, Gate, Parity, StageCost
from distill.stages.artifacts import Artifact, Artifacts
from distill.tasks import Task
from distill.text import Example, Reading
from distill.training import Machine

TRAINING_ROOMS = (
    "training",
    "models",
    "objectives",
    "text",
    "tasks",
    "metrics",
)
TRAINING_LIBRARIES = ("torch", "transformers", "accelerate", "tokenizers", "numpy")


@dataclass(frozen=True)
class Run:
    """What every stage needs to know."""

    config: Config
    machine: Machine

    @cached_property
    def artifacts(self) -> Artifacts:
        """Shared by all runs under the same outputs folder."""
        from distill.measure import EnergyMeter

        kind: Any = self.machine.device
        return Artifacts(
            Path(self.config.outputs) / "artifacts", lambda: EnergyMeter(kind, self.config.measure.watts_per_core)
        )

    @property
    def compute(self) -> dict[str, Any]:
        """What a trained model depends on besides its inputs."""
        return {"device": self.machine.device, "precision": self.machine.precision}


@dataclass(frozen=True)
class Texts:
    """The data and the tokenizer it is read with."""

    dataset: Dataset
    task: Task
    encoder: Reading
    special_tokens: dict[str, str]
    tokenizer: Artifact

    @property
    def training(self) -> list[Example]:
        """Labelled texts first, then those without labels."""
        return [*self.dataset.train, *self.dataset.transfer]

    @property
    def paired(self) -> bool:
        """Whether one answer is about two texts."""
        return not self.task.words and any(e.pair is not None for e in self.training)

    @property
    def everything(self) -> list[Example]:
        """All splits."""
        held_out = (self.dataset.validation, self.dataset.test, self.dataset.out_of_scope)
        return [*self.training, *(e for split in held_out for e in split)]


@dataclass(frozen=True)
class Signal:
    """The teacher and what it says of every text."""

    model: Artifact | None
    """None where the teacher is a file."""
    answers: Artifact
    task: Task
    """With what it chose for the teacher on validation."""
    validation_score: float
    training: dict[str, Any]
    """Learning rate and curve, where the recipe fine-tuned it."""
    candidates: tuple[Candidate, ...]
    """All trainings that it was chosen from."""
    warnings: tuple[str, ...]
    costs: tuple[StageCost, ...]


@dataclass(frozen=True)
class TrainedArm:
    """An arm's chosen learning rate and its models."""

    name: str
    transfer: bool
    learning_rate: float
    candidates: tuple[Candidate, ...]
    models: tuple[Artifact, ...]
    """One a seed."""
    results: tuple[dict[str, Any], ...]
    costs: tuple[StageCost, ...]

    @property
    def validation(self) -> float:
        """Mean over seeds."""
        return float(np.mean([r["validation"] for r in self.results]))


@dataclass(frozen=True)
class Exported:
    """The ONNX variants of one model, with parity and gates."""

    artifact: Artifact
    parity: Parity
    gates: dict[str, Gate]
    inputs: tuple[str, ...]

    def shipped(self, variant: str) -> bool:
        """Whether a variant kept what it must."""
        return self.parity.passed and (variant == "fp32" or self.gates[variant].passed)

    def file(self, variant: str) -> Path:
        """The ONNX file of a variant."""
        return self.artifact.directory / graph_file(variant)


def graph_file(variant: str) -> str:
    """Where a variant stands in a bundle: one suffix a variant, as in the hub's ONNX repositories."""
    return "onnx/model.onnx" if variant == "fp32" else f"onnx/model_{variant}.onnx"


def open_store(artifact: Artifact) -> Any:
    """The soft-label store of an artifact; numpy alone."""
    from distill.training.soft_labels import SoftLabelStore

    return SoftLabelStore(artifact.directory / "store")
