"""What stages hand on behind trained students: what is chosen, compared, exported, up to all that a report tells of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.config.schema import SHORTLISTED, needs
from distill.metrics import Statistics
from distill.results import (
    ArmResult,
    Cascade,
    CompressionResult,
    Contrast,
    Gate,
    Inside,
    Parity,
    StageCost,
    SwitchOver,
    TargetResult,
    VariantResult,
)
from distill.runtime import graph_file, stored
from distill.stages.artifacts import Artifact
from distill.stages.context import Lesson, StudentTexts, Texts, TrainedArm


@dataclass(frozen=True)
class Compressed:
    """What became of a trained model."""

    model: Artifact
    """After the last recovery."""
    steps: tuple[CompressionResult, ...]
    costs: tuple[StageCost, ...]


@dataclass(frozen=True)
class Chosen:
    """What is exported: one training of an arm."""

    arm: TrainedArm
    index: int
    """Which of the arm's seeds, counted from 0."""
    compressed: Compressed | None = None
    """None where it is exported as it was trained."""

    @property
    def model(self) -> Artifact:
        """Its weights."""
        return self.arm.models[self.index] if self.compressed is None else self.compressed.model

    @property
    def thresholds(self) -> tuple[float, ...]:
        """What the task chose for it on validation."""
        trained = self.arm.results[self.index]
        result = trained if self.compressed is None else self.compressed.model.read("result.json")
        return tuple(result["thresholds"])


@dataclass(frozen=True)
class Comparison:
    """The arms side by side on test."""

    summaries: tuple[ArmResult, ...]
    contrasts: tuple[Contrast, ...]
    warnings: tuple[str, ...]
    statistics: dict[str, Statistics]
    """[S, n, K] of the primary metric on test, for each arm."""
    units: dict[str, tuple[Sequence[Any], ...]]
    """What each arm's S models say of the n texts of test, [U, C] each."""


@dataclass(frozen=True)
class Exported:
    """The ONNX variants of one model, with parity and gates."""

    who: str
    """``teacher`` or ``student``."""
    texts: Texts
    """What it reads, with the task as it answers it."""
    artifact: Artifact
    parity: Parity
    gates: dict[str, Gate]
    roles: tuple[str, ...]
    """What graphs it has."""
    inputs: tuple[str, ...]
    """Of the one that answers."""
    made: tuple[str, ...]
    """Variants that run; none where the model could not be exported."""
    preferred: str = ""
    """The default variant, where a target chose it."""

    def shipped(self, variant: str) -> bool:
        """Whether a variant kept what it must."""
        return variant in self.made and self.parity.passed and (variant == "fp32" or self.gates[variant].passed)

    @property
    def default(self) -> str:
        """That which a target chose; else the smallest variant that kept what it must and runs on every processor, of
        those with a shortlist where any is; empty where there is none."""
        if self.preferred:
            return self.preferred
        kept = [variant for variant in self.made if self.shipped(variant) and not needs(variant)]
        return min(kept, key=lambda name: (not name.endswith(SHORTLISTED), self.size(name)), default="")

    def files(self, variant: str) -> dict[str, Path]:
        """The ONNX file of each role."""
        return {role: self.artifact.directory / graph_file(role, variant) for role in self.roles}

    def size(self, variant: str) -> int:
        """Bytes of all of them, and of weights beside them."""
        return sum(file.stat().st_size for graph in self.files(variant).values() for file in stored(graph))


@dataclass(frozen=True)
class Joined:
    """The larger model of a cascade."""

    larger: Exported | None = None
    """None where the bundle holds the student alone."""
    result: Cascade | None = None
    """None for the same."""
    warnings: tuple[str, ...] = ()
    """Why there is none that was asked for."""


@dataclass(frozen=True)
class StaticFloor:
    """The arm ``static``."""

    arm: TrainedArm
    texts: StudentTexts
    """As it reads them."""
    vectors: Artifact | None
    """What it starts from."""


@dataclass(frozen=True)
class Findings:
    """Everything that a report tells of."""

    lesson: Lesson
    linear: Artifact | None
    static: StaticFloor | None
    arms: tuple[TrainedArm, ...]
    comparison: Comparison
    chosen: Chosen
    variants: tuple[VariantResult, ...]
    inside: tuple[Inside, ...] = ()
    joined: Joined = Joined()
    switch_over: SwitchOver | None = None
    target: TargetResult | None = None
