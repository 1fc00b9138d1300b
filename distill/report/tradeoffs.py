"""Plots of what quality costs: the score, or what was lost of it, against size and latency."""

import math
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from distill.formatting import number, sentence_case, shorten
from distill.report.drawing import (
    INK,
    LINEAR,
    MUTED,
    SETTINGS,
    STUDENT,
    SURFACE,
    TEACHER,
    Plot,
    as_svg,
    finite_bounds,
    score_label,
)
from distill.report.findings import arm_named, fell, file_size
from distill.report.legend import metric_title
from distill.results import Figure, Report, Search, VariantResult, scale_of


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
        (variant, scale.read(variant.score.value), x.value, finite_bounds(variant.score, scale))
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
        name_decades(axes)
        axes.set_xlabel(label)
        axes.set_ylabel(score_label(report, "test"))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        canvas.draw_without_rendering()  # places are known from here on
        names = [(x, high, shorten(variant.variant, 14)) for variant, _, x, (_, high) in drawn]
        name_points(axes, names, canvas.dpi)
        svg = as_svg(canvas, title)
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
        name_decades(axes)
        axes.set_xlabel(label)
        axes.set_ylabel(f"drop on validation, {gains.steps}")
        canvas.draw_without_rendering()  # places are known from here on
        smallest = {o.model: o for o, _ in sorted(known, key=lambda one: -one[0].figures[cost])}
        names_at = [(o.figures[cost], gains.read(o.drop.value / 100), o.model) for o in smallest.values()]
        name_points(axes, names_at, canvas.dpi)
        svg = as_svg(canvas, title)
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


def name_decades(axes: Axes) -> None:
    """Ticks at 1, 2, 5, 10 … with plain numbers."""
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: number(x) if x < 1 else f"{x:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
