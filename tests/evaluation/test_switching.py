"""Answers that flip and thresholds to carry over, counted text by text."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from distill.evaluation.switching import THRESHOLDS, Said, carried, flipped_labels

NAMES = ("a", "b", "c", "d")
GENERATOR = np.random.default_rng(5)
GOLD = GENERATOR.integers(0, 3, 300)
BEFORE = np.where(GENERATOR.random(300) < 0.8, GOLD, GENERATOR.integers(0, 3, 300))
AFTER = np.where(GENERATOR.random(300) < 0.7, BEFORE, GENERATOR.integers(0, 4, 300))


def test_flips_are_what_stands_beside_the_diagonal() -> None:
    table = confusion_matrix(BEFORE, AFTER, labels=range(4))
    found = {one.label: one for one in flipped_labels(BEFORE, AFTER, GOLD, NAMES)}
    assert set(found) == {"a", "b", "c"}  # nobody said d before
    for number, name in enumerate("abc"):
        one, row = found[name], table[number]
        assert (one.before, one.after) == (row.sum(), table[:, number].sum())
        assert one.flips == row.sum() - row[number] == sum(one.to.values())
        assert one.to == {NAMES[other]: row[other] for other in range(4) if other != number and row[other]}
        assert list(one.to.values()) == sorted(one.to.values(), reverse=True)


def test_right_before_and_after_are_counted_among_the_flips_alone() -> None:
    found = flipped_labels(BEFORE, AFTER, GOLD, NAMES)
    for one in found:
        triples = [
            (old, new, true) for old, new, true in zip(BEFORE, AFTER, GOLD, strict=True) if NAMES[old] == one.label
        ]
        flipped = [(old, new, true) for old, new, true in triples if old != new]
        assert one.right_before == sum(old == true for old, _, true in flipped)
        assert one.right_after == sum(new == true for _, new, true in flipped)
    gained = sum(one.right_after - one.right_before for one in found)
    assert gained == (AFTER == GOLD).sum() - (BEFORE == GOLD).sum()


def test_labels_with_the_most_flips_come_first() -> None:
    flips = [one.flips for one in flipped_labels(BEFORE, AFTER, GOLD, NAMES)]
    assert flips == sorted(flips, reverse=True)
    assert [one.flips for one in flipped_labels(BEFORE, BEFORE, GOLD, NAMES)] == [0, 0, 0]


def test_a_threshold_carried_over_lets_as_many_texts_of_validation_through() -> None:
    before = Said(BEFORE, GENERATOR.beta(5, 1, 300))
    after = Said(AFTER, before.confidence**3)  # another scale, the same order
    test = Said(BEFORE, GENERATOR.beta(5, 1, 300)), Said(AFTER, GENERATOR.beta(3, 1, 300))
    found = carried((before, after), test, GOLD)
    assert [one.before for one in found] == list(THRESHOLDS)
    for one in found:
        assert one.after is not None
        passed = before.confidence >= one.before
        np.testing.assert_array_equal(after.confidence >= one.after, passed)
        assert one.after == pytest.approx(before.confidence[passed].min() ** 3)
        old, new = test[0].confidence >= one.before, test[1].confidence >= one.after
        assert (one.passed_before, one.passed_after) == (old.mean(), new.mean())
        assert one.precision_before == (BEFORE[old] == GOLD[old]).mean()
        assert one.precision_after == (AFTER[new] == GOLD[new]).mean()


def test_where_no_text_passes_there_is_no_threshold() -> None:
    unsure = Said(BEFORE, np.full(300, 0.6))
    sure = Said(AFTER, np.full(300, 0.99))
    found = {one.before: one for one in carried((unsure, sure), (unsure, sure), GOLD)}
    assert found[0.5].after == 0.99
    assert (found[0.5].passed_before, found[0.5].passed_after) == (1, 1)
    for threshold in THRESHOLDS[1:]:
        one = found[threshold]
        assert (one.after, one.precision_before, one.precision_after) == (None, None, None)
        assert (one.passed_before, one.passed_after) == (0, 0)
