"""Two arms on the same texts: paired interval of the difference, its p-value, and what both say in words."""

import math
from dataclasses import dataclass

from distill.evaluation.components import Components, bounds, components, mean_score, text_values
from distill.metrics import Metric, Statistics
from distill.results import Contrast, Estimate


@dataclass(frozen=True)
class Compared:
    """One of the two arms of a contrast."""

    name: str
    statistics: Statistics
    """[S, n, K] of the metric they are compared by."""
    steps: int | None = None
    """Budget of each of its trainings; None where there is none, as for linear and the teacher."""


def contrast(metric: Metric, arm: Compared, against: Compared, primary: bool) -> Contrast:
    """Mean score of ``arm`` minus that of ``against``, with interval, p-value, verdict and what could have been shown.

    Statistics are [S, n, K] and [S', n, K] over the same n texts; S and S' may differ. Raises ValueError where budgets
    differ, where n or K do, and for statistics or scores that are NaN or infinite.
    """
    if arm.steps is not None and against.steps is not None and arm.steps != against.steps:
        raise ValueError(
            f"no verdict: {arm.name} was given {arm.steps:,} steps and {against.name} {against.steps:,}, so that a "
            "difference could be that of the steps; give both arms the same budget"
        )
    found = difference_components(metric, arm.statistics, against.statistics)
    difference = _estimate(found, arm.statistics, against.statistics)
    one_each = len(arm.statistics) == len(against.statistics) == 1
    smallest = found.smallest_shown()
    return Contrast(
        arm.name,
        against.name,
        primary,
        difference,
        found.p_value(),
        difference.method.replace("interval", "test"),
        verdict(arm.name, against.name, difference, one_each),
        smallest if math.isfinite(smallest) else None,
    )


def paired_difference(metric: Metric, arm: Statistics, against: Statistics) -> Estimate:
    """Mean score of ``arm`` [S, n, K] minus that of ``against`` [S', n, K], with its 95 % interval.

    The interval reckons with other texts and other seeds: see :class:`distill.evaluation.components.Components`. Seeds
    are paired by index where S = S' (the same seed gave both the same start and order), and independent elsewhere. An
    arm with one seed is taken as given: nothing is said of its other trainings. One text gives no interval: its bounds
    are infinite. Raises ValueError as :func:`contrast` does.
    """
    return _estimate(difference_components(metric, arm, against), arm, against)


def difference_components(metric: Metric, arm: Statistics, against: Statistics) -> Components:
    """What the difference may be off by. Raises ValueError as :func:`contrast` does."""
    one, other = text_values(metric, arm), text_values(metric, against)
    if arm.shape[1:] != against.shape[1:]:
        raise ValueError(
            f"expected statistics over the same texts, got [n, K] = {arm.shape[1:]} and {against.shape[1:]}"
        )
    difference = mean_score(metric, arm) - mean_score(metric, against)
    furthest = metric.greatest - metric.least
    return components(
        difference, [one - other] if len(arm) == len(against) else [one, -other], -furthest, furthest, arm.shape[1]
    )


def verdict(arm: str, against: str, difference: Estimate, one_each: bool = False) -> str:
    """``soft is better than hard``, that it is worse, or ``no difference shown``; the first two where 0 is outside.

    ``one_each``: with one training of each, the verdict is about these trainings and not about the arms.
    """
    if difference.low > 0:
        words = f"{arm} is better than {against}"
    elif difference.high < 0:
        words = f"{arm} is worse than {against}"
    else:
        return "no difference shown" + (" between these two trainings" if one_each else "")
    return words + (" in these two trainings" if one_each else "")


def _estimate(found: Components, arm: Statistics, against: Statistics) -> Estimate:
    seeds, others, texts = len(arm), len(against), arm.shape[1]
    counts = f"{seeds}" if seeds == others else f"{seeds} and {others}"
    over = f"{counts} seeds x " if max(seeds, others) > 1 else ""
    low, high = bounds(found)
    return Estimate(found.value, low, high, f"paired {found.method} over {over}{texts:,} texts")
