"""How often two models give the same answer."""

from collections.abc import Sequence
from typing import Any


def agreement(predictions: Sequence[Any], others: Sequence[Any]) -> float:
    """Share of equal answers, a fraction of 1, over the same n texts.

    Class indices are compared text by text; tag sequences token by token, over all sentences together. Raises
    ValueError where there is nothing to compare, and where the two differ in number of texts or of tokens.
    """
    if len(predictions) != len(others):
        raise ValueError(f"{len(predictions)} answers against {len(others)}: expected the same texts")
    equal = total = 0
    for i, (one, other) in enumerate(zip(predictions, others, strict=True)):
        if isinstance(one, (list, tuple)):
            if len(one) != len(other):
                raise ValueError(f"text {i}: {len(one)} tags against {len(other)}")
            equal += sum(a == b for a, b in zip(one, other, strict=True))
            total += len(one)
        else:
            equal += bool(one == other)
            total += 1
    if not total:
        raise ValueError("no answers to compare")
    return equal / total
