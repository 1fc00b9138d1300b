"""A run whose students learn from soft labels out of fold, from the data to a bundle that answers."""

import random
from pathlib import Path

import pytest
from little_world import review, write_bert
from task_worlds import write_world
from workplace import Workplace

from distill import load

pytestmark = pytest.mark.usefixtures("measured_here", "plots_stay_undrawn")

SMALL = [
    "teacher=folder",
    "teacher.folds=2",
    "teacher.tries=1",
    "teacher.train.steps=12",
    "teacher.train.batch_size=16",
    "teacher.train.learning_rates=[3e-3]",
    "data.labelled=60",
    "data.transfer_limit=30",
    "student=layers",
    "student.count=1",
    "train.steps=6",
    "train.batch_size=16",
    "train.learning_rates=[2e-3]",
    "arms=[linear,hard,soft,soft+transfer]",
    "seeds=[0]",
    "measure.seconds=0.02",
    "export.max_drop=100",
    "teacher_floor=false",
    "threads=1",
    "device=cpu",
    "name=small",
]


def teachers(place: Workplace) -> set[str]:
    return {name for name in place.artifacts() if name.startswith("teacher-")}


@pytest.mark.slow
def test_a_run_says_that_labels_are_out_of_fold_and_shares_its_teacher_with_one_without(tmp_path: Path) -> None:
    generator = random.Random(0)
    encoder = write_bert(tmp_path / "encoder", [review(generator)[0] for _ in range(300)])
    data = write_world(tmp_path, "text-classification")
    place = Workplace(tmp_path, [*data, f"teacher.source.path={encoder}", *SMALL])
    assert place.run() == 0, place.err
    report = place.report()
    scores, teacher = report.cross_fitting, next(arm for arm in report.arms if arm.name == "teacher")
    assert scores is not None
    assert scores.folds == 2
    assert scores.teacher_validation == teacher.seeds[0].validation
    assert teacher.texts == 60  # the one that was trained on all texts
    assert "Soft labels\n • Out of fold (cross-fitting, 2 folds)" in place.out
    for file in ("report.html", "README.md"):
        assert "Out of fold (cross-fitting, 2 folds)" in (tmp_path / "exports/small" / file).read_text()
    assert [cost.stage for cost in report.costs if "fold" in cost.stage] == [
        "teacher without fold 1 of 2, seed 0, learning rate 0.003",
        "teacher without fold 2 of 2, seed 0, learning rate 0.003",
        "soft labels of each fold",
    ]
    assert load(tmp_path / "exports/small")(["a gorgeous film"])[0].label in report.labels

    before = place.artifacts()
    assert place.run() == 0, place.err
    assert place.artifacts() == before
    assert "nothing has changed since the last run" in place.err

    assert len(teachers(place)) == 3
    assert place.run("teacher.folds=1", "name=plain", "arms=[linear,soft]") == 0, place.err
    assert len(teachers(place)) == 3
    plain = place.report("plain")
    assert plain.cross_fitting is None
    assert plain.arms[1].score == teacher.score
