"""What changes for who puts one classifier in the place of another: answers that flip, and thresholds to carry over."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.results import CarriedThreshold, FlippedLabel

THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.95)
"""At which people act on an answer."""


@dataclass(frozen=True)
class Said:
    """What a model says of N texts."""

    labels: NDArray[np.int64]
    """[N], by number."""
    confidence: NDArray[np.float64]
    """[N], the probability of each."""


def flipped_labels(
    before: NDArray[np.int64], after: NDArray[np.int64], gold: NDArray[np.int64], names: Sequence[str]
) -> tuple[FlippedLabel, ...]:
    """For each label that ``before`` gave, what ``after`` makes of these texts; those with the most flips first.

    All [N], numbers of labels; ``gold`` is what is right.
    """
    found = []
    for number, name in enumerate(names):
        own = before == number
        flips = own & (after != number)
        found.append(
            FlippedLabel(
                label=name,
                before=int(own.sum()),
                after=int((after == number).sum()),
                flips=int(flips.sum()),
                to={names[to]: count for to, count in Counter(after[flips].tolist()).most_common()},
                right_before=int((flips & (gold == number)).sum()),
                right_after=int((flips & (gold == after)).sum()),
            )
        )
    return tuple(sorted((one for one in found if one.before), key=lambda one: -one.flips))


def carried(
    validation: tuple[Said, Said], test: tuple[Said, Said], gold: NDArray[np.int64]
) -> tuple[CarriedThreshold, ...]:
    """For each of ``THRESHOLDS`` that of the second model which lets the same number of texts of validation through:
    the k-th highest of its confidences there, where k are at or above the threshold by the first. More pass only where
    texts have the same confidence. ``gold`` [N] is what is right on test.
    """
    found = []
    before, after = (one.confidence for one in validation)
    for threshold in THRESHOLDS:
        count = int((before >= threshold).sum())
        own = float(np.sort(after)[-count]) if count else None
        passed = (test[0].confidence >= threshold, test[1].confidence >= (np.inf if own is None else own))
        precisions = [
            float((said.labels == gold)[through].mean()) if through.any() else None
            for said, through in zip(test, passed, strict=True)
        ]
        shares = [float(through.mean()) for through in passed]
        found.append(CarriedThreshold(threshold, own, *shares, *precisions))
    return tuple(found)
