"""What a report says of a cascade, and to who puts the student in the teacher's place."""

from dataclasses import dataclass

from distill.formatting import figure, percent, point_bounds
from distill.report.findings import ACCURACY, AGREEMENT, file_size
from distill.results import Cascade, Estimate, Figure, Report, SwitchOver, VariantResult

LABELS_SHOWN = 20
"""Labels with the most flips; `report.json` has all."""
OTHERS_SHOWN = 3
"""Of the labels that the student gives in the place of one."""


@dataclass(frozen=True)
class CascadeRow:
    """One of the two models alone, or both."""

    name: str
    score: Estimate
    calls: str
    """Share of the texts that are asked of the teacher, in percent."""
    figures: tuple[Figure | None, ...]
    """Size, latency, energy."""


def score_of_cascade(report: Report) -> str:
    """What its scores are."""
    return "agreement with the teacher" if report.metric == AGREEMENT else ACCURACY


def cascade_in_words(report: Report) -> str:
    """Who answers, how often the teacher is asked, and what that loses and costs; empty where there is no cascade."""
    found = report.cascade
    if found is None:
        return ""
    return (
        f"The {found.small} student answers; a text whose highest probability is below {found.threshold:.4f} is asked "
        f"of the teacher in {found.larger}: {percent(found.calls.value)} % of test. "
        f"{score_of_cascade(report).capitalize()} on test: cascade {percent(found.score.value)} %, student alone "
        f"{percent(found.small_score.value)} %, teacher {percent(found.larger_score.value)} %; against the teacher "
        f"{point_bounds(found.difference)}. Chosen on validation, {loss_in_words(found)}. Expected of a text: "
        f"{cost_in_words(found)}; both models take {figure(found.size)}."
    )


def loss_in_words(found: Cascade) -> str:
    """On validation."""
    return (
        f"where the teacher is asked about {percent(found.validation_calls)} % and {100 * found.drop:.2f} points are "
        f"lost, at most {100 * found.bound:.2f} on other texts ({100 * found.max_drop:g} allowed; {found.method})"
    )


def cost_in_words(found: Cascade) -> str:
    """Latency and energy, where they are known."""
    latency, energy = (
        f"{what} {figure(one) if one.value is not None else 'unavailable'}"
        for what, one in (("p50 latency", found.latency), ("energy", found.energy))
    )
    return f"{latency}, {energy} (estimated)" if found.latency.value is not None else f"{latency}, {energy}"


def cascade_rows(report: Report) -> list[CascadeRow]:
    """Student, teacher and cascade, side by side."""
    found = report.cascade
    if found is None:
        return []

    def alone(model: str, variant: str, score: Estimate, calls: str) -> CascadeRow:
        one = next((v for v in report.variants if (v.model, v.variant) == (model, variant)), None)
        return CascadeRow(f"{model} {variant}", score, calls, figures_of(one))

    return [
        alone("student", found.small, found.small_score, "0"),
        alone("teacher", found.larger, found.larger_score, "100"),
        CascadeRow("cascade", found.score, percent(found.calls.value), (found.size, found.latency, found.energy)),
    ]


def figures_of(variant: VariantResult | None) -> tuple[Figure | None, ...]:
    """Size, latency and energy of one model."""
    if variant is None:
        return (None, None, None)
    if variant.measurement is None:
        return (file_size(variant), None, None)
    return (file_size(variant), variant.measurement.latency_p50, variant.measurement.energy)


def switch_in_words(report: Report) -> str:
    """How many answers flip; empty where that is not known."""
    found = report.switch_over
    if found is None:
        return ""
    who = switched_to(found)
    words = (
        f"{found.flips:,} of {found.texts:,} test texts ({percent(found.flips / found.texts)} %) get another answer "
        f"from the {who} than from the teacher"
    )
    if report.metric == AGREEMENT:
        return f"{words}."
    right = f"{found.right_before:,} that the teacher had right, {found.right_after:,} that the {given_by(found)} has"
    return f"{words}: {right}."


def switched_to(found: SwitchOver) -> str:
    """What stands in the teacher's place: ``int8 student``, ``int8 file of the teacher`` or ``cascade``."""
    if found.model == "cascade":
        return found.model
    return f"{found.variant} student" if found.model == "student" else f"{found.variant} file of the {found.model}"


def given_by(found: SwitchOver) -> str:
    """The same in one word."""
    return "file" if found.model == "teacher" else found.model


def others_in_words(to: dict[str, int]) -> str:
    """``rotten 12, fresh 3, …``: the labels that take the place of one."""
    shown = [f"{label} {count:,}" for label, count in list(to.items())[:OTHERS_SHOWN]]
    return ", ".join([*shown, "…"] if len(to) > OTHERS_SHOWN else shown)
