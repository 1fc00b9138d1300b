"""What several teachers say of a text, as one answer."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from distill.tasks.task import Kind, Logits

Array = NDArray[np.float64]


def mixture(
    kind: Kind, answers: Sequence[Logits], weights: Sequence[float] = (), by_confidence: bool = False
) -> Logits:
    """The logits [U, C] of the mean probabilities of T answers, each [U, C] or shorter; of numbers, their mean.

    ``categorical``: the mean of distributions over C; ``span``: of those over the U units, of start and of end;
    ``bernoulli``: of each probability by itself. Logits of a distribution are known up to a constant, for which the
    mean of the answers' own is taken: the mixture of equal answers is that answer, and an objective that compares
    logits finds all of them on one scale. A word that has no piece, and so NaN, in some answers is told by the others;
    in all of them, it stays NaN. So is a word behind the end of an answer, whose teacher read a part of the text alone:
    the mixture is as long as the longest.

    ``weights`` [T] of the means, all alike where there are none. ``by_confidence``: times the probability that each
    answer gives to what it finds likeliest, of each distribution by itself; numbers have none.
    """
    longest = max(map(len, answers))
    told = [np.pad(one, ((0, longest - len(one)), (0, 0)), constant_values=np.nan) for one in answers]
    x = np.stack(told).astype(np.float64)
    share = np.reshape(weights or np.ones(len(x)), (-1, 1, 1)) * np.ones_like(x)
    silent = np.isnan(x)
    unknown = silent.all(axis=0)
    if kind == "span":  # a distribution over the words that were seen
        x = np.where(silent, -np.inf, x)
    else:
        x, share = np.where(silent, 0, x), np.where(silent, 0, share)
    with np.errstate(invalid="ignore", divide="ignore"):  # of words without an answer
        if kind == "number":
            found = _mean(x, share)
        elif kind == "bernoulli":
            yes, no = -np.logaddexp(0, -x), -np.logaddexp(0, x)
            share = share * np.exp(np.maximum(yes, no)) if by_confidence else share
            found = _log_mean_exp(yes, share) - _log_mean_exp(no, share)
        else:
            axis = 1 if kind == "span" else 2
            size = np.logaddexp.reduce(x, axis=axis, keepdims=True)
            if by_confidence:
                share = share * np.exp((x - size).max(axis=axis, keepdims=True, initial=-np.inf))
            found = _log_mean_exp(x - size, share) + _mean(size, share)
    logits: Logits = np.where(unknown, np.nan, found).astype(np.float32)
    return logits


def _mean(x: Array, share: Array) -> Array:
    """Over the first axis, weighted."""
    mean: Array = (x * share).sum(axis=0) / share.sum(axis=0)
    return mean


def _log_mean_exp(x: Array, share: Array) -> Array:
    """Over the first axis, weighted."""
    found: Array = np.logaddexp.reduce(x + np.log(share), axis=0) - np.log(share.sum(axis=0))
    return found
