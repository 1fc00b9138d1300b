"""Two arms on the same texts: paired interval of the difference, paired test, and what both say in words."""

from itertools import product

import numpy as np
from numpy.typing import NDArray

from distill.evaluation.intervals import (
    CHUNK,
    CONFIDENCE,
    RESAMPLES,
    at_seeds,
    checked,
    mean_score,
    resampled_scores,
    resampled_seeds,
)
from distill.metrics import Metric, Statistics
from distill.results import Contrast, Estimate

PERMUTATIONS = 5_000
SIGNIFICANCE = 0.05


def contrast(
    metric: Metric,
    arm: str,
    arm_statistics: Statistics,
    against: str,
    against_statistics: Statistics,
    primary: bool,
    *,
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Contrast:
    """Mean score of ``arm`` minus that of ``against``, with interval, p-value and verdict.

    Statistics are [S, n, K] and [S', n, K] over the same n texts; S and S' may differ (a teacher has one seed). Raises
    ValueError where n or K differ, and for statistics or scores that are NaN or infinite.
    """
    _checked_pair(arm_statistics, against_statistics)
    difference = paired_difference(metric, arm_statistics, against_statistics, resamples=resamples, seed=seed)
    p = randomisation_test(metric, arm_statistics, against_statistics, permutations=permutations, seed=seed)
    test = f"paired approximate randomisation over {arm_statistics.shape[1]:,} texts, {permutations:,} permutations"
    return Contrast(arm, against, primary, difference, p, test, verdict(arm, against, difference, p))


def paired_difference(
    metric: Metric, arm: Statistics, against: Statistics, *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Mean score of ``arm`` [S, n, K] minus that of ``against`` [S', n, K], with its 95 % percentile interval.

    A resample holds the same texts for both. Seeds are resampled too: in pairs by index where S = S' (the same seed
    gave both the same start and order), independently of each other elsewhere. Few seeds tell little about their own
    spread: where seeds move a score far more than texts do, the interval over 3 seeds is too narrow, and over one seed
    it says nothing about other seeds. Raises ValueError as :func:`contrast` does.
    """
    _checked_pair(arm, against)
    rng = np.random.default_rng(seed)
    scores = resampled_scores(metric, np.concatenate([arm, against]), resamples, rng)
    seeds = resampled_seeds(len(arm), resamples, rng)
    paired = len(arm) == len(against)
    other_seeds = seeds if paired else resampled_seeds(len(against), resamples, rng)
    drawn = at_seeds(scores[:, : len(arm)], seeds).mean(axis=1)
    drawn -= at_seeds(scores[:, len(arm) :], other_seeds).mean(axis=1)
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    counts = f"{len(arm)}" if paired else f"{len(arm)} and {len(against)}"
    over = f"{counts} seeds x " if len(arm) > 1 or len(against) > 1 else ""
    method = f"paired percentile bootstrap over {over}{arm.shape[1]:,} texts, {resamples:,} resamples"
    return Estimate(mean_score(metric, arm) - mean_score(metric, against), float(low), float(high), method)


def randomisation_test(
    metric: Metric, arm: Statistics, against: Statistics, *, permutations: int = PERMUTATIONS, seed: int = 0
) -> float:
    """Two-sided p-value of "which of the two systems gave which answers does not matter", over texts.

    Each permutation exchanges the two systems' rows at each text with probability 1/2, all seeds of a text together,
    and p = (hits + 1) / (permutations + 1), where a hit is a difference of mean scores at least as far from 0 as the
    one observed: Noreen 1989, "Computer-Intensive Methods for Testing Hypotheses". Where S = S' the rows of equal seeds
    are exchanged; elsewhere those of all pairs of seeds, over which the scores are averaged. Correlations overlook the
    scale of predictions, so these are standardised (for Spearman ranked) before they are exchanged. The seeds are held
    to be given: it is the interval of :func:`paired_difference` that also reckons with other seeds.

    ``arm`` is [S, n, K], ``against`` [S', n, K]. Raises ValueError as :func:`contrast` does.
    """
    _checked_pair(arm, against)
    if metric.alike is not None:
        arm, against = (np.stack([metric.alike(one) for one in each]) for each in (arm, against))
    rng = np.random.default_rng(seed)
    pairs = [(s, s) for s in range(len(arm))]
    if len(arm) != len(against):
        pairs = list(product(range(len(arm)), range(len(against))))
    observed = mean_score(metric, arm) - mean_score(metric, against)
    n = arm.shape[1]
    step = max(1, CHUNK // n)
    hits = 0
    for first in range(0, permutations, step):
        exchanged = rng.integers(0, 2, size=(min(step, permutations - first), n)).astype(np.float64)
        differences = np.zeros(len(exchanged))
        for s, t in pairs:
            differences += _exchanged_differences(metric, arm[s], against[t], exchanged)
        # differences that are equal on paper may differ in their last bits
        hits += int((np.abs(differences / len(pairs)) >= abs(observed) - 1e-10).sum())
    return (hits + 1) / (permutations + 1)


def verdict(arm: str, against: str, difference: Estimate, p_value: float) -> str:
    """``soft is better than hard``, that it is worse, or ``no difference shown``.

    Better and worse are said only where the interval excludes 0 and p < 0.05.
    """
    if difference.low > 0 and p_value < SIGNIFICANCE:
        return f"{arm} is better than {against}"
    if difference.high < 0 and p_value < SIGNIFICANCE:
        return f"{arm} is worse than {against}"
    return "no difference shown"


def _exchanged_differences(
    metric: Metric, one: Statistics, other: Statistics, exchanged: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[P] differences of scores with rows of ``one`` and ``other`` [n, K] exchanged where ``exchanged`` [P, n] is 1."""
    if metric.additive:
        moved = exchanged @ (other - one)
        both = zip((one.sum(axis=0) + moved)[:, None], (other.sum(axis=0) - moved)[:, None], strict=True)
        return np.array([metric.reduce(a) - metric.reduce(b) for a, b in both])
    swaps = (row[:, None] == 1 for row in exchanged)
    return np.array([metric.reduce(np.where(s, other, one)) - metric.reduce(np.where(s, one, other)) for s in swaps])


def _checked_pair(arm: Statistics, against: Statistics) -> None:
    checked(arm)
    checked(against)
    if arm.shape[1:] != against.shape[1:]:
        raise ValueError(
            f"expected statistics over the same texts, got [n, K] = {arm.shape[1:]} and {against.shape[1:]}"
        )
