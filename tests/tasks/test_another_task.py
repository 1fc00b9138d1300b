"""Another task is one file: a stranger's runs from its data to a bundle, a model card and a report."""

import ast
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from little_world import BAD, GOOD, THINGS
from ordinal_rating import OrdinalRating, Rating

import distill
from distill import load, tasks
from distill.cli import main
from distill.results import Report, from_json

PACKAGE = Path(distill.__file__).parent
RECIPE = """\
# Ordinal classification of reviews, one to five stars.
defaults:
  - override /teacher: folder
task: {name: ordinal-rating}
arms: [linear, hard, soft]
"""


@pytest.fixture
def known() -> Iterator[None]:
    tasks.register(OrdinalRating)
    yield
    del tasks.TASKS[OrdinalRating.name]


def write_ratings(path: Path, count: int, seed: int) -> None:
    """One star more for each good word, one less for each bad one."""
    generator = random.Random(seed)
    with path.open("w") as file:
        for number in range(count):
            stars = generator.randrange(-2, 3)
            words = generator.choices(GOOD if stars > 0 else BAD, k=abs(stars))
            text = f"{' '.join(words)} {generator.choice(THINGS)} number {number}"
            file.write(json.dumps({"text": text, "stars": stars + 3}) + "\n")


def answer_of_the_card(card: str, folder: Path) -> str:
    """What the card's example without this package prints."""
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", card, re.DOTALL) if "onnxruntime" in block)
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_task_of_one_file_runs_from_data_to_a_bundle(
    miniature: list[str], known: None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("rating.yaml").write_text(RECIPE)
    write_ratings(Path("ratings.jsonl"), 500, 1)
    write_ratings(Path("more.jsonl"), 60, 2)
    own = [
        "data.train.path=ratings.jsonl",
        "data.label=stars",
        "data.group=null",
        "data.labelled=200",
        "seeds=[0]",
        "train.learning_rates=[2e-3]",
    ]
    quick = [
        "teacher.train.steps=200",
        "train.steps=80",
        "teacher.train.batch_size=8",
        "train.batch_size=8",
        "export.max_drop=100",
        "name=small",
        "measure.enabled=false",
    ]
    assert main(["run", "rating.yaml", *miniature, *own, *quick]) == 0

    report = from_json(Report, Path("outputs/small/report.json").read_text())
    assert (report.task, report.metric, report.labels) == ("ordinal-rating", "accuracy", ("1", "2", "3", "4", "5"))
    by_name = {arm.name: arm for arm in report.arms}
    assert set(by_name) == {"linear", "teacher", "hard", "soft"}
    assert by_name["teacher"].score.value > 0.5  # chance is 0.2
    assert all(arm.metrics["within_one_step"] >= arm.score.value for arm in report.arms)
    assert report.variants[0].parity is not None
    assert report.variants[0].parity.passed

    bundle = load("exports/small", "fp32")
    best, worst = bundle(["brilliant tender film", "dull clumsy film"])
    assert isinstance(best, Rating)
    assert isinstance(worst, Rating)
    assert int(best.label) > int(worst.label)
    assert list(best.above) == ["1", "2", "3", "4"]
    assert json.loads(Path("exports/small/config.json").read_text())["id2label"]["3"] == "above 4"

    card, page = (Path("exports/small", name).read_text() for name in ("README.md", "report.html"))
    for text in (card, page):
        assert "same rating as the teacher" in text
        assert "ordinal-rating" in text
    assert "pipeline_tag: text-classification" in card
    assert "a logistic regression a step" in card
    assert answer_of_the_card(card, Path("exports/small")) == load("exports/small")(["text"])[0].label

    capsys.readouterr()
    columns = ["--data", "more.jsonl", "--label-column", "stars"]
    assert main(["evaluate", "exports/small", *columns, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["scores"]) == {"accuracy", "within_one_step"}
    Path("bad.jsonl").write_text('{"text": "x", "stars": 9}\n')
    assert main(["evaluate", "exports/small", "--data", "bad.jsonl", "--label-column", "stars"]) == 2
    assert "label '9' (1 rows of the data) is not in the model's labels" in capsys.readouterr().err


def test_a_task_that_nobody_registered_is_refused_with_the_nearest_name(
    miniature: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("rating.yaml").write_text(RECIPE)
    assert main(["run", "rating.yaml", *miniature]) == 2
    assert "task.name is 'ordinal-rating'" in capsys.readouterr().err
    assert not Path("outputs").exists()


def test_a_file_in_the_folder_of_tasks_is_found_by_itself(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "distill", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(__file__).with_name("ordinal_rating.py"), tmp_path / "distill/tasks")
    done = subprocess.run(
        [sys.executable, "-c", "import distill.tasks as t; print(t.__file__, *t.TASKS)"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    where, *names = done.stdout.split()
    assert Path(where).is_relative_to(tmp_path)
    assert set(names) == {*tasks.TASKS, "ordinal-rating"}


def test_a_name_is_given_once_and_an_unfinished_task_is_none(known: None) -> None:
    assert tasks.register(OrdinalRating) is OrdinalRating

    class Other(OrdinalRating):
        pass

    class Unfinished(tasks.Task):
        name = "unfinished"

    with pytest.raises(ValueError, match="OrdinalRating is called 'ordinal-rating', too"):
        tasks.register(Other)
    with pytest.raises(TypeError, match=r"Unfinished is no task: _metrics, answers, .* missing"):
        tasks.register(Unfinished)
    assert tasks.find("ordinal-rating") is OrdinalRating
    assert "unfinished" not in tasks.TASKS


OWN_WORDS = {
    ("config/data.py", "text-classification"),  # the default
    ("models/teachers.py", "regression"),  # what transformers calls a problem
}


def test_no_other_room_tells_tasks_apart_by_name() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE).as_posix()
        if not place.startswith("tasks/"):
            constants = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
            found |= {(place, name) for name in tasks.TASKS if name in constants}
    assert found == OWN_WORDS
    for path in PACKAGE.rglob("*.j2"):
        assert not [name for name in tasks.TASKS if name in path.read_text()], path
