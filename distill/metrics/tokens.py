"""Metrics over the tags of a sentence: one example is one sequence of tag strings."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from distill.metrics.classification import ratio_of_sums, share
from distill.metrics.metric import Metric, Statistics, column_sums

Entity = tuple[str, int, int]
"""Type, first token, last token."""


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of one sentence, as conlleval counts them (and seqeval in its default mode).

    Tags are ``O`` or a prefix and a type. ``B-X`` starts an entity, and so does ``I-X`` at the start, after ``O`` and
    after another type. ``S-X`` is one, and ``E-X`` ends one, in the schemes that know them. Raises ValueError for
    other tags.
    """
    found: list[Entity] = []
    start = 0
    previous_prefix, previous_kind = "O", ""
    for i, (prefix, kind) in enumerate([*_parsed(tags), ("O", "")]):
        starts = prefix in "BS" or previous_prefix in "OES" or kind != previous_kind
        if previous_prefix != "O" and starts:
            found.append((previous_kind, start, i - 1))
        if prefix != "O" and starts:
            start = i
        previous_prefix, previous_kind = prefix, kind
    return found


def _parsed(tags: Sequence[str]) -> Iterator[tuple[str, str]]:
    for tag in tags:
        prefix, dash, kind = tag.partition("-")
        if tag != "O" and not (dash and kind and prefix in ("B", "I", "E", "S")):
            raise ValueError(f"'{tag}' is no entity tag: expected O, B-TYPE or I-TYPE (or E-, S-)")
        yield prefix, kind


def _correct_tokens(predictions: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> Statistics:
    """[n, 2]: correct, total."""
    rows = [(sum(p == g for p, g in zip(ps, gs, strict=True)), len(gs)) for ps, gs in _paired(predictions, gold)]
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def _entity_counts(predictions: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> Statistics:
    """[n, 3]: entities right in type and both ends, predicted, gold."""
    rows = []
    for predicted_tags, gold_tags in _paired(predictions, gold):
        predicted, true = set(entities(predicted_tags)), set(entities(gold_tags))
        rows.append((len(predicted & true), len(predicted), len(true)))
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def _paired(
    predictions: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]
) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    if len(predictions) != len(gold):
        raise ValueError(f"{len(predictions)} predicted sentences for {len(gold)}: expected one for each")
    for i, (predicted_tags, gold_tags) in enumerate(zip(predictions, gold, strict=True)):
        if len(predicted_tags) != len(gold_tags):
            raise ValueError(f"sentence {i}: {len(predicted_tags)} predicted tags for {len(gold_tags)} words")
        yield predicted_tags, gold_tags


def _micro_f1(statistics: Statistics) -> NDArray[np.float64]:
    tp, predicted, gold = np.moveaxis(column_sums(statistics), -1, 0)
    return share(2 * tp, predicted + gold)


token_accuracy = Metric("token_accuracy", "token accuracy", _correct_tokens, ratio_of_sums)
"""Share of correct tokens over all sentences. Statistics are [n, 2]: correct, total. 0 where there is no token."""

entity_f1 = Metric("entity_f1", "entity F1", _entity_counts, _micro_f1)
"""Micro F1 over entities, 2 tp / (predicted + gold). Statistics are [n, 3]: tp, predicted, gold.

As in seqeval, 0 where there is no entity at all, neither predicted nor gold.
"""
