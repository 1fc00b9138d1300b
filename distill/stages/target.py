"""Which file the bundle holds, where the recipe says what it must keep."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from distill.config.schema import needs
from distill.results import Estimate, Figure, Offer, TargetResult, VariantResult, within
from distill.stages.artifacts import Artifact, load_units
from distill.stages.context import Lesson, Run, open_store, units_of
from distill.stages.findings import Exported, StaticFloor

if TYPE_CHECKING:
    from distill.metrics import Statistics

POINTS = 100
"""In a score of 1."""


def meet_target(
    this: Run,
    lesson: Lesson,
    made: tuple[Exported, ...],
    variants: tuple[VariantResult, ...],
    linear: Artifact | None,
    static: StaticFloor | None,
) -> tuple[TargetResult | None, Exported, tuple[VariantResult, ...]]:
    """(how the target is met, the model that the bundle holds, what becomes of each variant). The student stands last
    in ``made``. The choice is made on validation; the teacher's files, where it has some, are candidates with the
    student's."""
    from distill.evaluation.choice import choose

    student = made[-1]
    if this.config.target is None:
        return None, student, variants
    teacher = teacher_on_validation(lesson)
    offers = {
        (one.who, v.variant): offer(one, v, teacher)
        for one in made
        for v in variants
        if v.model == one.who and one.shipped(v.variant) and not needs(v.variant)
    }
    if not offers:
        return None, student, variants
    limits = this.config.target.limits
    result = replace(choose(list(offers.values()), limits), floors=floors(lesson, limits, linear, static))
    who, variant = next(key for key, one in offers.items() if one.name == result.chosen)
    exported = replace(next(one for one in made if one.who == who), preferred=variant)
    if who == "teacher":
        variants = tuple(replace(v, shipped=(v.model, v.variant) == (who, variant)) for v in variants)
    return result, exported, variants


def teacher_on_validation(lesson: Lesson) -> "Statistics":
    """[n, K] of the primary metric."""
    dataset, task = lesson.texts.dataset, lesson.texts.task
    units = units_of(open_store(lesson.signal.on_validation), dataset.validation)
    predictions = lesson.signal.task.predictions(units, dataset.validation)
    return task.metric.statistics(predictions, task.gold(dataset.validation))


def offer(exported: Exported, variant: VariantResult, teacher: "Statistics") -> Offer:
    """What a variant costs, and what it loses to the teacher on validation."""
    from distill.evaluation import paired_difference
    from distill.evaluation.summary import statistics

    units = load_units(exported.artifact.directory / f"validation_{variant.variant}.npz")
    task, measured = exported.texts.task, variant.measurement
    own = statistics(task, units, exported.texts.dataset.validation)
    lost = paired_difference(task.metric, teacher[None], own[None])
    value, low, high = (POINTS * end for end in (lost.value, lost.low, lost.high))
    return Offer(
        model=exported.who,
        variant=variant.variant,
        drop=Estimate(value, low, high, lost.method),
        size_mb=variant.file_bytes / 1e6,
        latency_ms=known(None if measured is None else measured.latency_p50),
        memory_mb=known(None if measured is None else measured.memory_peak),
    )


def known(figure: Figure | None) -> float:
    """Its value; NaN where there is none."""
    return math.nan if figure is None or figure.value is None else figure.value


def floors(
    lesson: Lesson, limits: dict[str, float], linear: Artifact | None, static: StaticFloor | None
) -> dict[str, float]:
    """Points that each floor loses to the teacher on validation, of those that lose no more than is allowed."""
    if "drop" not in limits:
        return {}
    reached = {
        "linear": None if linear is None else linear.read("result.json")["validation"],
        "static": None if static is None else static.arm.validation,
    }
    best = float(lesson.texts.task.metric.reduce(teacher_on_validation(lesson)))
    lost = {name: POINTS * (best - score) for name, score in reached.items() if score is not None}
    return {name: points for name, points in lost.items() if within(points, limits["drop"])}
