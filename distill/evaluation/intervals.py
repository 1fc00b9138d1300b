"""Intervals of scores: Wilson's for a share, the percentile bootstrap over seeds and texts for any metric."""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from distill.metrics import Metric, Statistics
from distill.results import Estimate

RESAMPLES = 2_000
CONFIDENCE = 0.95
CHUNK = 4_000_000
"""Entries of a matrix of weights held at once (32 MB): the resamples of many texts are drawn in several parts."""


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


def bootstrap_seeds(metric: Metric, statistics: Statistics, *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """The mean score over S seeds with a 95 % interval; ``statistics`` is [S, n, K].

    Seeds and texts are both resampled with replacement, a text together with all its seeds (they answered the same
    texts), and the interval spans the 2.5 % and 97.5 % quantiles. With one seed only texts are resampled, and the
    interval says nothing about other seeds. Where all texts of all seeds are right the interval has no width; use
    :func:`wilson` there. Raises ValueError for another shape, and for statistics or scores that are NaN or infinite.
    """
    checked(statistics)
    rng = np.random.default_rng(seed)
    scores = resampled_scores(metric, statistics, resamples, rng)
    drawn = at_seeds(scores, resampled_seeds(len(statistics), resamples, rng)).mean(axis=1)
    low, high = np.quantile(drawn, _TAILS)
    return Estimate(mean_score(metric, statistics), float(low), float(high), method_name(statistics, resamples))


def gap_recovered(
    metric: Metric,
    arm: Statistics,
    linear: Statistics,
    teacher: Statistics,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate | None:
    """(arm - linear) / (teacher - linear) with its 95 % interval; None where the teacher is not above linear.

    ``arm`` is [S, n, K], ``linear`` and ``teacher`` are [n, K], over the same texts: a resample holds the same texts
    for all three. In a resample where the teacher is not above linear the share could be anything: it counts as minus
    infinity at the low end and as infinity at the high end. A bound is infinite, then, where too many resamples are
    like that: the texts do not settle the gap. Raises ValueError as :func:`bootstrap_seeds` does.
    """
    checked(arm)
    if not arm.shape[1:] == linear.shape == teacher.shape:
        raise ValueError(
            f"expected equal [n, K], got arm {arm.shape[1:]}, linear {linear.shape}, teacher {teacher.shape}"
        )
    everyone = np.concatenate([arm, linear[None], teacher[None]])
    checked(everyone)
    floor, ceiling = mean_score(metric, linear[None]), mean_score(metric, teacher[None])
    if ceiling <= floor:
        return None
    rng = np.random.default_rng(seed)
    scores = resampled_scores(metric, everyone, resamples, rng)
    drawn = at_seeds(scores[:, :-2], resampled_seeds(len(arm), resamples, rng)).mean(axis=1)
    gap = scores[:, -1] - scores[:, -2]
    share = np.divide(drawn - scores[:, -2], gap, out=np.full(resamples, np.nan), where=gap > 0)
    unsettled = np.isnan(share)
    # quantiles that are drawn values, as there is nothing between a number and infinity
    low = np.quantile(np.where(unsettled, -np.inf, share), _TAILS[0], method="lower")
    high = np.quantile(np.where(unsettled, np.inf, share), _TAILS[1], method="higher")
    value = (mean_score(metric, arm) - floor) / (ceiling - floor)
    return Estimate(value, float(low), float(high), method_name(arm, resamples))


def mean_score(metric: Metric, statistics: Statistics) -> float:
    """Mean over seeds of the score; ``statistics`` is [S, n, K]. Raises ValueError where it is not finite."""
    return float(_finite(metric, np.array([metric.reduce(one) for one in statistics])).mean())


def resampled_scores(
    metric: Metric, statistics: Statistics, resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """[R, S] scores over resampled texts; ``statistics`` is [S, n, K]. A resample holds the same texts for all S."""
    count, n, _ = statistics.shape
    scores = np.empty((resamples, count))
    step = max(1, CHUNK // n)
    for first in range(0, resamples, step):
        rows = min(step, resamples - first)
        drawn = rng.integers(0, n, size=(rows, n))
        if metric.additive:
            # bincount over rows laid end to end: how often each text was drawn, a multinomial, [rows, n]
            ends = drawn + n * np.arange(rows)[:, None]
            weights = np.bincount(ends.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
        for s, one in enumerate(statistics):
            samples = (weights @ one)[:, None] if metric.additive else (one[texts] for texts in drawn)
            scores[first : first + rows, s] = [metric.reduce(sample) for sample in samples]
    return _finite(metric, scores)


def resampled_seeds(count: int, resamples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """[R, count] indices of seeds, drawn with replacement."""
    return rng.integers(0, count, size=(resamples, count))


def at_seeds(scores: NDArray[np.float64], seeds: NDArray[np.int64]) -> NDArray[np.float64]:
    """[R, S] scores at the [R, S] seeds that each resample drew."""
    return np.take_along_axis(scores, seeds, axis=1)


def method_name(statistics: Statistics, resamples: int) -> str:
    """``percentile bootstrap over 3 seeds x 1,902 texts, 2,000 resamples``."""
    seeds, texts, _ = statistics.shape
    over = f"{seeds} seeds x " if seeds > 1 else ""
    return f"percentile bootstrap over {over}{texts:,} texts, {resamples:,} resamples"


def checked(statistics: Statistics) -> None:
    """Raises ValueError unless ``statistics`` is [S, n, K] of finite numbers, with at least one of each."""
    if statistics.ndim != 3 or not statistics.size:
        raise ValueError(f"expected statistics [seeds, texts, K] with at least one of each, got {statistics.shape}")
    if not np.isfinite(statistics).all():
        raise ValueError("statistics hold NaN or infinite numbers; an interval over them would mean nothing")


_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def _finite(metric: Metric, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(scores).all():
        raise ValueError(f"{metric.name} is NaN or infinite on these texts, or on a resample of them")
    return scores
