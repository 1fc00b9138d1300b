"""Plots as SVG to stand inside a page: colours are CSS variables of the page, text is text, output is deterministic."""

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from distill.report.findings import arm_named, fell, file_size
from distill.report.formatting import number, sentence_case, shorten, with_unit
from distill.report.legend import metric_title, score_unit
from distill.results import (
    FLOORS,
    ArmResult,
    AttentionMap,
    Estimate,
    Figure,
    Report,
    Scale,
    Search,
    VariantResult,
    scale_of,
)

# Matplotlib wants colours, the page has variables for light and dark: each of these stands for one of them.
INK, MUTED, GRID, SURFACE = "#010101", "#020202", "#030303", "#040404"
STUDENT, TEACHER, LINEAR = "#0a0a01", "#0a0a02", "#0a0a03"
VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--line)",
    SURFACE: "var(--surface)",
    STUDENT: "var(--student)",
    TEACHER: "var(--teacher)",
    LINEAR: "var(--linear)",
}
SETTINGS = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name may hold dollar signs
    "font.family": "DejaVu Sans",  # comes with matplotlib; the page's own font takes its place
    "font.size": 10,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.major.size": 0,
}

FAINTEST = 0.005
"""Weights of attention below this are not drawn."""


@dataclass(frozen=True)
class Plot:
    """A drawn plot with its words. ``svg`` is safe to put into a page as it is."""

    title: str
    caption: str
    svg: str


def score_against_size(report: Report) -> Plot | None:
    """The metric on test against MB of the file, on a logarithmic axis; None where nothing was evaluated."""
    points = [(variant, file_size(variant)) for variant in report.variants]
    title = f"{sentence_case(metric_title(report.metric))} against size"
    return _score_against(report, points, "size of the file, MB", title, limit_of(report, "size_mb"))


def score_against_latency(report: Report) -> Plot | None:
    """The metric on test against ms at batch 1, on a logarithmic axis; None where nothing was measured."""
    points = [(v, v.measurement.latency_p50) for v in report.variants if v.measurement]
    title = f"{sentence_case(metric_title(report.metric))} against latency"
    label = "p50 latency of one text at its real length, ms"
    return _score_against(report, points, label, title, limit_of(report, "latency_ms"))


def drop_against_size(search: Search) -> Plot | None:
    """What each file of a search loses, against MB of the file."""
    return _drop_against(search, "size_mb", "size of the file, MB", "Drop against size")


def drop_against_latency(search: Search) -> Plot | None:
    """What each file of a search loses, against ms at batch 1; None where nothing was measured."""
    return _drop_against(search, "latency_ms", "p50 latency of one text at its real length, ms", "Drop against latency")


def training_curves(report: Report) -> Plot | None:
    """Validation by step, a panel an arm and a line a seed; None where no arm has a curve."""
    arms = [arm for arm in report.arms if any(_finite_curve(seed.curve) for seed in arm.seeds)]
    if not arms:
        return None
    scale = report.scale
    columns = 2 if len(arms) == 4 else min(3, len(arms))
    rows = math.ceil(len(arms) / columns)
    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": "curves"}):
        canvas = Canvas(figsize=(9.2, 2.4 * rows + 0.4), layout="constrained")
        grid = canvas.subplots(rows, columns, sharey=True, squeeze=False)
        for axes, arm in zip(grid.flat, arms, strict=False):
            colour = _colour(arm.name)
            for seed in arm.seeds:
                curve = [(step, scale.read(value)) for step, value in _finite_curve(seed.curve)]
                axes.plot([s for s, _ in curve], [v for _, v in curve], color=colour, linewidth=1.5, alpha=0.75)
                best = [(s, v) for s, v in curve if s == seed.best_step]
                axes.plot(
                    [s for s, _ in best],
                    [v for _, v in best],
                    "o",
                    color=colour,
                    markersize=6,
                    markeredgecolor=SURFACE,
                )
            axes.set_title(shorten(arm.name, 30), fontsize=10, loc="left", color=INK)
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(5))
        for axes in list(grid.flat)[len(arms) :]:
            axes.set_visible(False)
        canvas.supxlabel("step", fontsize=10, color=MUTED)
        canvas.supylabel(_score_label(report, "validation"), fontsize=10, color=MUTED)
        svg = _svg(canvas, "Training curves")
    caption = "A line a seed; the dot marks the checkpoint that was kept."
    return Plot("Training curves", caption, svg)


def seeds_by_arm(report: Report) -> Plot | None:
    """A row an arm: each seed's score on test, the mean and its interval; None where no arm has a score."""
    arms = [arm for arm in report.arms if math.isfinite(arm.score.value)]
    if not arms:
        return None
    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": "seeds"}):
        canvas = Canvas(figsize=(9.2, 0.52 * len(arms) + 0.9), layout="constrained")
        axes = canvas.subplots()
        for row, arm in enumerate(arms):
            _draw_arm(axes, row, arm, report.scale)
        axes.set_yticks(range(len(arms)), [shorten(arm.name, 30) for arm in arms], color=INK)
        axes.set_ylim(len(arms) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(_score_label(report, "test"))
        svg = _svg(canvas, "Seeds")
    caption = "Small dots are seeds, the large dot is their mean, the bar its 95 % interval."
    return Plot("Seeds and intervals", caption, svg)


def attention_maps(report: Report) -> Plot | None:
    """A panel a layer, the teacher's on the left and the student's on the right; None where neither has attention."""
    sides = [one for one in report.inside if one.attention]
    if not sides:
        return None
    most = max(len(side.attention) for side in sides)
    abreast = min(2, most)
    rows = math.ceil(most / abreast)
    tokens = max(max(len(one.rows), len(one.columns)) for side in sides for one in side.attention)
    size = 1.0 + 0.125 * tokens
    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": "attention", "axes.grid": False}):
        canvas = Canvas(figsize=(size * abreast * len(sides), (size + 0.3) * rows), layout="constrained")
        grid = canvas.subplots(rows, abreast * len(sides), squeeze=False)
        for axes in grid.flat:
            axes.set_visible(False)
        for number, side in enumerate(sides):
            for place, one in enumerate(side.attention):
                axes = grid[place // abreast, number * abreast + place % abreast]
                axes.set_visible(True)
                _draw_attention(axes, one, TEACHER if side.model == "teacher" else STUDENT)
                axes.set_title(f"{side.model}, {one.title}", fontsize=10, loc="left", color=INK)
        svg = _svg(canvas, "Attention")
    without = [one.model for one in report.inside if not one.attention]
    nothing = f" The {without[0]} has no attention to show." if without else ""
    caption = (
        f"How much each token (down) looks at each other (across), mean over the heads; a row adds up to 1.{nothing}"
    )
    return Plot("Attention on one test text", caption, svg)


def _draw_attention(axes: Axes, one: AttentionMap, colour: str) -> None:
    """Each weight as a square whose area says it."""
    for row, weights in enumerate(one.weights):
        for column, weight in enumerate(weights):
            if weight >= FAINTEST:
                side = math.sqrt(min(weight, 1.0))
                axes.add_patch(Rectangle((column - side / 2, row - side / 2), side, side, color=colour, linewidth=0))
    axes.set_xlim(-0.6, len(one.columns) - 0.4)
    axes.set_ylim(len(one.rows) - 0.4, -0.6)
    axes.set_aspect("equal")
    axes.set_xticks(range(len(one.columns)), [shorten(token, 14) for token in one.columns], rotation=90, fontsize=8)
    axes.set_yticks(range(len(one.rows)), [shorten(token, 14) for token in one.rows], fontsize=8)


def probes_by_layer(report: Report) -> Plot | None:
    """How well each layer tells the labels, a line a model; None where nothing was probed."""
    sides = [one for one in report.inside if one.probes]
    if not sides:
        return None
    scale = report.scale
    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": "probes"}):
        canvas = Canvas(figsize=(9.2, 3.4), layout="constrained")
        axes = canvas.subplots()
        for side in sides:
            colour, aside = (TEACHER, -0.03) if side.model == "teacher" else (STUDENT, 0.03)  # not on each other
            layers = [layer + aside for layer in range(len(side.probes))]
            for layer, estimate in zip(layers, side.probes, strict=True):
                axes.plot([layer] * 2, _finite_bounds(estimate, scale), color=colour, linewidth=5, alpha=0.28)
            values = [scale.read(estimate.value) for estimate in side.probes]
            axes.plot(layers, values, "o-", color=colour, markeredgecolor=SURFACE, markersize=8, label=side.model)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("layer (0: embeddings)")
        axes.set_ylabel(_score_label(report, "test"))
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=2, frameon=False, fontsize=9)
        svg = _svg(canvas, "Probes")
    caption = (
        "A linear classifier on the states of one layer, the model's weights untouched. Bars are 95 % intervals over "
        "texts."
    )
    return Plot("What each layer tells of the label", caption, svg)


def _draw_arm(axes: Axes, row: int, arm: ArmResult, scale: Scale) -> None:
    colour = _colour(arm.name)
    low, high = _finite_bounds(arm.score, scale)
    axes.plot([low, high], [row, row], color=colour, linewidth=7, alpha=0.28, solid_capstyle="round")
    if len(arm.seeds) > 1:
        seeds = [scale.read(seed.test) for seed in arm.seeds if math.isfinite(seed.test)]
        axes.plot(seeds, [row] * len(seeds), "o", color=SURFACE, markeredgecolor=colour, markersize=5)
    axes.plot([scale.read(arm.score.value)], [row], "o", color=colour, markersize=8, markeredgecolor=SURFACE)


def limit_of(report: Report, name: str) -> float | None:
    """What a target allows; None where none was asked for."""
    return None if report.target is None else report.target.limits.get(name)


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (cost, score) those that no other beats in score without costing more, the cheapest first (Pareto)."""
    found: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not found or score > found[-1][1]:
            found.append((cost, score))
    return found


def _score_against(
    report: Report, points: Sequence[tuple[VariantResult, Figure]], label: str, title: str, limit: float | None
) -> Plot | None:
    scale = report.scale
    drawn = [
        (variant, scale.read(variant.score.value), x.value, _finite_bounds(variant.score, scale))
        for variant, x in points
        if variant.score and math.isfinite(variant.score.value) and x.value and math.isfinite(x.value)
    ]
    if not drawn:
        return None
    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": label}):
        canvas = Canvas(figsize=(5.4, 3.9), layout="constrained")
        axes = canvas.subplots()
        axes.set_xscale("log")
        linear = arm_named(report, "linear")
        xs = [x for _, _, x, _ in drawn] + ([] if limit is None else [limit])
        axes.set_xlim(min(xs) / 1.6, max(xs) * 1.6)
        if linear is not None and math.isfinite(linear.score.value):
            floor = scale.read(linear.score.value)
            axes.axhline(floor, color=LINEAR, linestyle=(0, (4, 3)), linewidth=1.5, label="linear, any size")
        if limit is not None:
            axes.axvline(limit, color=MUTED, linestyle=(0, (1, 2)), linewidth=1.5, label="target")
        best = front([(x, v.score.value) for v, _, x, _ in drawn if v.score and not fell(v)])
        if len(best) > 1:
            xs_of_front, scores = [x for x, _ in best], [scale.read(score) for _, score in best]
            axes.plot(xs_of_front, scores, color=INK, linewidth=1.2, alpha=0.55, label="front", zorder=1.9)
        named = set()
        for variant, score, x, (low, high) in drawn:
            colour = TEACHER if variant.model == "teacher" else STUDENT
            axes.plot([x, x], [low, high], color=colour, linewidth=5, alpha=0.28, solid_capstyle="round")
            axes.plot(
                [x],
                [score],
                "o",
                color=SURFACE if fell(variant) else colour,
                markeredgecolor=colour,
                markersize=8,
                label=variant.model if variant.model not in named else None,
            )
            named.add(variant.model)
        axes.margins(y=0.16)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=3, frameon=False, fontsize=9)
        _name_decades(axes)
        axes.set_xlabel(label)
        axes.set_ylabel(_score_label(report, "test"))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        canvas.draw_without_rendering()  # places are known from here on
        names = [(x, high, shorten(variant.variant, 14)) for variant, _, x, (_, high) in drawn]
        name_points(axes, names, canvas.dpi)
        svg = _svg(canvas, title)
    fallen = " Hollow points fell at parity or a gate." if any(fell(v) for v, *_ in drawn) else ""
    better = "down" if scale.lower_is_better else "up"
    joined = " The line joins the front: files that no other beats without costing more." if len(best) > 1 else ""
    return Plot(title, f"Bars are 95 % intervals; further left and {better} is better.{joined}{fallen}", svg)


def _drop_against(search: Search, cost: str, label: str, title: str) -> Plot | None:
    """Files of fully trained rungs and of the teacher, joined where they are on the front; files that were cut off are
    hollow, with what their short training lost. Each rung's name stands at its smallest file."""
    own = [(offer, True) for offer in search.target.offers]
    cut = [(offer, False) for rung in search.rungs if rung.trained == "short" for offer in rung.offers]
    known = [(o, whole) for o, whole in (*own, *cut) if math.isfinite(o.figures[cost]) and math.isfinite(o.drop.value)]
    if not known:
        return None
    gains = scale_of(search.metric).gains
    limit = search.target.limits.get(cost)
    with matplotlib.rc_context({**SETTINGS, "svg.hashsalt": label}):
        canvas = Canvas(figsize=(9.2, 4.2), layout="constrained")
        axes = canvas.subplots()
        axes.set_xscale("log")
        best = front([(o.figures[cost], -o.drop.value) for o, whole in known if whole])
        axes.plot([x for x, _ in best], [gains.read(-y / 100) for _, y in best], color=INK, alpha=0.55, label="front")
        for place, how in ((search.target.limits.get("drop"), axes.axhline), (limit, axes.axvline)):
            if place is not None:
                place = gains.read(place / 100) if how == axes.axhline else place
                how(place, color=MUTED, linestyle=(0, (1, 2)), linewidth=1.5, label="target")
        for offer, whole in known:
            colour = TEACHER if offer.model == "teacher" else STUDENT
            x, y, chosen = offer.figures[cost], gains.read(offer.drop.value / 100), offer.name == search.target.chosen
            size = 12 if chosen and whole else 8
            fill = colour if whole else SURFACE
            axes.plot([x], [y], "o", color=fill, markeredgecolor=colour, markersize=size, alpha=1 if whole else 0.6)
        axes.invert_yaxis()
        axes.margins(x=0.08, y=0.16)
        handles, names = axes.get_legend_handles_labels()
        once = dict(zip(names, handles, strict=True))
        axes.legend(
            once.values(), once, loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=2, frameon=False, fontsize=9
        )
        _name_decades(axes)
        axes.set_xlabel(label)
        axes.set_ylabel(f"drop on validation, {gains.steps}")
        canvas.draw_without_rendering()  # places are known from here on
        smallest = {o.model: o for o, _ in sorted(known, key=lambda one: -one[0].figures[cost])}
        names_at = [(o.figures[cost], gains.read(o.drop.value / 100), o.model) for o in smallest.values()]
        name_points(axes, names_at, canvas.dpi)
        svg = _svg(canvas, title)
    caption = (
        "Further left and up is better. The large point is the chosen file, the line joins the front; hollow points "
        "were cut off after a quarter of their steps. A name stands at the cheapest file of its rung."
    )
    return Plot(title, caption, svg)


def name_points(axes: Axes, points: Sequence[tuple[float, float, str]], dpi: float) -> None:
    """A name above each (x, y), higher where another name stands already."""
    size, placed = 9, list[tuple[float, float, float]]()
    for x, y, name in sorted(points):
        across, up = axes.transData.transform((x, y)) * 72 / dpi
        half, lifted = 0.3 * size * len(name), 6.0
        while any(abs(across - a) < half + h + 2 and abs(up + lifted - u) < 1.5 * size for a, u, h in placed):
            lifted += size / 3
        placed.append((across, up + lifted, half))
        axes.annotate(name, (x, y), (0, lifted), textcoords="offset points", ha="center", fontsize=size)


def _name_decades(axes: Axes) -> None:
    """Ticks at 1, 2, 5, 10 … with plain numbers."""
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: number(x) if x < 1 else f"{x:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _finite_curve(curve: Sequence[Any]) -> list[tuple[int, float]]:
    return [(point.step, point.validation) for point in curve if math.isfinite(point.validation)]


def _finite_bounds(estimate: Estimate, scale: Scale) -> tuple[float, float]:
    """The interval; the value itself twice where there is none."""
    if math.isfinite(estimate.low) and math.isfinite(estimate.high):
        return scale.ends(estimate)
    return scale.read(estimate.value), scale.read(estimate.value)


def _score_label(report: Report, split: str) -> str:
    return with_unit(f"{metric_title(report.metric)} on {split}", score_unit(report))


def _colour(arm: str) -> str:
    return {**dict.fromkeys(FLOORS, LINEAR), "teacher": TEACHER}.get(arm, STUDENT)


def _svg(canvas: Canvas, title: str) -> str:
    """The drawing without prolog, metadata and group names, and with the page's colours."""
    text = io.StringIO()
    FigureCanvasSVG(canvas)
    canvas.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # several drawings on one page would repeat them
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
