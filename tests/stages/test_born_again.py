"""Born-again networks: students like their teacher, which start as it did and teach in turn."""

from pathlib import Path

import pytest
import torch
from small_runs import SmallRun, config_of, run, teacher_in
from stopped_training import problem_of

from distill.models import load_model
from distill.stages.students import TrainStudent
from distill.stages.teacher import TrainTeacher

SAME = {"name": "layers", "count": -1, "start": "checkpoint"}


@pytest.fixture(scope="module")
def now(reviews: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """Two generations."""
    config = config_of(
        reviews,
        tmp_path_factory.mktemp("born-again"),
        "test A",
        teacher={**teacher_in(encoder), "tries": 1},
        student=SAME,
        assistant=SAME,
        arms=["linear", "hard", "soft", "soft+assistant"],
        export={"variants": ["fp32"]},
        measure={"enabled": False},
    )
    return run(config)


@pytest.mark.parametrize("arm", ["hard", "soft", "soft+assistant"])
def test_a_student_starts_with_the_very_weights_that_the_teacher_started_with(
    arm: str, now: SmallRun, tmp_path: Path
) -> None:
    of_teacher, _ = now.of(TrainTeacher)[0]
    of_student = next(stage for stage, _ in now.of(TrainStudent) if stage.arm == arm and stage.seed == of_teacher.seed)
    before = problem_of(of_teacher, tmp_path / "teacher").model.state_dict()
    weights = problem_of(of_student, tmp_path / "student").model.state_dict()
    after = load_model(now.values["prepare_teacher"].model.directory / "model", of_teacher.task).model.state_dict()
    assert weights.keys() == before.keys()
    assert all(torch.equal(weights[name], before[name]) for name in before)
    query = "bert.encoder.layer.1.attention.self.query.weight"
    assert not torch.equal(weights[query], after[query])


def test_generations_have_another_head_with_another_seed(now: SmallRun, tmp_path: Path) -> None:
    one, other = (
        problem_of(next(stage for stage, _ in now.of(TrainStudent) if stage.seed == seed), tmp_path / str(seed)).model
        for seed in (0, 1)
    )
    assert not torch.equal(one.state_dict()["classifier.weight"], other.state_dict()["classifier.weight"])


def test_the_first_generation_is_the_student_of_soft_and_is_trained_and_paid_for_once(now: SmallRun) -> None:
    (first,) = now.values["train_assistants"]["soft+assistant"]
    soft = next(arm for arm in now.values["train_arms"] if arm.name == "soft")
    assert first.arm.models[0].identity == soft.models[0].identity
    assert now.outcome is not None
    costs = [cost.stage for cost in now.outcome.report.costs]
    assert "student soft: 3 trainings" in costs  # two rates, two seeds
    assert [cost for cost in costs if "assistant soft" in cost] == ["soft labels of the assistant soft"]
    second = next(stage for stage, _ in now.of(TrainStudent) if stage.arm == "soft+assistant")
    assert second.signal == first.answers
