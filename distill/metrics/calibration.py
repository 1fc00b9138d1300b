"""How far probabilities can be taken at their word. All take probabilities [n, C] and gold [n] class indices."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distill.metrics.classification import class_indices


def expected_calibration_error(probabilities: ArrayLike, gold: Sequence[int], bins: int = 15) -> float:
    """Mean over examples of |accuracy - confidence| of their bin, in [0, 1]; confidence is the highest probability.

    ``bins`` bins of equal width, each open below and closed above: Guo et al. 2017, "On Calibration of Modern Neural
    Networks", eq. 3. Raises ValueError for rows that are not distributions and for labels that are no class.
    """
    if bins < 1:
        raise ValueError(f"{bins} bins: at least 1 is needed")
    p, true = _checked(probabilities, gold)
    confidence = p.max(axis=1)
    surplus = (p.argmax(axis=1) == true) - confidence
    inner_edges = np.linspace(0, 1, bins + 1)[1:-1]
    by_bin = np.bincount(np.digitize(confidence, inner_edges, right=True), weights=surplus)
    return float(np.abs(by_bin).sum() / len(true))


def negative_log_likelihood(probabilities: ArrayLike, gold: Sequence[int]) -> float:
    """Mean of -ln p(gold), in nats; infinite where a gold class has probability 0. Errors as above."""
    p, true = _checked(probabilities, gold)
    with np.errstate(divide="ignore"):
        return float(-np.log(p[np.arange(len(true)), true]).mean())


def brier(probabilities: ArrayLike, gold: Sequence[int]) -> float:
    """Mean over examples of the sum over classes of (p - one-hot gold)^2, in [0, 2] (Brier 1950). Errors as above."""
    p, true = _checked(probabilities, gold)
    return float(np.square(p - np.eye(p.shape[1])[true]).sum(axis=1).mean())


def _checked(probabilities: ArrayLike, gold: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or not p.size or len(p) != len(gold):
        raise ValueError(f"expected probabilities [n, C] for n = {len(gold)} labels, n at least 1, got shape {p.shape}")
    # written so that NaN fails; the tolerance is that of sums of float32
    if not (p.min() >= 0 and np.abs(p.sum(axis=1) - 1).max() <= 1e-3):
        raise ValueError(
            "expected probabilities that are not negative, not NaN and sum to 1 in each row; apply softmax"
        )
    _, true = class_indices(gold, gold)
    if true.max() >= p.shape[1]:
        raise ValueError(f"label {true.max()} with {p.shape[1]} classes (0 to {p.shape[1] - 1})")
    return p, true
