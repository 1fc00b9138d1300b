"""The bundle's ``README.md``: a model card as the hub reads it."""

import json
import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from distill import formatting
from distill.report import findings, legend, switching, target
from distill.report.rows import summary_rows
from distill.results import DataSummary, Figure, Report

HUB_LICENCES = {
    "apache-2.0",
    "mit",
    "bsd-2-clause",
    "bsd-3-clause",
    "cc0-1.0",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "gpl-2.0",
    "gpl-3.0",
    "lgpl-3.0",
    "agpl-3.0",
    "mpl-2.0",
    "openrail",
    "unlicense",
}
"""Licences that the hub knows by these names; it wants any other as ``other`` with a name."""


def render_card(report: Report) -> str:
    """The model card as Markdown with YAML front matter: results, use with and without this package, limits, licences.

    The plain example runs the smallest shipped file with the task's own code.
    """
    shipped = findings.shipped_variant(report)
    return _template().render(
        report=report,
        words=report.task_in_words,
        front_matter=_front_matter(report),
        headline=findings.headline(report),
        savings=findings.savings(report),
        bundle=findings.bundle_in_words(report) if shipped else "",
        soft_labels=findings.soft_labels(report),
        target=target.target_in_words(report.target, report.scale),
        compression=findings.compression_in_words(report),
        cascade=switching.cascade_in_words(report),
        switch_over=switching.switch_in_words(report),
        shipped=shipped,
        verdicts=[findings.contrast_in_words(c, report.scale) for c in findings.primary_contrasts(report)],
        choosy=[v for v in report.variants if v.shipped and v.needs],
        fallen=[(v, findings.why_it_fell(v)) for v in report.variants if findings.fell(v)],
        warnings=findings.all_warnings(report),
        table=_table(report),
        metric_in_words=legend.metric_in_words(report),
        with_gap=findings.has_gap(report),
        out_of_scope=findings.out_of_scope(report),
        data_counts=_counts(report.data),
        measured=[v for v in report.variants if v.measurement and v.model == "student"],
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=False,  # Markdown; `inline` escapes what could be taken for markup
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        {
            "inline": _inline,
            "percent": formatting.percent,
            "duration": formatting.duration,
            "figure": formatting.figure,
            "provenance": _provenance,
            "sentence_case": formatting.sentence_case,
        }
    )
    return environment.get_template("model_card.md.j2")


def _front_matter(report: Report) -> str:
    """YAML, its strings written as JSON, which YAML reads."""
    licence = report.teacher_licence.strip().lower()
    lines = [f"license: {licence}"] if licence in HUB_LICENCES else ["license: other"]
    if licence not in HUB_LICENCES:
        lines.append(f"license_name: {_string(report.teacher_licence or 'unknown')}")
    lines += ["library_name: onnx"]
    if report.task_in_words.hub_tag:
        lines.append(f"pipeline_tag: {report.task_in_words.hub_tag}")
    lines += ["tags:", *(f"- {tag}" for tag in ("onnx", "onnxruntime", "knowledge-distillation", "distill"))]
    lines += ["metrics:", f"- {_string(report.metric)}"]
    return "\n".join(lines)


def _string(text: str) -> str:
    return json.dumps(" ".join(text.split()), ensure_ascii=False)


def _inline(text: str) -> str:
    """Text that Markdown and HTML take literally, on one line."""
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", line)


def _provenance(energy: Figure) -> str:
    """How it was obtained; of an estimate, which is made in one way, without the numbers that went into it."""
    return energy.how if energy.how == "estimated" else f"{energy.how} ({_inline(energy.method)})"


def _table(report: Report) -> str:
    with_gap = findings.has_gap(report)
    header = [
        "",
        f"{formatting.with_unit(_inline(legend.metric_title(report.metric)), legend.score_unit(report))} ± 95 %",
        *(["gap recovered, %"] if with_gap else []),
        f"agreement, {report.task_in_words.agreement_unit}",
        "parameters",
        "MB",
        "p50, ms",
        "peak MB",
    ]
    lines = [header, ["---", *["---:"] * (len(header) - 1)]]
    for row in summary_rows(report):
        measurement = row.variant.measurement if row.variant else None
        name = _inline(row.name)
        gap = formatting.percent(row.gap_recovered.value, 0) if row.gap_recovered else formatting.DASH
        lines.append(
            [
                f"{name} (fell)" if row.fallen else f"*{name}*" if row.kind == "seed" else name,
                formatting.plus_minus(row.score, report.scale),
                *([gap] if with_gap else []),
                formatting.percent(row.agreement),
                formatting.parameters(row.parameters),
                formatting.number(findings.file_size(row.variant).value) if row.variant else formatting.DASH,
                formatting.number(measurement.latency_p50.value) if measurement else formatting.DASH,
                formatting.number(measurement.memory_peak.value) if measurement else formatting.DASH,
            ]
        )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _counts(data: DataSummary) -> str:
    """``1,500 labelled, 5,200 without labels, …``."""
    counts = [
        (data.labelled, "labelled"),
        (data.transfer, "without labels"),
        (data.validation, "validation"),
        (data.test, "test"),
    ]
    return ", ".join(f"{count:,} {what}" for count, what in counts)
