"""Runs whose chosen model is compressed before it is exported."""

import random
from pathlib import Path

import pytest
from little_world import review
from task_worlds import ANSWERING, QUESTIONS, write_world
from workplace import Workplace

from distill import load

pytestmark = pytest.mark.usefixtures("measured_here", "plots_stay_undrawn")

SMALL = [
    "student.count=-1",
    "seeds=[0]",
    "train.learning_rates=[2e-3]",
    "compression.train.steps=6",
    "compression.train.evaluations=2",
    "compression.train.learning_rates=[1e-3,2e-3]",
    "arms=[linear,soft]",
    "measure.enabled=false",
    "device=cpu",
    "name=small",
]


@pytest.fixture
def place(tmp_path: Path, overlay: list[str]) -> Workplace:
    return Workplace(tmp_path, [*overlay, *SMALL])


@pytest.mark.parametrize(
    ("choice", "share"),
    [
        ("all", 0.5),
        pytest.param("prune", 0.5, marks=pytest.mark.slow),
        pytest.param("low_rank", 0.9, marks=pytest.mark.slow),
        pytest.param("quantization_aware", 1.0, marks=pytest.mark.slow),
    ],
)
def test_a_compressed_model_is_what_answers(place: Workplace, choice: str, share: float) -> None:
    assert place.run(f"compression={choice}") == 0, place.err
    report = place.report()
    names = ["prune", "low_rank", "quantization_aware"] if choice == "all" else [choice]
    assert [step.name for step in report.compression] == names
    before, after = report.compression[0].parameters_before, report.compression[-1].parameters_after
    assert after <= share * before
    assert load(place.folder / "exports/small")(["a witty film"])[0].label in ("fresh", "rotten")
    assert {v.variant for v in report.variants if v.model == "student" and v.shipped} == {"fp32", "int8"}
    assert all(v.parity.passed for v in report.variants if v.parity is not None)
    assert place.run(f"compression={choice}") == 0
    assert "nothing has changed" in place.err


@pytest.mark.parametrize("choice", ["prune", pytest.param("none", marks=pytest.mark.slow)])
def test_a_fine_tuned_classifier_is_compressed_without_a_student_of_its_own(
    choice: str, permuted: Path, tmp_path: Path
) -> None:
    place = Workplace(tmp_path, [])
    (tmp_path / "texts.txt").write_text("".join(f"{text}\n" for text in texts_of_reviews(200)))
    command = ["compress", str(permuted), "--texts", "texts.txt", "student=whole", "export.max_drop=60", "name=small"]
    recovery = [f"compression.train.{one}" for one in ("steps=30", "evaluations=2", "learning_rates=[2e-3]")]
    others = ["threads=1", "device=cpu", "measure.enabled=false", "export.variants=[fp32]"]
    assert place.distill(*command, f"compression={choice}", *recovery, *others) == 0, place.err
    report = place.report()
    arms = {arm.name: arm for arm in report.arms}
    student, teacher = arms["soft"], arms["teacher"]
    assert student.parameters is not None
    assert teacher.parameters is not None
    assert student.parameters < teacher.parameters  # of its vocabulary what the texts use
    assert (student.score.value, student.budget, student.agreement) == (1.0, 0, 1.0)
    for step in report.compression:
        assert step.before == 1.0
        assert step.parameters_after <= step.parameters_before / 2
    assert [step.name for step in report.compression] == ([] if choice == "none" else [choice])
    assert load(place.folder / "exports/small")(["a film"])[0].label in ("rotten", "fresh")


def texts_of_reviews(count: int) -> list[str]:
    generator = random.Random(2)
    return [review(generator)[0] for _ in range(count)]


RECOVERY = [
    "compression.train.steps=3",
    "compression.train.evaluations=1",
    "compression.train.learning_rates=[1e-3]",
    "compression.train.batch_size=16",
]
TASK_BY_TASK = [
    "data.labelled=null",
    "data.transfer_limit=null",
    "teacher.train.steps=6",
    "teacher.train.learning_rates=[3e-3]",
    "teacher.tries=1",
    "train.steps=3",
    "train.batch_size=16",
    "train.learning_rates=[2e-3]",
    "seeds=[0]",
    "measure.enabled=false",
    "export.max_drop=100",
    "export.min_agreement=0",
    "teacher_floor=false",
    "threads=1",
    "device=cpu",
    "name=small",
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "models"),
    [
        *((task, ["student.count=-1", "compression=all"]) for task in ANSWERING if task != "sentence-embedding"),
        ("sentence-embedding", ["student.count=-1", "compression=low_rank"]),
        ("text-classification", ["student=transformer", "compression=all"]),
        (
            "text-classification",
            ["student=transformer", "student.architecture.positions=rotary", "compression=low_rank"],
        ),
        (
            "language-modelling",
            ["student=decoder", "teacher=transformer", "tokenizer=trained", "tokenizer.model=bpe", "compression=prune"],
        ),
    ],
)
def test_each_task_is_answered_by_a_compressed_model(
    task: str, models: list[str], tmp_path: Path, random_teacher: Path
) -> None:
    teacher = [] if "teacher=transformer" in models else ["teacher=folder", f"teacher.source.path={random_teacher}"]
    arms = {"question-answering": "[soft]", "language-modelling": "[soft]"}.get(task, "[linear,soft]")
    choices = [f"task={task.replace('-', '_')}", f"arms={arms}", *teacher, *models]
    place = Workplace(tmp_path, [*choices, *write_world(tmp_path, task), *TASK_BY_TASK, *RECOVERY])
    assert place.run() == 0, place.err
    report = place.report()
    assert report.compression[-1].parameters_after < report.compression[0].parameters_before
    assert all(v.parity.passed for v in report.variants if v.parity is not None)
    for variant in ("fp32", "int8"):
        assert len(load(tmp_path / "exports/small", variant)(QUESTIONS[task])) == len(QUESTIONS[task])
