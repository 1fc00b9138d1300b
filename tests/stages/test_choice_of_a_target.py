"""What a target takes is chosen on validation."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_runs import config_of, run, teacher_in

from distill.stages import target


def test_another_test_file_changes_neither_what_is_taken_nor_the_drop(
    tmp_path: Path, reviews: Path, encoder: Path
) -> None:
    changes = {
        "teacher": teacher_in(encoder),
        "student": {"name": "layers", "layers": [1]},
        "arms": ["linear", "soft"],
        "target": {"drop": 3, "size_mb": 10},
    }
    found = []
    for test in "AB":
        outcome = run(config_of(reviews, tmp_path / test, f"test {test}", **changes)).outcome
        assert outcome is not None
        found.append(outcome.report)
    a, b = found
    assert a.target == b.target
    assert a.target is not None
    assert any(offer.drop.value for offer in a.target.offers)
    assert [v.score for v in a.variants] != [v.score for v in b.variants]


@pytest.mark.parametrize(("reached", "told"), [(0.95 - 15 / 750, True), (0.929, False)])
def test_a_floor_at_the_limit_is_told_whatever_rounding_says(
    reached: float, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "teacher_on_validation", lambda lesson: 0.95)
    lesson: Any = SimpleNamespace(texts=SimpleNamespace(task=SimpleNamespace(metric=SimpleNamespace(reduce=float))))
    linear: Any = SimpleNamespace(read=lambda file: {"validation": reached})
    assert ("linear" in target.floors(lesson, {"drop": 2.0}, linear, None)) == told
