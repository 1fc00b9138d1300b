"""`benchmarks/compressions.py`: each row shows what a report says of a compression, and times over the first row."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def compressions(benchmark: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return benchmark("compressions")


def report(steps: list[dict[str, Any]]) -> dict[str, Any]:
    def about(score: float) -> dict[str, float]:
        return {"value": score, "low": score - 0.01, "high": score + 0.01}

    variants = [
        {"model": model, "variant": variant, "score": about(score), "gate": {"drop": about(score / 100)}}
        for model, variant, score in (("teacher", "int8", 0.95), ("student", "fp32", 0.9), ("student", "int8", 0.8))
    ]
    return {
        "metric": "accuracy",
        "variants": variants,
        "compression": steps,
        "exported_arm": "soft+transfer",
        "arms": [{"name": "linear", "parameters": 7}, {"name": "soft+transfer", "parameters": 8_000_000}],
        "costs": [
            {"stage": "student soft+transfer", "seconds": 600.0},
            {"stage": "compression: prune", "seconds": 30.0},
            {"stage": "compression: recovery from prune, learning rate 0.0001", "seconds": 60.0},
        ],
    }


def test_a_row_is_of_the_students_int8_behind_the_last_step(compressions: ModuleType) -> None:
    steps = [
        {"cut": 0.5, "recovered": 0.75, "parameters_after": 4_000_000},
        {"cut": 0.7, "recovered": 0.72, "parameters_after": 3_000_000},
    ]
    first = compressions.row("none", report([]), 8.0, [0.002, 0.004, 0.003])
    cells = compressions.cells(compressions.row("both", report(steps), 3.1, [0.001, 0.001, 0.0012]), first)
    assert cells == [
        "both",
        "3.00 M",
        "50.0, 75.0; 70.0, 72.0",
        "+0.8 [-0.2, +1.8]",
        "80.0 [79.0, 81.0]",
        "3.10",
        "0.40 [0.25, 0.50]",
        "1.5",
    ]
    assert compressions.cells(first, first)[1:3] == ["8.00 M", "–"]


def test_every_choice_is_one_of_conf_or_a_chain(compressions: ModuleType) -> None:
    """All that there are, and each once."""
    named = {one.removeprefix("compression=") for one in compressions.CHOICES.values() if "steps" not in one}
    assert named == {file.stem for file in (BENCHMARKS.parent / "conf" / "compression").glob("*.yaml")}
