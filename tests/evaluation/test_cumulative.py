"""`benchmarks/cumulative.py`: each row shows the model that it times, and what follows from the times."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def cumulative(benchmark: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return benchmark("cumulative")


def test_each_row_has_the_score_of_the_model_that_is_timed(cumulative: ModuleType, tmp_path: Path) -> None:
    def report(run: int) -> dict[str, Any]:
        variants = [
            {"model": model, "variant": variant, "score": {"value": float(f"0.{run}{i}{j}")}}
            for i, model in enumerate(("teacher", "student"), start=1)
            for j, variant in enumerate(("fp32", "int8"), start=1)
        ]
        skipped = {"model": "student", "variant": "int4", "score": None}
        return {"variants": [*variants, skipped], "arms": [{"name": "teacher", "score": {"value": 0.9}}]}

    teacher = cumulative.Teacher(tmp_path, {"fp32": Path("t.onnx"), "int8": Path("t8.onnx")}, 32, [])
    subjects = cumulative.subjects_of(teacher, ("a", "b"))
    found = [(one.name, one.padded, one.model) for one in subjects]
    assert found == [
        ("teacher, PyTorch", True, str(tmp_path)),
        ("+ ONNX", True, "t.onnx"),
        ("+ real lengths", False, "t.onnx"),
        ("+ student", False, "exports/a/onnx/model.onnx"),
        ("+ pruned", False, "exports/b/onnx/model.onnx"),
        ("+ int8", False, "exports/b/onnx/model_int8.onnx"),
        ("teacher, int8", False, "t8.onnx"),
    ]
    assert [one.in_torch for one in subjects] == [True, *[False] * 6]
    scores = [score["value"] for score in cumulative.scores_of([report(1), report(2)])]
    assert scores == [0.9, 0.111, 0.111, 0.121, 0.221, 0.222, 0.112]


def test_cells_are_ratios_to_the_first_row_turn_by_turn(cumulative: ModuleType) -> None:
    score = {"value": 0.9, "low": 0.88, "high": 0.92}
    first = {
        "name": "teacher, PyTorch", "metric": "accuracy", "score": score, "megabytes": 90.0,
        "p50": [0.010, 0.020, 0.030], "rate": [100.0, 50.0, 40.0],
        "memory": 600.0, "first_answer": 4.0, "joules": 100.0, "dollars": 18.0,
    }  # fmt: skip
    own = first | {
        "name": "+ int8",
        "score": {name: value * 0.97 for name, value in score.items()},
        "p50": [0.001, 0.001, 0.002],
        "rate": [1000.0, 600.0, 500.0],
    }
    cells = cumulative.cells(own, first)
    assert cells[2] == "97.0 %"
    assert cells[4:8] == ["1.00", "15.0 [10.0, 20.0]", "600", "12.0 [10.0, 12.5]"]


def test_padding_to_the_maximum_leaves_the_mask_at_zero(cumulative: ModuleType) -> None:
    ids, mask = np.array([[2, 5, 3], [2, 3, 0]]), np.array([[1, 1, 1], [1, 1, 0]])
    assert cumulative.widened(ids, 5, 7, "input_ids").tolist() == [[2, 5, 3, 7, 7], [2, 3, 0, 7, 7]]
    assert cumulative.widened(mask, 5, 7, "attention_mask").tolist() == [[1, 1, 1, 0, 0], [1, 1, 0, 0, 0]]
