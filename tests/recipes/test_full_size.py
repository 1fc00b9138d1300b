"""Every line of ``benchmarks/full_size.sh`` is a run that composes, and that its task can give."""

import shlex
from pathlib import Path

import pytest

from distill.cli import main
from distill.config import Config
from distill.config.compose import run_with_hydra
from distill.stages.checks import check_choices, check_task

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "full_size.sh"
RUNS = [shlex.split(line) for line in SCRIPT.read_text(encoding="utf-8").splitlines() if line.startswith("distill ")]


def test_the_script_runs_translation_and_language_modelling() -> None:
    assert {words[2] for words in RUNS} == {"multi30k", "wikitext2"}
    names = [word for words in RUNS for word in words if word.startswith("name=")]
    assert len(set(names)) == len(RUNS)


@pytest.mark.parametrize("words", RUNS, ids=lambda words: words[3])
def test_every_line_composes(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    _, command, recipe, *overrides = words
    assert main([command, recipe, *overrides, "--cfg", "job"]) == 0
    assert words[3].replace("=", ": ") in capsys.readouterr().out
    composed: list[Config] = []
    run_with_hydra(recipe, overrides, [], composed.append)
    check_task(composed[0])
    check_choices(composed[0])
    assert (composed[0].device, composed[0].precision, len(composed[0].seeds)) == ("cuda", "bf16", 5)
