"""What several teachers say of a text, as one answer."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from distill.tasks.task import Kind, Logits


def mixture(kind: Kind, answers: Sequence[Logits]) -> Logits:
    """The logits [U, C] of the mean probabilities of several answers [U, C]; of numbers, their mean.

    ``categorical``: the mean of distributions over C; ``span``: of those over the U units, of start and of end;
    ``bernoulli``: of each probability by itself. Logits of a distribution are known up to a constant, for which the
    mean of the answers' own is taken: the mixture of equal answers is that answer, and an objective that compares
    logits finds all of them on one scale. NaN, where a word has no piece, stays NaN.
    """
    x = np.stack(answers).astype(np.float64)
    if kind == "number":
        found = x.mean(axis=0)
    elif kind == "bernoulli":
        found = _log_mean_exp(-np.logaddexp(0, -x)) - _log_mean_exp(-np.logaddexp(0, x))
    else:
        axis = 1 if kind == "span" else 2
        size = np.logaddexp.reduce(np.where(np.isnan(x), -np.inf, x), axis=axis, keepdims=True)
        found = _log_mean_exp(x - size) + size.mean(axis=0)
    logits: Logits = found.astype(np.float32)
    return logits


def _log_mean_exp(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the first axis."""
    with np.errstate(invalid="ignore"):  # of NaN
        found: NDArray[np.float64] = np.logaddexp.reduce(x, axis=0) - np.log(len(x))
    return found
