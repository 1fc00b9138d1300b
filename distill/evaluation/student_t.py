"""Student's t distribution with numpy alone: the base install has no scipy."""

import math
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

LEVELS = np.concatenate([np.geomspace(1e-9, 0.05, 500), np.linspace(0.05, 1, 96)[1:]])
"""Levels of significance [L], rising, at which quantiles are kept."""
FIVE_PERCENT = 499
"""Where 0.05 stands in ``LEVELS``."""


@cache
def quantiles(degrees: int) -> NDArray[np.float64]:
    """[L] numbers t that abs(T) is above with the probabilities ``LEVELS``, for T with ``degrees`` of freedom."""
    if degrees > 200:  # Cornish and Fisher's expansion (26.7.5), here good to 1e-6
        z = np.array([NormalDist().inv_cdf(1 - level / 2) for level in LEVELS])
        first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
        third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
        expansion: NDArray[np.float64] = z + first / degrees + second / degrees**2 + third / degrees**3
        return expansion
    low, high = np.full(LEVELS.shape, -25.0), np.full(LEVELS.shape, 25.0)  # logarithms
    for _ in range(60):
        middle = (low + high) / 2
        above = two_sided(np.exp(middle), degrees) > LEVELS
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(LEVELS < 1, np.exp(high), 0.0)


def two_sided(t: NDArray[np.float64], degrees: int) -> NDArray[np.float64]:
    """Probability that abs(T) is above ``t`` >= 0: the incomplete beta function I_x(degrees / 2, 1 / 2) at
    x = degrees / (degrees + t²) (Abramowitz and Stegun 1964, 26.7.1 and 26.5.27)."""
    a, b = degrees / 2, 0.5
    x, y = degrees / (degrees + t * t), t * t / (degrees + t * t)
    swapped = x > (a + 1) / (a + b + 2)  # there the fraction of the other tail converges
    with np.errstate(divide="ignore"):
        front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * np.log(x) + b * np.log(y)
    direct = np.exp(front) * _fraction(a, b, np.where(swapped, 0.0, x)) / a
    other = np.exp(front) * _fraction(b, a, np.where(swapped, y, 0.0)) / b
    return np.where(swapped, 1 - other, direct)


def _fraction(a: float, b: float, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The continued fraction of the incomplete beta function (26.5.8), by Lentz's method."""
    c, d = np.ones_like(x), 1 / (1 - (a + b) * x / (a + 1))
    value = d.copy()
    for m in range(1, 1_000):
        for numerator in (
            m * (b - m) / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + numerator * x * d)
            c = 1 + numerator * x / c
            value = value * c * d
        if np.abs(c * d - 1).max() < 1e-15:
            break
    return value
