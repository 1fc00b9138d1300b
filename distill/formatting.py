"""Numbers as people read them. What is missing, NaN or infinite is a dash, never 0."""

import math
import re

from distill.results import PERCENT, Estimate, Figure, Scale

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters other than tab and newline, which a terminal would obey."""
DASH = "–"
MINUS = "−"
NOTHING = 1e-9
"""Of a fraction."""


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
    return score(fraction, Scale(digits=digits))


def score(value: float | None, scale: Scale = PERCENT) -> str:
    """A score without its unit: 0.8634 is ``86.3``; -0.912, in bits per byte, is ``0.912``."""
    return DASH if value is None else _fixed(scale.read(value), scale.digits)


def points(difference: float, scale: Scale = PERCENT) -> str:
    """A difference of scores with its sign: 0.012 is ``+1.2``, in points."""
    return _fixed(scale.read(difference), scale.digits, "+")


def plus_minus(estimate: Estimate | None, scale: Scale = PERCENT) -> str:
    """``86.3 ± 1.2``. Half the interval's width; the bounds themselves stand in the HTML report. ``100.0 − 2.5`` where
    the interval lies on one side, as of a share of all texts."""
    if estimate is None or not math.isfinite(estimate.value):
        return DASH
    below, above = estimate.value - estimate.low, estimate.high - estimate.value
    if not math.isfinite(below + above):
        return score(estimate.value, scale)
    if scale.lower_is_better:
        below, above = above, below
    sign, width = "±", (below + above) / 2
    if min(below, above) < NOTHING < max(below, above):
        sign, width = (MINUS, below) if above < NOTHING else ("+", above)
    return f"{score(estimate.value, scale)} {sign} {score(width, scale.gains)}"


def bounds(estimate: Estimate | None, scale: Scale = PERCENT) -> str:
    """``[85.1, 87.4]``; empty where there is no interval."""
    return "" if estimate is None else _interval(estimate, scale)


def point_bounds(estimate: Estimate, scale: Scale = PERCENT) -> str:
    """``+0.8 points [−0.1, +1.7]``."""
    return f"{points(estimate.value, scale)} {scale.steps} {_interval(estimate, scale, '+')}".rstrip()


def p_value(p: float) -> str:
    """``p = 0.021``, or ``p < 0.001``."""
    if not math.isfinite(p):
        return f"p {DASH}"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def power_note(smallest_shown: float | None, scale: Scale = PERCENT) -> str:
    """``80 % power at 1.9 points``; empty where it is not known."""
    if smallest_shown is None or not math.isfinite(smallest_shown):
        return ""
    return f"80 % power at {score(smallest_shown, scale.gains)} {scale.steps}"


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


def with_unit(words: str, unit: str) -> str:
    """``accuracy, %``, or the words alone where there is no unit."""
    return f"{words}, {unit}" if unit else words


def _interval(estimate: Estimate, scale: Scale, sign: str = "") -> str:
    if not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return ""
    low, high = scale.ends(estimate)
    return f"[{_fixed(low, scale.digits, sign)}, {_fixed(high, scale.digits, sign)}]"


def _fixed(value: float, digits: int, sign: str = "") -> str:
    return f"{value:{sign}.{digits}f}".replace("-", MINUS) if math.isfinite(value) else DASH
