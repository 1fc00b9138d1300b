"""What makes a stage be computed again, and what a recipe may not ask for."""

from pathlib import Path

import pytest

from distill.cli import main
from distill.stages.stage import code_of

SOURCE = 'def double(x):\n    """Twice."""\n    return 2 * x\n'


def test_comments_docstrings_and_layout_do_not_change_the_fingerprint_but_code_does() -> None:
    same = '"""A module."""\n\n\ndef double(x):  # why\n    return 2   * x\n'
    assert code_of(same) == code_of(SOURCE)
    assert code_of(SOURCE.replace("2 *", "3 *")) != code_of(SOURCE)


def test_a_recipe_cannot_run_code_that_comes_with_a_teacher(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "stranger.yaml"
    recipe.write_text("teacher: {source: {path: model}, trust_remote_code: true}\n", encoding="utf-8")
    assert main(["run", str(recipe)]) == 2
    assert "trust_remote_code=true on the command line" in capsys.readouterr().err
