"""The summary on the terminal: tables of 100 columns, also when piped."""

import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from distill.formatting import CONTROLS, DASH, number, parameters, percent, plus_minus, score, shorten
from distill.report.findings import (
    all_warnings,
    arm_named,
    bundle_in_words,
    compression_in_words,
    contrast_in_words,
    fell,
    file_size,
    has_gap,
    out_of_scope,
    savings,
    score_of_bundle,
    shipped_variant,
    soft_labels,
    training_time,
    why_it_fell,
)
from distill.report.legend import (
    CORRELATIONS,
    metric_title,
    score_unit,
)
from distill.report.rows import Row, summary_rows
from distill.report.switching import cascade_in_words, switch_in_words
from distill.report.target import target_in_words
from distill.results import Estimate, Figure, Report, Scale

WIDTH = 100
NAME_WIDTH = 28
BF16 = "bf16: "
"""What the report's words on precision begin with where students were trained in it."""

OF_SPLIT = (
    "split_seed",
    "validation_share",
    "test_share",
    "splits",
    "group",
    "drop_labels",
    "label_map",
    "text",
    "pair",
)
"""Settings of the data by which texts become those of test."""


def print_table(report: Report, stream: TextIO | None = None) -> None:
    """Prints the summary table of a run, and below it verdicts, fallen variants and warnings.

    Args:
        report: What the run found out.
        stream: Where to; standard output when None.

    Only measured figures stand in the table: estimates are left to the HTML report, where they are marked.
    """
    console = console_on(stream)
    rows = summary_rows(report)
    with_gap = has_gap(report)
    with_energy = any(_measured(_energy(row)) != DASH for row in rows)
    table = plain_table()
    _name_column(table, "")
    for concept, unit in [
        (shorten(metric_title(report.metric), 15), f"{score_unit(report)} ± 95 %".strip()),
        *([("gap", "%")] if with_gap else []),
        ("agree", report.task_in_words.agreement_unit),
        ("steps", ""),
        ("params", ""),
        ("size", "MB"),
        ("p50", "ms"),
        ("memory", "MB"),
        *([("energy", "J/1,000")] if with_energy else []),
    ]:
        table.add_column(f"{concept}\n{unit}", justify="right", no_wrap=True)
    previous = rows[0].kind if rows else "arm"
    for row in rows:
        if row.kind == "variant" and previous != "variant":
            table.add_section()
        previous = row.kind
        table.add_row(*_cells(row, report.scale, with_gap, with_energy), style=_style(row))
    console.print(Text(shorten(f"{report.name} · {report.task}", WIDTH), style="bold"))
    console.print(Text(shorten(f"teacher: {report.teacher_source}", WIDTH), style="dim"))
    console.print(table)
    console.print(Text(textwrap.fill(_legend(report), WIDTH), style="dim"))
    if shares := training_time(report):
        console.print(Text(textwrap.fill(shares, WIDTH), style="dim"))
    _print_verdicts(console, report)


def compare(reports: Sequence[Report], stream: TextIO | None = None) -> None:
    """Prints several runs side by side, a run a line: the arms every run has, and what its bundle answers with."""
    console = console_on(stream)
    table = plain_table()
    _name_column(table, "run\n")
    units = {score_unit(report) for report in reports}
    unit_of_scores = "%" if units == {"%"} else "" if "" in units else "× 100"
    for concept, unit in [
        ("linear", unit_of_scores),
        ("teacher", unit_of_scores),
        ("exported", f"{unit_of_scores} ± 95 %".strip()),
        ("gap", "%"),
        ("shipped", unit_of_scores),
        ("file", ""),
        ("size", "MB"),
        ("p50", "ms"),
        ("memory", "MB"),
    ]:
        table.add_column(f"{concept}\n{unit}", justify="right", no_wrap=True)
    for report in reports:
        linear, teacher, exported = (arm_named(report, n) for n in ("linear", "teacher", report.exported_arm))
        shipped, own, cascade = shipped_variant(report), score_of_bundle(report), report.cascade
        measurement = shipped.measurement if shipped and cascade is None else None
        table.add_row(
            Text(shorten(report.name, 20)),
            score(linear.score.value, report.scale) if linear else DASH,
            score(teacher.score.value, report.scale) if teacher else DASH,
            plus_minus(exported.score, report.scale) if exported else DASH,
            _gap(exported.gap_recovered if exported else None),
            score(own.value, report.scale) if own else DASH,
            Text(shorten(_file_in_words(report), 12)),
            _measured(cascade.size if cascade else file_size(shipped)) if shipped else DASH,
            _measured(measurement.latency_p50) if measurement else DASH,
            _measured(measurement.memory_peak) if measurement else DASH,
        )
    console.print(table)
    metrics = dict.fromkeys(
        metric_title(r.metric) if unit_of_scores else f"{metric_title(r.metric)} {score_unit(r)}".rstrip()
        for r in reports
    )
    legend = (
        f"Scores on test ({', '.join(metrics)}); exported: the exported arm, mean over seeds; "
        "shipped: what the bundle answers with, one seed."
    )
    console.print(Text(textwrap.fill(legend, WIDTH), style="dim"))
    print_list(console, "Exported arms", [f"{r.name}: {r.exported_arm}, seed {r.exported_seed}" for r in reports])
    print_list(console, "Warnings", _why_runs_differ(reports), style="yellow")


class _Console(Console):
    """Rich's own ends the process with status 1 where the reader, such as head, has seen enough."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError

    def render(self, *given: Any, **named: Any) -> Iterator[Segment]:
        """Without control characters of labels, texts and reports of strangers, which a terminal would obey."""
        for segment in super().render(*given, **named):
            yield segment if segment.control else segment._replace(text=CONTROLS.sub("\ufffd", segment.text))


def console_on(stream: TextIO | None) -> Console:
    """Of 100 columns, on standard output where ``stream`` is None."""
    return _Console(file=stream or sys.stdout, width=WIDTH, highlight=False, markup=False, emoji=False)


def plain_table() -> Table:
    """Without a frame."""
    return Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, show_edge=False, header_style="bold")


def _name_column(table: Table, header: str) -> None:
    """The only column that takes what the others leave, and gives way to them."""
    table.add_column(header, ratio=1, no_wrap=True, overflow="ellipsis", min_width=12)


def _style(row: Row) -> str:
    return "red" if row.fallen else "dim" if row.kind == "seed" else ""


def _cells(row: Row, scale: Scale, with_gap: bool, with_energy: bool) -> list[Text]:
    measurement = row.variant.measurement if row.variant else None
    name = {"arm": "", "seed": "└ ", "variant": "✗ " if row.fallen else ""}[row.kind] + row.name
    cells = [
        shorten(name, NAME_WIDTH),
        plus_minus(row.score, scale),
        *([_gap(row.gap_recovered)] if with_gap else []),
        percent(row.agreement),
        DASH if row.budget is None else f"{row.budget:,}",
        parameters(row.parameters),
        _measured(file_size(row.variant)) if row.variant else DASH,
        _measured(measurement.latency_p50) if measurement else DASH,
        _measured(measurement.memory_peak) if measurement else DASH,
        *([_measured(_energy(row))] if with_energy else []),
    ]
    return [Text(cell) for cell in cells]


def _gap(gap: Estimate | None) -> str:
    return percent(gap.value, 0) if gap else DASH


def _energy(row: Row) -> Figure | None:
    return row.variant.measurement.energy if row.variant and row.variant.measurement else None


def _measured(figure: Figure | None) -> str:
    return number(figure.value) if figure is not None and figure.how == "measured" else DASH


def _legend(report: Report) -> str:
    seeds = max((len(arm.seeds) for arm in report.arms), default=0)
    threads = sorted({v.measurement.threads for v in report.variants if v.measurement})
    parts = [
        f"Students' arms: mean of {seeds} seeds on test" if seeds > 1 else "Arms: one seed on test",
        "files: one seed",
    ]
    if f", {BF16}" in report.provenance.machine.get("training", ""):
        parts.append("arms are computed in bf16, as they were trained, files as onnxruntime runs them")
    if report.metric in CORRELATIONS:
        parts.append(f"{metric_title(report.metric)}: a correlation, × 100")
    if report.scale.lower_is_better:
        parts.append(f"{metric_title(report.metric)}: lower is better")
    if has_gap(report):
        parts.append("gap: share of the way from linear to teacher")
    parts.append(f"agree: {report.task_in_words.agreement}")
    parts.append("steps: the budget of each training")
    if threads:
        count = ", ".join(map(str, threads))
        parts.append(f"p50: one text at its real length, {count} thread{'' if count == '1' else 's'}")
    return "; ".join(parts) + "."


def _print_verdicts(console: Console, report: Report) -> None:
    contrasts = sorted(report.contrasts, key=lambda contrast: not contrast.primary)
    print_list(
        console,
        "Verdicts",
        [
            contrast_in_words(c, report.scale) + (" [primary]" if c.primary and len(contrasts) > 1 else "")
            for c in contrasts
        ],
    )
    out_of_fold = soft_labels(report)
    print_list(console, "Soft labels", [out_of_fold] if out_of_fold else [])
    seed = f"Compression (seed {report.exported_seed} of {report.exported_arm})"
    print_list(console, seed, compression_in_words(report))
    unknown = out_of_scope(report)
    print_list(console, "Out of scope (AUROC of the confidence, × 100)", [unknown] if unknown else [])
    if saved := savings(report):
        print_list(console, "Shipped", [f"{bundle_in_words(report)} beside the teacher in fp32: {', '.join(saved)}"])
    print_list(console, "Target", target_in_words(report.target, report.scale))
    cascade, switched = cascade_in_words(report), switch_in_words(report)
    print_list(console, "Cascade", [cascade] if cascade else [])
    print_list(console, "Switching over", [switched] if switched else [])
    print_list(
        console,
        "Fell",
        [f"{v.model} {v.variant}: {why_it_fell(v)}" for v in report.variants if fell(v)],
        style="red",
    )
    print_list(console, "Warnings", all_warnings(report), style="yellow")
    estimated = any(v.measurement and v.measurement.energy.how == "estimated" for v in report.variants)
    if estimated:
        console.print(Text("Energy was estimated, for want of a counter: see the report.", style="dim"))


def print_list(console: Console, title: str, lines: Sequence[str], style: str = "") -> None:
    """The lines behind bullets; nothing where there are none."""
    if not lines:
        return
    console.print()
    console.print(Text(title, style=f"bold {style}".strip()))
    for line in lines:
        console.print(Text(textwrap.fill(line, WIDTH, initial_indent=" • ", subsequent_indent="   ")))


def _file_in_words(report: Report) -> str:
    """What a bundle answers with, in few letters."""
    shipped = shipped_variant(report)
    if shipped is None:
        return DASH
    if report.cascade:
        return "cascade"
    return shipped.variant if shipped.model == "student" else f"{shipped.model} {shipped.variant}"


def _why_runs_differ(reports: Sequence[Report]) -> list[str]:
    """What keeps figures of the runs from being compared."""
    warnings = []
    for what, values in (
        ("metric", [metric_title(report.metric) for report in reports]),
        ("data", [f"{report.data.source}, {report.data.test:,} test texts" for report in reports]),
    ):
        if len(different := dict.fromkeys(values)) > 1:
            warnings.append(f"the runs differ in {what} ({'; '.join(different)}): scores are not comparable")
    settings = [report.provenance.settings.get("data") or {} for report in reports]
    split = [f"data.{key}" for key in OF_SPLIT if len({repr(data.get(key)) for data in settings}) > 1]
    if split and len({report.data.source for report in reports}) == 1:
        warnings.append(f"the runs differ in {', '.join(split)}: their test texts may be others, scores not comparable")
    if len({tuple(sorted(report.provenance.machine.items())) for report in reports}) > 1:
        warnings.append("the runs were measured on different machines: ms and memory are not comparable")
    threads = {v.measurement.threads for report in reports for v in report.variants if v.measurement}
    if len(threads) > 1:
        warnings.append(f"latency was measured with different numbers of threads: {sorted(threads)}")
    return warnings
