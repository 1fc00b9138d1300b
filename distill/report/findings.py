"""What a report found, in words: the headline, what fell and why, what to be warned of."""

import math

from distill.formatting import (
    duration,
    number,
    p_value,
    parameters,
    percent,
    point_bounds,
    power_note,
    sentence_case,
)
from distill.report.legend import metric_in_words, metric_title, score_in_words
from distill.results import (
    FLOORS,
    ArmResult,
    Contrast,
    Ensemble,
    Estimate,
    Figure,
    Gate,
    Report,
    Scale,
    SeedResult,
    VariantResult,
)

ACCURACY = "accuracy"
AGREEMENT = "agreement"


def arm_named(report: Report, name: str) -> ArmResult | None:
    """The arm called ``name``, where the run had one."""
    return next((arm for arm in report.arms if arm.name == name), None)


def has_gap(report: Report) -> bool:
    """Whether there is a ``linear`` to measure the gap to the teacher from; question answering has none."""
    return arm_named(report, "linear") is not None


def exported_seed(report: Report) -> SeedResult | None:
    """The one training that was exported."""
    arm = arm_named(report, report.exported_arm)
    return next((seed for seed in arm.seeds if seed.seed == report.exported_seed), None) if arm else None


def fell(variant: VariantResult) -> bool:
    """True where parity or a gate was not passed."""
    return any(check is not None and not check.passed for check in (variant.parity, variant.gate))


def why_it_fell(variant: VariantResult) -> str:
    """The check that was not passed, and why; empty where none fell."""
    reasons = []
    if variant.parity is not None and not variant.parity.passed:
        parity = variant.parity
        found = (
            f"differs from torch by {parity.max_abs_difference:.2g} (at most {parity.tolerance:.2g} allowed), "
            f"answers {'equal' if parity.answers_equal else 'not equal'}; "
        )
        reasons.append(f"parity: {found if math.isfinite(parity.max_abs_difference) else ''}{parity.detail}")
    if variant.gate is not None and not variant.gate.passed:
        missed = missed_at(variant.gate)
        reasons.append(f"gate: {f'{missed}: ' if missed else ''}{variant.gate.reason}")
    return "; ".join(reasons)


def missed_at(gate: Gate) -> str:
    """Which of the two conditions was not met, in words; empty where both were, and where there is but one."""
    if gate.min_agreement is None:
        return ""
    conditions = (
        ("too much of the score is lost", gate.keeps_score),
        ("too many tokens differ", gate.keeps_tokens),
    )
    return ", and ".join(words for words, kept in conditions if not kept)


def file_size(variant: VariantResult) -> Figure:
    """MB of the model file: as measured beside latency, else what the file system said."""
    if variant.measurement is not None:
        return variant.measurement.file_size
    if variant.file_bytes:
        return Figure(variant.file_bytes / 1e6, "MB", "measured", "size of the file")
    return Figure(None, "MB", "unavailable", "not recorded")


def shipped_variant(report: Report) -> VariantResult | None:
    """The file that the headline is about: the one that a target chose, else the smallest in the bundle that runs
    everywhere."""
    shipped = [v for v in report.variants if v.shipped and not v.needs]
    if report.target is not None:
        chosen = report.target.chosen
        return next((v for v in shipped if f"{v.model} {v.variant}" == chosen), None)
    return min(shipped, key=lambda v: file_size(v).value or math.inf, default=None)


def teacher_reference(report: Report) -> VariantResult | None:
    """The teacher's fp32 file, which students are set against."""
    return next((v for v in report.variants if v.model == "teacher" and v.variant == "fp32"), None)


def primary_contrasts(report: Report) -> tuple[Contrast, ...]:
    """The contrasts that were named beforehand."""
    return tuple(contrast for contrast in report.contrasts if contrast.primary)


def contrast_in_words(contrast: Contrast, scale: Scale) -> str:
    """``soft against hard: no difference shown (+0.4 points [−0.6, +1.4], p = 0.412; 80 % power at 1.4 points)``."""
    figures = f"{point_bounds(contrast.difference, scale)}, {p_value(contrast.p_value)}"
    if note := power_note(contrast.smallest_shown, scale):
        figures += f"; {note}"
    return f"{contrast.arm} against {contrast.against}: {contrast.verdict} ({figures})"


def bundle_in_words(report: Report) -> str:
    """Who answers in the bundle: ``int8 student``, or ``cascade``."""
    shipped = shipped_variant(report)
    assert shipped is not None
    return "cascade" if report.cascade else f"{shipped.variant} {shipped.model}"


def score_of_bundle(report: Report) -> Estimate | None:
    """On test, by the primary metric; None where it was not evaluated. A cascade is scored by its answers alone, which
    say nothing of other metrics."""
    shipped = shipped_variant(report)
    if report.cascade:
        return report.cascade.score if report.metric in (ACCURACY, AGREEMENT) else None
    return shipped.score if shipped else None


def headline(report: Report) -> str:
    """One sentence: what the bundle scores beside the teacher and ``linear``."""
    shipped = shipped_variant(report)
    if shipped is None:
        return "No student is shipped: no variant passed."
    own = score_of_bundle(report)
    scores = [
        (f"the {bundle_in_words(report)}", own),
        *([(f"{'its' if own else 'the'} {shipped.variant} student alone", shipped.score)] if report.cascade else []),
        *((name, arm.score) for name in ("teacher", "linear") if (arm := arm_named(report, name))),
    ]
    known = [
        f"{name} {score_in_words(report, score.value)}"
        for name, score in scores
        if score and math.isfinite(score.value)
    ]
    if not known:
        return f"The {bundle_in_words(report)} is shipped; its {metric_title(report.metric)} was not evaluated."
    return f"{sentence_case(metric_in_words(report))} on test: {', '.join(known)}."


def savings(report: Report) -> tuple[str, ...]:
    """How the bundle's figures stand to the teacher's in fp32: ``15.6 times smaller`` …

    A ratio is left out where a figure is missing or was not obtained in the same way.
    """
    student, teacher = shipped_variant(report), teacher_reference(report)
    if student is None or teacher is None:
        return ()
    pairs = [(file_size(teacher), report.cascade.size if report.cascade else file_size(student), "smaller", "larger")]
    if student.measurement and teacher.measurement and not report.cascade:
        of_teacher, of_student = teacher.measurement, student.measurement
        pairs += [
            (of_teacher.latency_p50, of_student.latency_p50, "faster", "slower"),
            (of_teacher.memory_peak, of_student.memory_peak, "less memory", "more memory"),
        ]
    words = []
    for before, after, better, worse in pairs:
        try:
            ratio = before.ratio_to(after)
        except (ValueError, ZeroDivisionError):
            continue
        if math.isfinite(ratio) and ratio > 0:
            words.append(f"{number(max(ratio, 1 / ratio))} times {better if ratio >= 1 else worse}")
    return tuple(words)


def training_time(report: Report) -> str:
    """``Training took 12 min 05 s: teacher 31 %, soft labels 6 %, students 61 %, other 2 %.``; empty where unknown."""
    kinds = {
        "teacher": "teacher",
        "soft": "soft labels",
        "what": "texts it wrote",
        "assistant": "assistants",
        "student": "students",
        "compression": "compression",
    }
    seconds: dict[str, float] = dict.fromkeys((*kinds.values(), "other"), 0.0)
    for cost in report.costs:
        kind = next((kind for first, kind in kinds.items() if cost.stage.startswith(first)), "other")
        seconds[kind] += cost.seconds
    whole = sum(seconds.values())
    if not whole:
        return ""
    shares = ", ".join(f"{kind} {100 * share / whole:.0f} %" for kind, share in seconds.items() if share)
    return f"Training took {duration(whole)}: {shares}."


def soft_labels(report: Report) -> str:
    """That soft labels are out of fold, or of several teachers, and what that changes; empty where students learn from
    the one teacher itself."""
    if report.ensemble is not None:
        return mixture(report, report.ensemble)
    found = report.cross_fitting
    if found is None:
        return ""
    out, known, mean, teacher = (
        score_in_words(report, value)
        for value in (found.out_of_fold, found.in_fold, found.validation, found.teacher_validation)
    )
    return (
        f"Out of fold (cross-fitting, {found.folds} folds): each labelled training text has the soft label of a "
        f"teacher that did not learn it, every other text the mean of {found.folds} teachers. Agreement with the "
        f"data's labels on the labelled training texts ({metric_in_words(report)}): {out}; of the teacher that learnt "
        f"them all: {known}. On validation: {mean} the mean, {teacher} that teacher."
    )


def mixture(report: Report, found: Ensemble) -> str:
    """Who stands in a mixture of teachers, with what weight, and what each reaches on validation."""
    known = report.metric != "agreement"
    members = [
        f"{source}, weight {share:.2f}" + (f", {score_in_words(report, score)} on validation" if known else "")
        for source, share, score in zip(found.sources, found.weights, found.scores, strict=True)
    ]
    how = ", times the probability that each gives to its answer" if found.by_confidence else ""
    reached = f" The mixture reaches {score_in_words(report, found.validation)} on validation." if known else ""
    return (
        f"The teacher is a mixture of {len(members)}, the weighted mean of their probabilities{how}: "
        f"{'; '.join(members)}.{reached} It is not exported as one model, so its size and speed are not measured."
    )


def compression_in_words(report: Report) -> tuple[str, ...]:
    """One sentence for each step with the chosen model before its export."""

    def reached(value: float) -> str:
        return score_in_words(report, value)

    return tuple(
        f"{step.name} ({step.what}): {parameters(step.parameters_before)} parameters before, "
        f"{parameters(step.parameters_after)} after; {metric_in_words(report)} on validation {reached(step.before)} "
        f"before, {reached(step.cut)} behind it, "
        + (f"{reached(step.recovered)} after training on" if step.learning_rate else "which no training bettered")
        for step in report.compression
    )


def out_of_scope(report: Report) -> str:
    """``linear 81.0, teacher 91.2, …``: the AUROC of each arm's confidence, × 100; empty where it was not evaluated."""
    known = [
        (arm.name, arm.metrics["out_of_scope_auroc"]) for arm in report.arms if "out_of_scope_auroc" in arm.metrics
    ]
    return ", ".join(f"{name} {percent(auroc)}" for name, auroc in known)


def ships_student(report: Report) -> bool:
    """Whether the bundle holds the student; else a target chose a file of the teacher, or nothing passed."""
    return any(v.model == "student" and v.shipped for v in report.variants)


def mark_of_student(report: Report) -> str:
    """What became of the best student."""
    if not ships_student(report):
        return "not shipped"
    return "compressed" if report.compression else "exported"


def losses_to_floors(report: Report) -> tuple[str, ...]:
    """One sentence for each floor on test that what is shipped scores below: a cascade, or else the exported arm and
    files."""
    shipped = [(f"{v.model} {v.variant}", v.score.value) for v in report.variants if v.shipped and v.score is not None]
    exported, bundle = arm_named(report, report.exported_arm), score_of_bundle(report)
    if report.cascade:
        shipped = [("the cascade", bundle.value)] if bundle else []
    elif exported is not None and exported.name not in FLOORS and ships_student(report):
        mean = " (mean over seeds)" if len(exported.seeds) > 1 else ""
        shipped.insert(0, (f"{exported.name}{mean}", exported.score.value))
    found = []
    for floor in filter(None, (arm_named(report, name) for name in FLOORS)):
        below = [f"{name} {score_in_words(report, score)}" for name, score in shipped if score < floor.score.value]
        if below:
            reached = score_in_words(report, floor.score.value)
            found.append(f"what is shipped loses to {floor.name}, which scores {reached}: {', '.join(below)}.")
    return tuple(found)


def all_warnings(report: Report) -> tuple[str, ...]:
    """The run's warnings, and anything shipped that loses to a floor; each once."""
    return tuple(dict.fromkeys((*report.warnings, *losses_to_floors(report))))
