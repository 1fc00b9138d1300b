"""Intervals of scores: Wilson's for a share, that of seeds and texts together for any metric."""

import math
from statistics import NormalDist

import numpy as np

from distill.evaluation.components import (
    CONFIDENCE,
    NO_SPREAD,
    bounds,
    components,
    mean_score,
    seed_component,
    text_values,
)
from distill.evaluation.student_t import FIVE_PERCENT, quantiles
from distill.metrics import Metric, Statistics
from distill.results import Estimate


def wilson(correct: int, total: int, confidence: float = CONFIDENCE) -> Estimate:
    """Score interval of a share, a fraction of 1; good also near 0 and 1 and for few answers (Wilson 1927).

    Raises ValueError unless 0 <= correct <= total, total >= 1 and 0 < confidence < 1.
    """
    if not (total >= 1 and 0 <= correct <= total):
        raise ValueError(f"{correct} of {total}: expected 0 <= correct <= total and total >= 1")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}: expected a number between 0 and 1")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = correct / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half_width = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    # at 0 and total correct, one end is the share itself but for rounding
    low, high = min(share, max(0.0, centre - half_width)), max(share, min(1.0, centre + half_width))
    return Estimate(share, low, high, f"{100 * confidence:g} % Wilson interval over {total:,} answers")


def score_over_seeds(metric: Metric, statistics: Statistics) -> Estimate:
    """The mean score over S seeds with a 95 % interval; ``statistics`` is [S, n, K].

    The interval reckons with other texts and other seeds: see :class:`distill.evaluation.components.Components`. It
    ends where scores end. With one seed it says nothing about other seeds. One text gives no interval: its bounds are
    infinite. Raises ValueError for another shape, and for statistics or scores that are NaN or infinite.
    """
    values = text_values(metric, statistics)
    found = components(mean_score(metric, statistics), [values], metric.least, metric.greatest, statistics.shape[1])
    low, high = bounds(found)
    return Estimate(found.value, low, high, f"{found.method} {over(statistics)}")


def gap_recovered(metric: Metric, arm: Statistics, linear: Statistics, teacher: Statistics) -> Estimate | None:
    """(arm - linear) / (teacher - linear) with its 95 % interval; None where the teacher is not above linear.

    ``arm`` is [S, n, K], ``linear`` and ``teacher`` are [n, K], over the same texts. The interval holds the shares g
    for which (arm - linear) - g (teacher - linear) is not shown to differ from 0 (Fieller 1954), with the half-width of
    :class:`distill.evaluation.components.Components`: linear and the teacher are taken as given, the arm's seeds are
    not. Where nothing of that varies, as with the teacher's answers to all texts, the half-width is of the rule of
    three. Its bounds are infinite where the gap between linear and teacher is not shown to differ from 0, or is the
    same on every text: the texts do not settle it. Raises ValueError as :func:`score_over_seeds` does.
    """
    if not arm.shape[1:] == linear.shape == teacher.shape:
        raise ValueError(
            f"expected equal [n, K], got arm {arm.shape[1:]}, linear {linear.shape}, teacher {teacher.shape}"
        )
    values, floors, ceilings = (text_values(metric, each) for each in (arm, linear[None], teacher[None]))
    floor = mean_score(metric, linear[None])
    reached, gap = mean_score(metric, arm) - floor, mean_score(metric, teacher[None]) - floor
    if gap <= 0:
        return None
    method = f"Fieller's interval, t interval {over(arm)}"
    n = values.shape[1]
    if n == 1:
        return Estimate(reached / gap, -math.inf, math.inf, method)
    t = quantiles(n - 1)[FIVE_PERCENT]
    # squares of half-widths: of reached, of gap, and half the mixed term
    mixed = t * t * np.cov(values.mean(axis=0) - floors[0], ceilings[0] - floors[0]) / n
    of_reached, both, of_gap = mixed[0, 0], mixed[0, 1], mixed[1, 1]
    if len(arm) > 1:
        seeds = seed_component(values)
        u = quantiles(seeds.degrees)[FIVE_PERCENT]
        of_reached += max(u * u * seeds.variance - t * t * seeds.residual, 0.0)
    # (reached - g gap)² = of_reached - 2 g both + g² of_gap
    a, b, c = gap**2 - of_gap, reached * gap - both, reached**2 - of_reached
    low, high = -math.inf, math.inf
    if a > 0 and of_gap > NO_SPREAD**2:
        root = math.sqrt(max(b * b - a * c, 0.0))
        low, high = float((b - root) / a), float((b + root) / a)
    if high - low < NO_SPREAD:  # as where it gives the teacher's answers to all texts
        furthest = metric.greatest - metric.least
        alike = components(0.0, [np.zeros((1, n))], -furthest, furthest, arm.shape[1])
        low, high = low - alike.half_width() / gap, high + alike.half_width() / gap
        method = f"{alike.method} {over(arm)}"
    return Estimate(reached / gap, low, high, method)


def over(statistics: Statistics) -> str:
    """``over 3 seeds x 1,902 texts``."""
    seeds, texts, _ = statistics.shape
    return "over " + (f"{seeds} seeds x " if seeds > 1 else "") + f"{texts:,} texts"
