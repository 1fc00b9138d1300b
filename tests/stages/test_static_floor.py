"""The arm `static`: what it learns from, and that it is a floor and no student."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import SmallRun, config_of, run, teacher_in
from stopped_training import CPU, problem_of

import distill.config.schema
from distill.config import Config, KlTerm, MseTerm, StaticStudent
from distill.errors import UserError
from distill.models import load_model
from distill.report.findings import losses_to_floors
from distill.stages.checks import check_task
from distill.stages.students import TrainStudent
from distill.training.loop import diverged

KL = {"terms": [{"name": "kl"}]}
INSIDE: list[dict[str, Any]] = [{"name": "hidden"}]


def recipe(reviews: Path, encoder: Path, folder: Path, **changes: Any) -> Config:
    """A student of the teacher's last layer beside the floor."""
    values = {
        "student": {"name": "layers", "layers": [1], "vocabulary": {"trim": True}},
        "arms": ["linear", "static", "hard", "soft", "soft+transfer"],
        "export": {"variants": ["fp32"]},
        "measure": {"enabled": False},
        "objective": KL,
        "teacher": {**teacher_in(encoder), "tries": 1},
    }
    return config_of(reviews, folder, "test A", **{**values, **changes})


@pytest.fixture(scope="module")
def now(reviews: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    folder = tmp_path_factory.mktemp("static")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distill.config.schema, "STATIC_STEPS", 12)
        return run(recipe(reviews, encoder, folder))


def test_it_learns_from_the_teachers_soft_labels_on_all_texts_with_a_budget_of_its_own(now: SmallRun) -> None:
    stages = [stage for stage, _ in now.of(TrainStudent) if isinstance(stage.student, StaticStudent)]
    dataset, read = now.values["read_data"], now.values["prepare_student"]
    assert [(stage.rate, stage.seed) for stage in stages] == [(1e-3, 0), (3e-3, 0), (pytest.approx(3e-3, rel=0.7), 1)]
    for stage in stages:
        assert stage.texts.examples == (*dataset.train, *dataset.transfer)
        assert stage.validation.examples == dataset.validation
        assert stage.signal == now.values["ask_teacher"].answers
        assert stage.reading.identity == read.reading.identity
        assert (stage.budget.steps, stage.budget.batch_size) == (12, now.config.train.batch_size)
        assert stage.start == now.values["train_static"].vectors
        assert stage.vocabulary.identity == read.vocabulary.identity
    others = [stage for stage, _ in now.of(TrainStudent) if stage not in stages]
    assert {stage.budget.steps for stage in others} == {now.config.train.steps}


def test_one_that_diverges_names_no_setting_of_its_rates_for_they_are_fixed(now: SmallRun, tmp_path: Path) -> None:
    told = {}
    for i, (stage, _) in enumerate(now.of(TrainStudent)):
        problem = problem_of(stage, tmp_path / str(i))
        told[stage.who] = diverged(problem, "the loss is nan", 1, CPU).partition("; ")[2]
    assert told == {"": "lower train.learning_rates, or lower train.clip", "static floor": "lower train.clip"}


def test_the_report_has_its_row_behind_linear_and_its_cost_and_does_not_ship_it(now: SmallRun) -> None:
    assert now.outcome is not None
    report, floor, test = now.outcome.report, now.values["train_static"], now.values["read_data"].test
    assert [arm.name for arm in report.arms] == ["linear", "static", "teacher", "hard", "soft", "soft+transfer"]
    row = report.arms[1]
    right, task = [], floor.texts.task
    for model in floor.arm.models:
        network = load_model(model.directory / "model", task).model.eval()
        ids = [torch.tensor([floor.texts.reading.tokenizer.encode(str(e.text)).ids]) for e in test]
        with torch.no_grad():
            best = [int(network(input_ids=row, attention_mask=torch.ones_like(row)).logits.argmax()) for row in ids]
        right.append(np.mean([task.labels[label] == e.label for label, e in zip(best, test, strict=True)]))
    assert [seed.test for seed in row.seeds] == [pytest.approx(share) for share in right]
    assert (row.budget, row.texts) == (12, 120)
    assert (row.gap_recovered is None) == (report.arms[3].gap_recovered is None)
    assert row.agreement is not None
    assert "static" not in {one.arm for one in report.contrasts} | {one.against for one in report.contrasts}
    assert [cost.stage for cost in report.costs if "static" in cost.stage] == ["static floor: 3 trainings"]
    assert any(cost.stage == "token vectors of the student" for cost in report.costs)
    assert report.exported_arm in ("hard", "soft", "soft+transfer")


def test_a_student_that_loses_to_it_is_warned_of(now: SmallRun) -> None:
    assert now.outcome is not None
    report = now.outcome.report
    scores = {"linear": 0.0, "static": 1.0}
    arms = tuple(
        dataclasses.replace(arm, score=dataclasses.replace(arm.score, value=scores.get(arm.name, arm.score.value)))
        for arm in report.arms
    )
    said = losses_to_floors(dataclasses.replace(report, arms=arms))
    assert [line.partition(":")[0] for line in said] == ["what is shipped loses to static, which scores 100.0 %"]


def test_without_texts_without_labels_it_learns_on_those_of_soft(reviews: Path, encoder: Path, tmp_path: Path) -> None:
    static = recipe(reviews, encoder, tmp_path, arms=["linear", "static", "hard"]).static
    assert static is not None
    assert static.arms == ("linear", "soft")
    assert recipe(reviews, encoder, tmp_path, arms=["linear", "hard"]).static is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"arms": ["linear", "static"]}, "arms has no student"),
        (
            {"objective": {"terms": INSIDE}},
            r"of objective\.terms \('hidden'\) none with a weight above 0 in any step compares them",
        ),
        (
            {"arms": ["linear", "static", "hard"], "objective": {"terms": [{"name": "hard"}], "replacing": [[0, 0.3]]}},
            r"\('hard'\) none with .* \{name: kl\}",
        ),
        (
            {
                "arms": ["linear", "static", "hard"],
                "objective": {"terms": [{"name": "hard"}, {"name": "kl", "weight": 0}]},
            },
            r"\('hard', 'kl'\) none with",
        ),
        ({"task": {"name": "token-classification"}}, "static averages a text into one vector"),
    ],
)
def test_what_it_cannot_learn_is_refused(
    reviews: Path, encoder: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        check_task(recipe(reviews, encoder, tmp_path, **changes))


def test_beside_terms_that_look_inside_it_has_the_others(reviews: Path, encoder: Path, tmp_path: Path) -> None:
    objective = {"terms": [*INSIDE, {"name": "mse"}], "replacing": [[0, 0.5]]}
    config = recipe(reviews, encoder, tmp_path, objective=objective)
    assert config.static is not None
    assert [term.name for term in config.static.objective.terms] == ["mse"]
    assert not config.static.objective.along


def test_a_schedule_that_was_balanced_with_terms_that_it_lacks_does_not_hold_for_it(
    reviews: Path, encoder: Path, tmp_path: Path
) -> None:
    """Else the first half of its steps, with ``objective=tinybert``, would train on nothing."""
    first, second = [[0.5, 1], [0.5, 0]], [[0.5, 0], [0.5, 1]]
    inside = {"name": "hidden", "schedule": first}
    answers = [{"name": "kl", "schedule": second}, {"name": "mse", "growth": first, "schedule": second}]

    def static(*terms: dict[str, Any]) -> Any:
        found = recipe(reviews, encoder, tmp_path, objective={"terms": list(terms)}).static
        assert found is not None
        return found.objective.terms

    assert static(inside, *answers) == (KlTerm("kl"), MseTerm("mse"))
    whole = static({"name": "hard", "schedule": first}, *answers)  # it lacks none of these
    assert [term.schedule for term in whole] == [((0.5, 1), (0.5, 0)), *[((0.5, 0), (0.5, 1))] * 2]
    assert whole[-1].growth == ((0.5, 1), (0.5, 0))
