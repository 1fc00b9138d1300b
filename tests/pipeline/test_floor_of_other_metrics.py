"""The floor that a teacher must beat is the one of the metric that is asked for."""

import pytest

from distill import tasks
from distill.errors import UserError
from distill.stages.signal import check_floor


def test_entities_are_compared_by_entities_although_most_words_are_none() -> None:
    task = tasks.build("token-classification", ("B-X", "I-X", "O"))
    gold = [["O"] * 8 + ["B-X", "O"]] * 60
    half = [["B-X", "B-X"] + ["O"] * 6 + ["B-X", "O"]] * 60  # fewer words right than with O everywhere
    check_floor(True, task, half, gold)
    with pytest.raises(UserError, match="has not learnt the task"):
        check_floor(True, task, [["O"] * 10] * 60, gold)


def test_accuracy_is_compared_by_counts() -> None:
    task = tasks.build("text-classification", ("a", "b"))
    gold = [0, 0, 0, 1] * 40
    check_floor(True, task, gold, gold)
    with pytest.raises(UserError, match=r"75\.0%"):
        check_floor(True, task, [0] * 160, gold)
