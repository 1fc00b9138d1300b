"""SQuAD's metrics: one prediction is a string, its gold the answers that are accepted, one or more strings.

They count as the official script of v1.1 does (``evaluate-v1.1.py``, Rajpurkar et al. 2016).
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from distill.metrics.classification import ratio_of_sums
from distill.metrics.metric import Metric, Statistics

ARTICLES = re.compile(r"\b(a|an|the)\b")
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def answer_words(text: str) -> list[str]:
    """The words that count: lower-cased, without ASCII punctuation, then without the articles a, an and the."""
    return ARTICLES.sub(" ", text.lower().translate(NO_PUNCTUATION)).split()


def _same_words(prediction: list[str], accepted: list[str]) -> float:
    return float(prediction == accepted)


def _word_f1(prediction: list[str], accepted: list[str]) -> float:
    """F1 of the words, a word counted as often as it stands in both; 0 where either has none."""
    common = (Counter(prediction) & Counter(accepted)).total()
    return 2 * common / (len(prediction) + len(accepted)) if common else 0.0


def _best(
    compare: Callable[[list[str], list[str]], float], predictions: Sequence[str], gold: Sequence[Sequence[str]]
) -> Statistics:
    """[n, 2]: the comparison with the accepted answer that is nearest, and 1."""
    if len(predictions) != len(gold):
        raise ValueError(f"{len(predictions)} predicted answers for {len(gold)} questions: expected one for each")
    rows = []
    for i, (prediction, accepted) in enumerate(zip(predictions, gold, strict=True)):
        if isinstance(accepted, str) or not len(accepted):
            raise ValueError(f"gold of question {i}: expected one or more accepted answers in a list, got {accepted!r}")
        words = answer_words(prediction)
        rows.append((max(compare(words, answer_words(answer)) for answer in accepted), 1.0))
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


span_exact_match = Metric("exact_match", "exact match", partial(_best, _same_words), ratio_of_sums)
"""Share of predictions with the same words as an accepted answer. Statistics are [n, 2]: 0 or 1, and 1."""

span_f1 = Metric("f1", "F1", partial(_best, _word_f1), ratio_of_sums)
"""Mean over questions of the F1 of words with the nearest accepted answer. Statistics are [n, 2]: F1, and 1."""
