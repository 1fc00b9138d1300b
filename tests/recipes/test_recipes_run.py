"""Every recipe runs, under one overlay that makes it small."""

import json
from functools import cache
from pathlib import Path

import pytest
from task_worlds import QUESTIONS, WORLDS, WRITING, write_world
from tiny_teachers import teacher_in, texts_in

from distill import load
from distill.cli import main
from distill.config import Config, TransformerTeacher
from distill.config.compose import recipe_names, run_with_hydra
from distill.results import Report, from_json

pytestmark = pytest.mark.usefixtures("measured_here", "plots_stay_undrawn")

SOME = ("quickstart",)
"""Run by default, since `tests/pipeline` runs each task; the others run in CI."""
OWN_WORLD = ("data.labelled=null", "data.transfer_limit=null")


@cache
def _composed(recipe: str) -> Config:
    needed = ["teacher.source.path=m", "data.train.path=x.csv"] if recipe == "compress" else []
    found: list[Config] = []
    run_with_hydra(recipe, needed, [], found.append)
    return found[0]


def _small(recipe: str, config: Config, miniature: list[str]) -> list[str]:
    """The overlay, with data and teacher as the recipe needs them."""
    task = config.task.name
    given = [o for o in miniature if not (recipe == "from_nothing" and o.startswith(("teacher=", "teacher.source")))]
    if recipe == "from_nothing":
        given += ["tokenizer.vocabulary_size=400"]
    if getattr(getattr(config.teacher, "source", None), "hub", None):
        given += ["teacher.source.hub=null"]
    if task == "text-classification":
        given += ["data.text=text", "data.label=label"] if config.data.train and config.data.train.hub else []
        if config.data.out_of_scope is not None:
            Path("strange.jsonl").write_text("".join(json.dumps({"text": f"zzz {i}"}) + "\n" for i in range(30)))
            given += ["data.out_of_scope.path=strange.jsonl"]
    else:
        folder = Path("world")
        folder.mkdir()
        world = write_world(folder, task, single=_on_one_text(config))[1:]  # without data=files
        given = [o for o in given if not o.startswith(("data.train", "data.group", "data.labelled", "data.transfer"))]
        given += [*world, *OWN_WORLD, "task.labels=[]"]
        if task in WRITING:
            given = [o for o in given if not o.startswith(("teacher=", "teacher.source"))]
            given += _writer(config, folder)
        if any(arm.endswith("+transfer") for arm in config.arms):
            given += ["data.labelled=100"]
    if config.data.train is not None and config.data.train.hub:
        given += ["data.train.hub=null"]
    if "pretrained" in config.arms:
        given += ["student.pretraining.texts=[]", "student.count=1", "student.pretraining.epochs=1"]
        given += ["student.pretraining.max_length=64"]  # as far as the random teacher reads
    if recipe == "assistant":
        given += ["assistant.count=2"]
    if recipe == "rotten_tomatoes":
        given += ["student.count=2"]  # the random teacher has no third layer
    if config.ensemble.teachers:
        path = next(o.partition("=")[2] for o in given if o.startswith("teacher.source.path="))
        train = "{steps: 8, evaluations: 2, learning_rates: [2e-3]}"
        given += [f"ensemble.teachers=[{{name: pretrained, tries: 1, source: {{path: '{path}'}}, train: {train}}}]"]
    if config.data.stride is not None:
        given += ["data.max_length=32", "data.stride=6"]
    return given


def _writer(config: Config, folder: Path) -> list[str]:
    """A small teacher and a small student that write."""
    sizes = "{layers: 1, hidden_size: 32, heads: 2, intermediate_size: 64}"
    small = ["data.max_length=24", f"student.architecture={sizes}"]
    if isinstance(config.teacher, TransformerTeacher):
        return [*small, f"teacher.architecture={sizes}", "tokenizer.vocabulary_size=300"]
    source = teacher_in(folder, "llama", texts_in(folder)).absolute()
    return [*small, "teacher=folder", f"teacher.source.path={source}", "teacher.fine_tune=always"]


def _on_one_text(config: Config) -> bool:
    return config.task.name == "regression" and config.data.pair is None


@pytest.mark.parametrize(
    "recipe", [pytest.param(name, marks=() if name in SOME else pytest.mark.slow) for name in recipe_names()]
)
def test_recipe_runs_in_miniature_and_leaves_a_bundle_that_answers(recipe: str, miniature: list[str]) -> None:
    config = _composed(recipe)
    overrides = _small(recipe, config, miniature)
    overrides += [
        "seeds=[0]",
        "train.learning_rates=[2e-3]",
        "export.max_drop=100",
        "export.min_agreement=0",
        "name=small",
    ]
    assert main(["run", recipe, *overrides]) == 0
    questions = ["a gorgeous film", ""] if _on_one_text(config) else QUESTIONS[config.task.name]
    answers = load("exports/small")(questions)
    assert len(answers) == len(questions)
    assert all(json.dumps(answer.as_dict()) for answer in answers)
    report = from_json(Report, Path("outputs/small/report.json").read_text())
    assert report.task == config.task.name
    students = [arm.name for arm in report.arms if not arm.name.startswith(("teacher", "assistant"))]
    assert students == list(config.arms)
    assert (len(report.arms) > len(students) + 1) == bool(config.assistant)
    assert (Path("exports/small") / "report.html").is_file()
    assert json.loads(Path("exports/small/bundle.json").read_text())["default_variant"] == "int8"


def test_every_task_has_a_recipe() -> None:
    assert {_composed(recipe).task.name for recipe in recipe_names()} == set(WORLDS)
