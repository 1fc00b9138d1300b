"""Plots of how models were trained and what happens inside them: curves, seeds, attention, probes."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from distill.formatting import shorten
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
from distill.results import FLOORS, ArmResult, AttentionMap, Report, Scale

FAINTEST = 0.005
"""Weights of attention below this are not drawn."""


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
        canvas.supylabel(score_label(report, "validation"), fontsize=10, color=MUTED)
        svg = as_svg(canvas, "Training curves")
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
        axes.set_xlabel(score_label(report, "test"))
        svg = as_svg(canvas, "Seeds")
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
        svg = as_svg(canvas, "Attention")
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
                axes.plot([layer] * 2, finite_bounds(estimate, scale), color=colour, linewidth=5, alpha=0.28)
            values = [scale.read(estimate.value) for estimate in side.probes]
            axes.plot(layers, values, "o-", color=colour, markeredgecolor=SURFACE, markersize=8, label=side.model)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("layer (0: embeddings)")
        axes.set_ylabel(score_label(report, "test"))
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=2, frameon=False, fontsize=9)
        svg = as_svg(canvas, "Probes")
    caption = (
        "A linear classifier on the states of one layer, the model's weights untouched. Bars are 95 % intervals over "
        "texts."
    )
    return Plot("What each layer tells of the label", caption, svg)


def _draw_arm(axes: Axes, row: int, arm: ArmResult, scale: Scale) -> None:
    colour = _colour(arm.name)
    low, high = finite_bounds(arm.score, scale)
    axes.plot([low, high], [row, row], color=colour, linewidth=7, alpha=0.28, solid_capstyle="round")
    if len(arm.seeds) > 1:
        seeds = [scale.read(seed.test) for seed in arm.seeds if math.isfinite(seed.test)]
        axes.plot(seeds, [row] * len(seeds), "o", color=SURFACE, markeredgecolor=colour, markersize=5)
    axes.plot([scale.read(arm.score.value)], [row], "o", color=colour, markersize=8, markeredgecolor=SURFACE)


def _finite_curve(curve: Sequence[Any]) -> list[tuple[int, float]]:
    return [(point.step, point.validation) for point in curve if math.isfinite(point.validation)]


def _colour(arm: str) -> str:
    return {**dict.fromkeys(FLOORS, LINEAR), "teacher": TEACHER}.get(arm, STUDENT)
