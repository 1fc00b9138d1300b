"""What plots are drawn with, as SVG to stand inside a page: colours are CSS variables of the page, text is text, output
is deterministic."""

import io
import math
import re
from dataclasses import dataclass
from html import escape

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas

from distill.formatting import with_unit
from distill.report.legend import metric_title, score_unit
from distill.results import Estimate, Report, Scale

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


@dataclass(frozen=True)
class Plot:
    """A drawn plot with its words. ``svg`` is safe to put into a page as it is."""

    title: str
    caption: str
    svg: str


def finite_bounds(estimate: Estimate, scale: Scale) -> tuple[float, float]:
    """The interval; the value itself twice where there is none."""
    if math.isfinite(estimate.low) and math.isfinite(estimate.high):
        return scale.ends(estimate)
    return scale.read(estimate.value), scale.read(estimate.value)


def score_label(report: Report, split: str) -> str:
    """Of the axis of scores on a split."""
    return with_unit(f"{metric_title(report.metric)} on {split}", score_unit(report))


def as_svg(canvas: Canvas, title: str) -> str:
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
