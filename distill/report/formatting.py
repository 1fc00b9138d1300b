"""Numbers as people read them. What is missing, NaN or infinite is a dash, never 0."""

import math

from distill.results import Estimate, Figure

DASH = "–"
MINUS = "−"


def number(value: float | None) -> str:
    """Three significant digits, and whole numbers from 100 on: ``0.042``, ``16.3``, ``1,240``."""
    if value is None or not math.isfinite(value):
        return DASH
    size = abs(value)
    if size >= 99.95 or size == 0:
        return f"{value:,.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.9995 else f"{value:.3g}"


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction of 1 in percent, without the sign: 0.8634 is ``86.3``."""
    if fraction is None or not math.isfinite(fraction):
        return DASH
    return f"{100 * fraction:.{digits}f}".replace("-", MINUS)


def points(difference: float) -> str:
    """A difference of fractions in points, with its sign: 0.012 is ``+1.2``."""
    return f"{100 * difference:+.1f}".replace("-", MINUS) if math.isfinite(difference) else DASH


def plus_minus(estimate: Estimate | None) -> str:
    """``86.3 ± 1.2``, in percent. Half the interval's width; the bounds themselves stand in the HTML report."""
    if estimate is None or not math.isfinite(estimate.value):
        return DASH
    half_width = (estimate.high - estimate.low) / 2
    return percent(estimate.value) + (f" ± {percent(half_width)}" if math.isfinite(half_width) else "")


def bounds(estimate: Estimate | None, digits: int = 1) -> str:
    """``[85.1, 87.4]``, in percent; empty where there is no interval."""
    if estimate is None or not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return ""
    return f"[{percent(estimate.low, digits)}, {percent(estimate.high, digits)}]"


def point_bounds(estimate: Estimate) -> str:
    """``+0.8 points [−0.1, +1.7]``."""
    text = f"{points(estimate.value)} points"
    if math.isfinite(estimate.low) and math.isfinite(estimate.high):
        text += f" [{points(estimate.low)}, {points(estimate.high)}]"
    return text


def p_value(p: float) -> str:
    """``p = 0.021``, or ``p < 0.001``."""
    if not math.isfinite(p):
        return f"p {DASH}"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def power_note(smallest_shown: float | None) -> str:
    """``80 % power at 1.9 points``; empty where it is not known."""
    if smallest_shown is None or not math.isfinite(smallest_shown):
        return ""
    return f"80 % power at {percent(smallest_shown)} points"


def figure(quantity: Figure | None) -> str:
    """The value with its unit."""
    if quantity is None or number(quantity.value) == DASH:
        return DASH
    return f"{number(quantity.value)} {quantity.unit}"


def parameters(count: int | None) -> str:
    """``22.7 M``, or ``45 k`` below a tenth of a million."""
    if count is None:
        return DASH
    return f"{count / 1e6:,.1f} M" if count >= 100_000 else f"{count / 1e3:,.0f} k" if count >= 1_000 else str(count)


def duration(seconds: float) -> str:
    """``0.8 s``, ``4 min 12 s``, ``2 h 05 min``."""
    if not math.isfinite(seconds):
        return DASH
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def shorten(name: str, width: int) -> str:
    """At most ``width`` characters: the middle gives way, as long names often differ in their ends."""
    name = " ".join(name.split())
    if len(name) <= width:
        return name
    head = (width - 1) // 2
    return f"{name[:head]}…{name[len(name) - (width - 1 - head) :]}"


def sentence_case(text: str) -> str:
    """The first letter large, the others as they are: ``macro F1`` is ``Macro F1``."""
    return text[:1].upper() + text[1:]
