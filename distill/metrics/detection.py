"""How well a score tells two groups apart."""

import numpy as np
from numpy.typing import ArrayLike

from distill.metrics.regression import average_ranks


def auroc(positive_scores: ArrayLike, negative_scores: ArrayLike) -> float:
    """Area under the ROC curve: the probability that a positive scores higher than a negative, in [0, 1].

    Scores are [n] and [m]; ties count half. From the ranks of both together: Hanley and McNeil 1982. Raises ValueError
    where one group is empty and for NaN.
    """
    positive = np.asarray(positive_scores, dtype=np.float64)
    negative = np.asarray(negative_scores, dtype=np.float64)
    if positive.ndim != 1 or negative.ndim != 1 or not positive.size or not negative.size:
        raise ValueError(
            f"expected scores [n] and [m] with at least one of each, got shapes {positive.shape} and {negative.shape}"
        )
    both = np.concatenate([positive, negative])
    if np.isnan(both).any():
        raise ValueError("scores hold NaN, which is neither higher nor lower than another score")
    n, m = len(positive), len(negative)
    higher = average_ranks(both)[:n].sum() - n * (n + 1) / 2
    return float(higher / (n * m))
