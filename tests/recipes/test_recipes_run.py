"""Every recipe runs, under one overlay that makes it small."""

import json
from pathlib import Path

import pytest

from distill import load
from distill.cli import main
from distill.config.compose import recipe_names
from distill.results import Report, from_json

SOME = ("quickstart",)
"""Run by default; the others run in CI."""


@pytest.mark.parametrize(
    "recipe", [pytest.param(name, marks=() if name in SOME else pytest.mark.slow) for name in recipe_names()]
)
def test_recipe_runs_in_miniature_and_leaves_a_bundle_that_answers(recipe: str, miniature: list[str]) -> None:
    assert main(["run", recipe, *miniature, "name=small"]) == 0
    answer = load("exports/small")(["a gorgeous film", ""])
    assert {a.label for a in answer} <= {"fresh", "rotten"}
    report = from_json(Report, Path("outputs/small/report.json").read_text())
    assert [arm.name for arm in report.arms][:2] == ["linear", "teacher"]
    assert (Path("exports/small") / "report.html").is_file()
    assert json.loads(Path("exports/small/bundle.json").read_text())["default_variant"] == "int8"
