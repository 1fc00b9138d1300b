"""`benchmarks/learning_curves.py`, `presets.py` and `ladder.py` read the right figures of the runs they make."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.tasks import build

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = ("learning_curves", "presets", "ladder")


@pytest.fixture(scope="module")
def benchmarks() -> dict[str, dict[str, Any]]:
    """Their names, by file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        found = {name: runpy.run_path(str(BENCHMARKS / f"{name}.py")) for name in SCRIPTS}
        sys.modules.pop("runs")
    return found


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    text = (BENCHMARKS / "results" / "rotten_tomatoes" / "report.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize(
    ("given", "adjusted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3 x 0.01; 2 x 0.03; 0.04 alone, not below 0.06
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm(benchmarks: dict[str, Any], given: list[float], adjusted: list[float]) -> None:
    assert benchmarks["presets"]["holm"](given) == pytest.approx(adjusted)


def test_a_point_of_the_learning_curve_is_soft_against_hard(benchmarks: dict[str, Any], report: dict[str, Any]) -> None:
    curves = benchmarks["learning_curves"]
    point = curves["point"](report)
    score = {arm["name"]: arm["score"]["value"] for arm in report["arms"]}
    assert point["labels"] == report["data"]["labelled"] == 2000
    assert point["difference"]["value"] == pytest.approx(score["soft"] - score["hard"])
    cells = curves["row"]("reviews", "lstm", point)
    assert cells[:2] == ["reviews, lstm", "2,000"]
    order = ("linear", "teacher", "hard", "soft")
    assert [float(cell) for cell in cells[2:6]] == [pytest.approx(100 * score[name], abs=0.051) for name in order]
    assert cells[6].startswith("-0.5 [")


def test_a_preset_is_compared_with_hard_and_with_the_first(
    benchmarks: dict[str, Any], report: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    presets, metric = benchmarks["presets"], build("text-classification", ("fresh", "rotten"), "accuracy").metric
    random = np.random.default_rng(0)
    right = {name: random.random((2, 400, 1)) < share for name, share in (("soft", 0.9), ("hard", 0.7), ("kl", 0.8))}
    stacks = {name: np.concatenate([one, np.ones_like(one)], axis=2).astype(float) for name, one in right.items()}
    folder = tmp_path / "outputs" / report["name"]
    folder.mkdir(parents=True)
    np.savez(folder / "test-statistics.npz", soft=stacks["soft"], hard=stacks["hard"])
    monkeypatch.chdir(tmp_path)
    row = presets["row"]("mse", "soft", report, metric, stacks["kl"])
    for name in ("hard", "kl"):
        assert row[f"minus_{name}"]["value"] == pytest.approx(right["soft"].mean() - right[name].mean())
    assert 0 < row["p"] < 1
    cells = presets["cells"](row, 0.02)
    assert cells[0] == "mse"
    assert cells[4].startswith(f"{100 * row['minus_hard']['value']:+.1f} [")
    assert cells[7] == "0.020"
    assert presets["cells"](row, None)[5:8] == ["–", "–", "–"]


def test_every_preset_is_a_choice(benchmarks: dict[str, Any]) -> None:
    known = {path.stem for path in (BENCHMARKS.parent / "conf" / "objective").glob("*.yaml")}
    others = {"cosine", "distribution", "hard", "words", "hinton"}  # of other tasks, a control, kl by another name
    assert set(benchmarks["presets"]["PRESETS"]) == known - others


def test_a_rung_is_the_int8_file_beside_its_teachers(benchmarks: dict[str, Any], report: dict[str, Any]) -> None:
    ladder = benchmarks["ladder"]
    variants = {(one["model"], one["variant"]): one for one in report["variants"]}
    own, teacher = variants["student", "int8"], variants["teacher", "int8"]
    found = ladder["rung"]("2 layers", report, "student", None)
    assert found["score"] == own["score"]
    assert found["megabytes"] == own["file_bytes"] / 1e6
    ratio = own["measurement"]["latency_p50"]["value"] / teacher["measurement"]["latency_p50"]["value"]
    assert found["p50_over_teacher"] == pytest.approx(ratio)
    assert ladder["rung"]("teacher", report, "teacher", None)["p50_over_teacher"] == 1
