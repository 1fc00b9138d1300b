"""BLEU and chrF: counts of each sentence by sacrebleu, so that other implementations agree, scores from their sums."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.errors import UserError
from distill.metrics.metric import Metric, Statistics, column_sums

ORDERS = 4
"""Longest n-gram of words that BLEU counts."""
BETA = 2
"""Weight of recall in chrF."""


def _sacrebleu() -> Any:
    try:
        from sacrebleu import metrics
    except ImportError as error:
        raise UserError("BLEU and chrF are counted by sacrebleu: install distill[train] or sacrebleu") from error
    return metrics


def signature(name: str) -> str:
    """How sacrebleu counted: its signature, which makes scores comparable."""
    counter = {"bleu": "BLEU", "chrf": "CHRF"}[name]
    made = getattr(_sacrebleu(), counter)()
    made.corpus_score(["a"], [["a"]])  # it knows the number of references from here on
    return str(made.get_signature())


def _bleu_counts(predictions: Sequence[str], gold: Sequence[str]) -> Statistics:
    """[n, 10]: words of the answer and of the reference, right n-grams of 1 to 4 words, all of them."""
    counted = _sacrebleu().BLEU()._extract_corpus_statistics(list(predictions), [list(gold)])
    return np.array(counted, dtype=np.float64).reshape(-1, 2 + 2 * ORDERS)


def _chrf_counts(predictions: Sequence[str], gold: Sequence[str]) -> Statistics:
    """[n, 18]: for n-grams of 1 to 6 characters those of the answer, of the reference and in both."""
    counted = _sacrebleu().CHRF()._extract_corpus_statistics(list(predictions), [list(gold)])
    return np.array(counted, dtype=np.float64).reshape(-1, 18)


def _bleu(statistics: Statistics) -> NDArray[np.float64]:
    """Papineni et al. (2002), smoothed as sacrebleu does by default: of orders without a right n-gram the first counts
    as half of one, the next as a quarter, and so on."""
    sums = column_sums(statistics)
    answer, reference = sums[..., 0], sums[..., 1]
    right, total = sums[..., 2 : 2 + ORDERS], sums[..., 2 + ORDERS :]
    smoothed = np.where(right > 0, right, 0.5 ** np.cumsum(right == 0, axis=-1))
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(smoothed / total).mean(axis=-1)
        brevity = np.minimum(0.0, 1 - reference / answer)
        score = np.exp(logs + brevity)
    none = (total == 0).any(axis=-1) | (right == 0).all(axis=-1)
    return np.where(none, 0.0, score)


def _chrf(statistics: Statistics) -> NDArray[np.float64]:
    """Popović (2015): F2 of precision and recall of character n-grams, each the mean over the orders; orders of which
    one side has none are left out."""
    sums = column_sums(statistics)
    answer, reference, both = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    known = (answer > 0) & (reference > 0)
    orders = np.maximum(known.sum(axis=-1), 1)
    precision, recall = (
        np.divide(both, one, out=np.zeros_like(both), where=known).sum(axis=-1) / orders for one in (answer, reference)
    )
    below = BETA**2 * precision + recall
    score: NDArray[np.float64] = np.divide(
        (1 + BETA**2) * precision * recall, below, out=np.zeros_like(below), where=below > 0
    )
    return score


bleu = Metric("bleu", "BLEU", _bleu_counts, _bleu)
chrf = Metric("chrf", "chrF", _chrf_counts, _chrf)
