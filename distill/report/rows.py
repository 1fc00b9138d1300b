"""The rows of the summary table, the same on the terminal and in the model card."""

import math
from dataclasses import dataclass
from typing import Literal

from distill.report.findings import arm_named, exported_seed, fell, mark_of_student
from distill.results import ArmResult, Estimate, Report, VariantResult


@dataclass(frozen=True)
class Row:
    """One line: an arm (mean over seeds), the seed of it that was exported, or a variant."""

    kind: Literal["arm", "seed", "variant"]
    name: str
    score: Estimate | None
    gap_recovered: Estimate | None = None
    agreement: float | None = None
    parameters: int | None = None
    budget: int | None = None
    """Steps of each training."""
    variant: VariantResult | None = None
    """What was measured, for variants."""
    fallen: bool = False


def summary_rows(report: Report) -> tuple[Row, ...]:
    """``linear``, teacher and the arms in the report's order, then the teacher's and the student's variants.

    Below the exported arm stands the seed of it that was exported, so that it is seen beside the mean; where it was
    compressed first, its score is that from before, and the variants have that of what is left.
    """
    rows = []
    for arm in report.arms:
        rows.append(_arm_row(arm))
        seed = exported_seed(report) if arm.name == report.exported_arm else None
        if seed is not None:
            alone = Estimate(seed.test, math.nan, math.nan, "one seed")
            what = "before compression" if report.compression else mark_of_student(report)
            rows.append(Row("seed", f"seed {seed.seed}, {what}", alone))
    for model in ("teacher", "student"):
        trained = arm_named(report, "teacher" if model == "teacher" else report.exported_arm)
        count = trained.parameters if trained else None
        if model == "student" and report.compression:
            count = report.compression[-1].parameters_after
        rows += [
            Row(
                "variant",
                f"{model} {variant.variant}",
                variant.score,
                parameters=count,
                variant=variant,
                fallen=fell(variant),
            )
            for variant in report.variants
            if variant.model == model
        ]
    return tuple(rows)


def _arm_row(arm: ArmResult) -> Row:
    return Row("arm", arm.name, arm.score, arm.gap_recovered, arm.agreement, arm.parameters, arm.budget)
