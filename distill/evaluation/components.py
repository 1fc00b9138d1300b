"""How far a mean over seeds and texts may be off: variance components, and half-widths that hold with few seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from distill.evaluation.student_t import FIVE_PERCENT, LEVELS, quantiles
from distill.metrics import Metric, Statistics

CONFIDENCE = 0.95
POWER = 0.80
GROUPS = 200
"""Of how many parts of the texts one is left out at a time, where a metric has to be computed anew for each."""
DRAWS = 5_000
"""Of experiments, for the power note: the note is good to about 1 %."""
NO_SPREAD = 1e-9
"""A half-width below it is rounding."""


@dataclass(frozen=True)
class Seeds:
    """How far the mean over S trainings may be off because other trainings would have had other scores."""

    variance: float
    """Sample variance of the S scores, divided by S."""
    residual: float
    """The part of it that comes of the texts: the residual variance of seeds x texts, divided by S n."""
    degrees: int
    """S - 1."""


@dataclass(frozen=True)
class Components:
    """A mean over seeds and texts, and what it may be off by.

    Scores of S trainings on the same n texts are a two-way table without replication: seed + text + residual. With T
    the variance of the mean over texts while the trainings are given, W that of the mean over seeds (s² / S), and E the
    residual mean square / (S n), which is in both (Searle, Casella and McCulloch 1992, chapter 4), the half-width is

        h² = t² T + Σ max(u² W - t² E, 0)

    with the quantiles t of Student's distribution with n - 1 degrees of freedom and u with S - 1. Half-widths of
    independent parts are added as squares, each with its own quantile: Howe 1974, "Approximate confidence limits on the
    mean of X + Y". The sum goes over the arms that have more than one seed; paired arms are one, that of the
    differences. It is exact where texts alone or seeds alone vary, and too wide by up to a fifth in between with three
    seeds, where Satterthwaite's degrees of freedom call up to 7.8 % of nulls different. It is never narrower than the
    interval over texts with these trainings as given, and with one seed it is that interval.

    Where that is 0, as with all of n answers right, it is no interval: a share of the texts that none of the n belongs
    to can still be 1 - 0.05^(1/n), about 3 / n (the rule of three, Hanley and Lippman-Hand 1983), and theirs may be the
    value that is furthest from that of the n. So h is that share times this distance.

    The p-value is the level at which the interval begins to hold 0, so that both always say the same.
    """

    value: float
    texts: float
    """T; infinite with a single text."""
    texts_degrees: int
    seeds: tuple[Seeds, ...]
    """None of an arm with one training, which is taken as given."""
    least: float
    """What ``value`` can be at least."""
    greatest: float
    """What it can be at most."""
    count: int
    """n, of which several may stand behind one value of T."""

    @property
    def alike(self) -> bool:
        """Whether nothing varies: all texts have one value."""
        return bool(self._spread()[FIVE_PERCENT] < NO_SPREAD)

    @property
    def method(self) -> str:
        """What the interval is called."""
        return "rule of three" if self.alike else "t interval"

    def half_width(self) -> float:
        """Half the width of the 95 % interval."""
        return float(self._half_widths()[FIVE_PERCENT])

    def p_value(self) -> float:
        """Two-sided, of a true value of 0; not below 1e-9."""
        if self.value == 0 or math.isinf(self.half_width()):
            return 1.0
        return float(np.interp(abs(self.value), self._half_widths()[::-1], LEVELS[::-1]))

    def smallest_shown(self) -> float:
        """The smallest true difference whose interval leaves out 0 with a probability of 80 %.

        It is the 80 % quantile of half-width + error of the mean, over draws of both from the components. That of the
        seeds is corrected to be too small as often as too large (a sample variance of three seeds is too small in 63 %
        of cases), and is at least what texts alone cause. Infinite with a single text, and where nothing varies.
        """
        if not math.isfinite(self.texts) or self.alike:
            return math.inf
        t = quantiles(self.texts_degrees)[FIVE_PERCENT]
        squares = np.full(DRAWS, t * t * self.texts)
        variance = max(self.texts - sum(part.residual for part in self.seeds), 0.0)
        for stream, part in enumerate(self.seeds):
            drawn, median = _mean_squares(part.degrees, stream)
            true = max(part.variance / median, part.residual)
            u = quantiles(part.degrees)[FIVE_PERCENT]
            squares += np.maximum(u * u * true * drawn - t * t * part.residual, 0)
            variance += true
        return float(np.quantile(np.sqrt(squares) + math.sqrt(variance) * _normal(), POWER))

    def _half_widths(self) -> NDArray[np.float64]:
        """[L], one for each of ``LEVELS``."""
        if not self.alike:
            return self._spread()
        furthest = max(self.value - self.least, self.greatest - self.value)
        if math.isinf(furthest):  # of a score without bounds, such as bits per byte, nothing can be said
            return np.full(LEVELS.shape, math.inf)
        unseen: NDArray[np.float64] = furthest * (1 - LEVELS ** (1 / self.count))
        return unseen

    def _spread(self) -> NDArray[np.float64]:
        """[L] half-widths that come of what varies."""
        if not math.isfinite(self.texts):
            return np.full(LEVELS.shape, math.inf)
        t = quantiles(self.texts_degrees)
        squares: NDArray[np.float64] = t * t * self.texts
        for part in self.seeds:
            u = quantiles(part.degrees)
            squares += np.maximum(u * u * part.variance - t * t * part.residual, 0)
        half_widths: NDArray[np.float64] = np.sqrt(squares)
        return half_widths


def bounds(found: Components) -> tuple[float, float]:
    """Of the 95 % interval, within the values that there are; infinite where a single text says nothing of others."""
    half_width = found.half_width()
    if math.isinf(half_width):
        return -math.inf, math.inf
    return max(found.value - half_width, found.least), min(found.value + half_width, found.greatest)


def components(
    value: float, arms: Sequence[NDArray[np.float64]], least: float, greatest: float, count: int
) -> Components:
    """Of ``value``, the sum over arms of the mean of their [S, n] :func:`text_values`; n is the same for all.

    It is between ``least`` and ``greatest``; ``count`` texts stand behind the n values.
    """
    texts = np.sum([arm.mean(axis=0) for arm in arms], axis=0)
    n = len(texts)
    seeds = tuple(seed_component(arm) for arm in arms if len(arm) > 1)
    variance = float(texts.var(ddof=1)) / n if n > 1 else math.inf
    return Components(value, variance, max(n - 1, 1), seeds, least, greatest, count)


def seed_component(arm: NDArray[np.float64]) -> Seeds:
    """Of [S, n] values with S > 1."""
    count, n = arm.shape
    scores = arm.mean(axis=1, keepdims=True)
    residuals = arm - scores - arm.mean(axis=0) + scores.mean()
    mean_square = float(np.vdot(residuals, residuals)) / ((count - 1) * max(n - 1, 1))
    return Seeds(float(scores.var(ddof=1)) / count, mean_square / (count * n), count - 1)


def text_values(metric: Metric, statistics: Statistics) -> NDArray[np.float64]:
    """[S, n, K] to [S, n]: what each text adds to each seed's score, whose mean over texts is that score.

    For accuracy 0 and 1; for other metrics jackknife pseudo-values (Dorfman, Berbaum and Metz 1992 put those of readers
    and cases into a two-way analysis of variance), less the jackknife's estimate of bias. For a metric that is not
    additive a value stands for one of at most 200 parts of the texts (delete-a-group jackknife): [S, 200].

    Raises ValueError for another shape, and where statistics or scores are NaN or infinite.
    """
    if statistics.ndim != 3 or not statistics.size:
        raise ValueError(f"expected statistics [seeds, texts, K] with at least one of each, got {statistics.shape}")
    if not np.isfinite(statistics).all():
        raise ValueError("statistics hold NaN or infinite numbers; an interval over them would mean nothing")
    return np.stack([_values_of_one(metric, one) for one in statistics])


def mean_score(metric: Metric, statistics: Statistics) -> float:
    """Mean over seeds of the score; ``statistics`` is [S, n, K]."""
    return float(np.mean([metric.reduce(one) for one in statistics]))


def _values_of_one(metric: Metric, rows: Statistics) -> NDArray[np.float64]:
    n = len(rows)
    total = np.ones(n) @ rows
    score = float(metric.reduce(total[None] if metric.additive else rows))
    if n == 1:
        left_out = np.full(1, score)
    elif metric.additive:
        left_out = np.asarray(metric.reduce((total - rows)[:, None, :]))
    else:
        parts = np.arange(n) % min(n, GROUPS)
        left_out = np.array([metric.reduce(rows[parts != part]) for part in range(parts.max() + 1)])
    values: NDArray[np.float64] = score + (left_out.size - 1) * (left_out.mean() - left_out)
    if not np.isfinite(values).all():
        raise ValueError(f"{metric.name} is NaN or infinite on these texts, or on all of them but one")
    return values


@cache
def _mean_squares(degrees: int, stream: int) -> tuple[NDArray[np.float64], float]:
    """[R] draws of a sample variance whose expectation is 1, and their median."""
    drawn: NDArray[np.float64] = np.random.default_rng([degrees, stream]).chisquare(degrees, DRAWS) / degrees
    return drawn, float(np.median(drawn))


@cache
def _normal() -> NDArray[np.float64]:
    """[R] draws with variance 1."""
    return np.random.default_rng(0).standard_normal(DRAWS)
