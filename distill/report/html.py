"""The report as one HTML file that asks nothing of the network."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from distill import formatting
from distill.report import findings, legend, search, switching, target
from distill.results import Figure, Measurement, Report, Scale, VariantResult, scale_of

Quantity = tuple[str, str, Callable[[Measurement], Figure | None]]
QUANTITIES: tuple[Quantity, ...] = (
    ("file size", "the model file", lambda m: m.file_size),
    ("latency p50", "one text, real lengths", lambda m: m.latency_p50),
    ("latency p95", "one text, real lengths", lambda m: m.latency_p95),
    ("latency p50, {longest} tokens", "one text", lambda m: m.latency_128_p50),
    ("latency p95, {longest} tokens", "one text", lambda m: m.latency_128_p95),
    ("throughput", "batch 32", lambda m: m.throughput),
    ("peak memory", "resident, whole process", lambda m: m.memory_peak),
    ("memory after loading", "resident", lambda m: m.memory_after_load),
    ("memory before loading", "resident", lambda m: m.memory_before_load),
    ("energy", "per 1,000 texts", lambda m: m.energy),
    ("time to first token", "one prompt", lambda m: m.first_token),
    ("writing", "tokens behind one prompt", lambda m: m.writing_rate),
    ("cache", "per token", lambda m: m.cache_growth),
)
"""What a measurement is shown by; a row stands where one of the variants has the figure. ``longest`` is 128, or the
model's maximum below."""


@dataclass(frozen=True)
class Method:
    """How quantities were obtained, and of what."""

    quantities: tuple[str, ...]
    how: str
    method: str
    subjects: tuple[str, ...]


def render_html(report: Report) -> str:
    """The whole report as HTML: no outside requests, readable in light and dark, on paper and on a phone.

    The same report gives the same text, byte for byte. All names in it are escaped.
    """
    from distill.report import plots, tradeoffs  # matplotlib takes its time, and a table needs none

    drawn = {
        "against_size": tradeoffs.score_against_size(report),
        "against_latency": tradeoffs.score_against_latency(report),
        "drop_against_size": report.search and tradeoffs.drop_against_size(report.search),
        "drop_against_latency": report.search and tradeoffs.drop_against_latency(report.search),
        "curves": plots.training_curves(report),
        "seeds": plots.seeds_by_arm(report),
        "attention": plots.attention_maps(report),
        "probes": plots.probes_by_layer(report),
    }
    measured = [variant for variant in report.variants if variant.measurement]
    return _template().render(
        report=report,
        headline=findings.headline(report),
        savings=findings.savings(report),
        soft_labels=findings.soft_labels(report),
        primary=findings.primary_contrasts(report),
        secondary=[contrast for contrast in report.contrasts if not contrast.primary],
        warnings=findings.all_warnings(report),
        target=target.target_in_words(report.target, report.scale),
        rungs=search.all_rows(report.search) if report.search else (),
        front=target.front_in_words(report.target, report.scale) if report.target else (),
        cascade=switching.cascade_in_words(report),
        cascade_rows=switching.cascade_rows(report),
        cascade_score=switching.score_of_cascade(report),
        switch_over=switching.switch_in_words(report),
        switched_to=report.switch_over and switching.switched_to(report.switch_over),
        given_by=report.switch_over and switching.given_by(report.switch_over),
        labels_shown=switching.LABELS_SHOWN,
        labelled=report.metric != findings.AGREEMENT,
        shipped=findings.shipped_variant(report),
        bundle=findings.bundle_in_words(report) if findings.shipped_variant(report) else "",
        mark=findings.mark_of_student(report),
        exported_arm=findings.arm_named(report, report.exported_arm),
        exported_seed=findings.exported_seed(report),
        fell=findings.fell,
        why_it_fell=findings.why_it_fell,
        missed_at=findings.missed_at,
        file_size=findings.file_size,
        metric=legend.metric_title(report.metric),
        metric_in_words=legend.metric_in_words(report),
        unit=legend.score_unit(report),
        scale=report.scale,
        whole=Scale(digits=0),
        with_gap=findings.has_gap(report),
        learnt=any(arm.agreement_learnt is not None for arm in report.arms),
        further=_further_metrics(report),
        out_of_scope=bool(findings.out_of_scope(report)),
        tiles=_tiles(report),
        quantities=[
            row for row in quantities_of(report) if any(v.measurement and row[2](v.measurement) for v in measured)
        ],
        measured_variants=measured,
        methods=_methods(report),
        total_seconds=math.fsum(cost.seconds for cost in report.costs),
        plots={name: plot and (plot, Markup(plot.svg)) for name, plot in drawn.items()},
        settings=json.dumps(report.provenance.settings, indent=2, ensure_ascii=False, default=str),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        {
            "percent": formatting.percent,
            "score": formatting.score,
            "plus_minus": formatting.plus_minus,
            "bounds": formatting.bounds,
            "point_bounds": formatting.point_bounds,
            "p_value": formatting.p_value,
            "power_note": formatting.power_note,
            "figure": formatting.figure,
            "number": formatting.number,
            "parameters": formatting.parameters,
            "duration": formatting.duration,
            "sentence_case": formatting.sentence_case,
            "with_unit": formatting.with_unit,
            "others": switching.others_in_words,
        }
    )
    return environment.get_template("report.html.j2")


@dataclass(frozen=True)
class Tile:
    """A quantity of the bundle beside the teacher's."""

    title: str
    student: str
    teacher: str
    note: str = ""


def quantities_of(report: Report) -> list[Quantity]:
    """Those of :data:`QUANTITIES`, with the length that they are about."""
    longest = min(128, report.data.max_length or 128)
    return [(name.format(longest=longest), what, read) for name, what, read in QUANTITIES]


def _tiles(report: Report) -> list[Tile]:
    student, teacher = findings.shipped_variant(report), findings.teacher_reference(report)
    if student is None:
        return []

    def score(variant: VariantResult | None) -> str:
        return legend.score_in_words(report, variant.score.value) if variant and variant.score else formatting.DASH

    cascade = report.cascade
    own = findings.score_of_bundle(report)
    reached = legend.score_in_words(report, own.value) if own else formatting.DASH
    times_100 = " × 100" if legend.score_unit(report) == "× 100" else ""
    tiles = [Tile(legend.metric_title(report.metric) + times_100, reached, score(teacher))]
    size_of_teacher = findings.file_size(teacher) if teacher else None
    other = teacher.measurement if teacher else None
    quantities = [("file", findings.file_size(student), size_of_teacher)]
    if cascade:
        quantities = [
            ("files", cascade.size, size_of_teacher),
            ("p50 latency", cascade.latency, other.latency_p50 if other else None),
            ("energy per 1,000 texts", cascade.energy, other.energy if other else None),
        ]
    elif student.measurement:
        quantities += [
            ("p50 latency", student.measurement.latency_p50, other.latency_p50 if other else None),
            ("peak memory", student.measurement.memory_peak, other.memory_peak if other else None),
            ("energy per 1,000 texts", student.measurement.energy, other.energy if other else None),
        ]
    for title, mine, theirs in quantities:
        if mine.value is None:
            continue
        estimated = "estimated" if "estimated" in (mine.how, theirs.how if theirs else "") else ""
        tiles.append(Tile(title, _short(mine), _short(theirs), estimated))
    return tiles


@dataclass(frozen=True)
class Column:
    """A further metric, with its value for each arm in the report's order."""

    title: str
    """With its unit."""
    values: tuple[str, ...]


def _further_metrics(report: Report) -> list[Column]:
    """Everything that was computed of the arms beside the primary metric, and for at least one of them."""
    columns = []
    for name in dict.fromkeys(name for arm in report.arms for name in arm.metrics):
        unit = legend.metric_unit(name, report)
        values = [arm.metrics.get(name, math.nan) for arm in report.arms]
        shown = [formatting.number(v) if unit == "nats" else formatting.score(v, scale_of(name)) for v in values]
        columns.append(Column(formatting.with_unit(legend.metric_title(name), unit), tuple(shown)))
    errors = tuple(formatting.percent(arm.calibration_error) for arm in report.arms)
    if any(error != formatting.DASH for error in errors):
        columns.append(Column("calibration error, %", errors))
    return columns


def _short(figure: Figure | None) -> str:
    """``171 J`` where the tile's title already says of what."""
    return formatting.figure(figure).split(" per ")[0]


def _methods(report: Report) -> list[Method]:
    """Each way a figure was obtained, once, with the quantities and the files or stages it holds for."""
    subjects: dict[tuple[str, str, str], list[str]] = {}
    for variant in report.variants:
        if variant.measurement is None:
            continue
        for quantity, _, read in quantities_of(report):
            figure = read(variant.measurement)
            if figure is None:
                continue
            subjects.setdefault((quantity, figure.how, figure.method), []).append(f"{variant.model} {variant.variant}")
    for cost in report.costs:
        key = ("energy of training", cost.energy.how, cost.energy.method)
        subjects.setdefault(key, []).append(cost.stage)
    quantities: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (quantity, how, method), names in subjects.items():
        quantities.setdefault((how, method, tuple(names)), []).append(quantity)
    return [Method(tuple(names), how, method, of) for (how, method, of), names in quantities.items()]
