"""Every task, from its data to a bundle that answers; every kind of student and teacher in one of them."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from little_world import review, write_bert
from task_worlds import ANSWERING, QUESTIONS, write_world
from workplace import Workplace

from distill import load

pytestmark = pytest.mark.usefixtures("measured_here", "plots_stay_undrawn")

SMALL = [
    "data.labelled=null",
    "data.transfer_limit=null",
    "teacher.train.steps=12",
    "teacher.train.batch_size=16",
    "teacher.train.learning_rates=[3e-3]",
    "train.steps=6",
    "train.batch_size=16",
    "train.learning_rates=[2e-3]",
    "seeds=[0]",
    "measure.seconds=0.02",
    "export.max_drop=100",
    "export.min_agreement=0",
    "teacher_floor=false",
    "threads=1",
    "device=cpu",
    "name=small",
]
FLOORS = {
    "regression": "TF-IDF and ridge regression on the labelled texts: the honest floor",
    "sentence-embedding": "TF-IDF alone: the honest floor",
}
ARMS = {"question-answering": "[hard,soft]", "sentence-embedding": "[linear,soft]"}


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = random.Random(0)
    texts = [review(generator)[0] for _ in range(300)] + ["how is the ?", "number film ."] * 3
    return write_bert(tmp_path_factory.mktemp("encoder"), texts)


def _run(folder: Path, task: str, *overrides: str) -> Workplace:
    arms = ARMS.get(task, "[linear,hard,soft]")
    choice = f"task={task.replace('-', '_')}"
    place = Workplace(folder, [choice, *write_world(folder, task), f"arms={arms}", *SMALL, *overrides])
    assert place.run() == 0, place.err
    report = place.report()
    assert report.task == task
    assert all(v.parity is None or v.parity.passed for v in report.variants), [v.parity for v in report.variants]
    for variant in ("fp32", "int8"):
        answers = load(folder / "exports/small", variant)(QUESTIONS[task])
        assert len(answers) == len(QUESTIONS[task])
    return place


@pytest.mark.parametrize("task", ANSWERING)
def test_each_task_runs_from_data_to_a_bundle(task: str, tmp_path: Path, encoder: Path) -> None:
    target = "target.drop=10000"  # of any task the drop is known
    place = _run(tmp_path, task, "teacher=folder", f"teacher.source.path={encoder}", "student.count=1", target)
    again = place.report()
    assert again.target is not None
    assert len(again.target.offers) == 4
    assert all(np.isfinite(offer.drop.value) for offer in again.target.offers)
    assert (again.data.labelled == 0) == (task == "sentence-embedding")
    if again.arms[0].name == "linear":
        logistic = "TF-IDF and logistic regression on the labelled texts: the honest floor"
        assert again.arms[0].differs_in == FLOORS.get(task, logistic)
    if task != "regression":  # two random layers do not learn in two epochs how alike two texts are
        assert next(arm for arm in again.arms if arm.name == "teacher").score.value > 0.05
    assert place.run() == 0
    assert "nothing has changed" in place.err
    assert place.report() == again
    assert place.distill("evaluate", "exports/small", "--data", "test.jsonl") == 0, place.err
    variant = next(v for v in again.variants if v.model == "student" and v.shipped and v.variant == "int8")
    assert variant.score is not None
    assert f"{100 * variant.score.value:.2f}" in place.out
    assert place.distill("predict", "exports/small", "--input", "json", *map(json.dumps, QUESTIONS[task])) == 0, (
        place.err
    )
    assert len(place.out.splitlines()) == len(QUESTIONS[task])


@pytest.mark.parametrize(
    ("task", "student"),
    [
        pytest.param("multi-label-classification", ["student=rnn"], marks=pytest.mark.slow),
        pytest.param(
            "regression",
            [
                "student=transformer",
                "student.architecture.positions=rotary",
                "student.embeddings=teacher",
                "student.architecture.embedding_size=8",
            ],
            marks=pytest.mark.slow,
        ),
        ("token-classification", ["student=gru", "student.embeddings=teacher"]),
        pytest.param(
            "token-classification",
            ["student=transformer", "student.vocabulary.trim=true", "objective=minilmv2"],
            marks=pytest.mark.slow,
        ),
        pytest.param("text-classification", ["student.count=1", "objective=tinybert"], marks=pytest.mark.slow),
        pytest.param("multi-label-classification", ["student.layers=[0,1]", "objective=pkd"], marks=pytest.mark.slow),
        pytest.param("question-answering", ["student.count=1", "objective=hidden"], marks=pytest.mark.slow),
        pytest.param("regression", ["student=static"], marks=pytest.mark.slow),
        pytest.param("multi-label-classification", ["student=narrow"], marks=pytest.mark.slow),
        pytest.param("token-classification", ["student=thin", "objective=minilmv2"], marks=pytest.mark.slow),
        pytest.param(
            "multi-label-classification", ["student=static", "student.start=embeddings"], marks=pytest.mark.slow
        ),
        pytest.param("text-classification", ["student=static", "tokenizer=trained"], marks=pytest.mark.slow),
        pytest.param("sentence-embedding", ["student=static"], marks=pytest.mark.slow),
        pytest.param(
            "question-answering", ["student=lstm", "data.max_length=24", "data.stride=4"], marks=pytest.mark.slow
        ),
        pytest.param("token-classification", ["student=transformer", "tokenizer=trained"], marks=pytest.mark.slow),
        pytest.param("question-answering", ["student=transformer"], marks=pytest.mark.slow),
        pytest.param("sentence-embedding", ["student=lstm"], marks=pytest.mark.slow),
        pytest.param("sentence-embedding", ["student=transformer", "objective=mse"], marks=pytest.mark.slow),
    ],
)
def test_students_of_other_kinds_run_in_other_tasks(
    task: str, student: list[str], tmp_path: Path, encoder: Path
) -> None:
    _run(tmp_path, task, "teacher=folder", f"teacher.source.path={encoder}", *student)


@pytest.mark.parametrize(
    ("task", "teacher"),
    [
        ("text-classification", ["teacher=lstm", "student=rnn", "tokenizer.model=bpe"]),
        pytest.param("regression", ["teacher=transformer", "student=static"], marks=pytest.mark.slow),
        pytest.param(
            "token-classification",
            ["teacher=transformer", "student=lstm", "tokenizer.model=unigram"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_teachers_from_nothing_bring_a_tokenizer_of_their_own(task: str, teacher: list[str], tmp_path: Path) -> None:
    _run(tmp_path, task, *teacher, "tokenizer.vocabulary_size=400")


def test_confidence_is_measured_on_texts_out_of_scope(tmp_path: Path, encoder: Path) -> None:
    (tmp_path / "strange.jsonl").write_text("".join(f'{{"text": "number {i} zzz qqq"}}\n' for i in range(40)))
    place = _run(
        tmp_path,
        "text-classification",
        "teacher=folder",
        f"teacher.source.path={encoder}",
        "student.count=1",
        "data.out_of_scope.path=strange.jsonl",
    )
    for arm in place.report().arms:
        assert 0 <= arm.metrics["out_of_scope_auroc"] <= 1


def test_thresholds_chosen_on_validation_stand_in_the_bundle(tmp_path: Path, encoder: Path) -> None:
    _run(tmp_path, "multi-label-classification", "teacher=folder", f"teacher.source.path={encoder}")
    bundle = load(tmp_path / "exports/small", "fp32")
    assert len(bundle.task.thresholds) == len(bundle.task.labels) == 3
    assert len(set(np.round(bundle.task.thresholds, 6))) > 1


@pytest.mark.parametrize("trim", [pytest.param("false", marks=pytest.mark.slow), "true"])
def test_a_pretrained_student_stands_against_one_that_was_only_fine_tuned(
    trim: str, tmp_path: Path, encoder: Path
) -> None:
    place = _run(
        tmp_path,
        "text-classification",
        "teacher=folder",
        f"teacher.source.path={encoder}",
        "arms=[linear,hard,pretrained]",
        "student.count=1",
        "student.start=checkpoint",
        "student.pretraining.max_length=64",
        f"student.vocabulary.trim={trim}",
        "measure.enabled=false",
    )
    report = place.report()
    assert [(c.arm, c.against) for c in report.contrasts] == [("pretrained", "hard")]
    (note,) = [note for note in report.data.notes if note.startswith("pretraining on")]
    assert "tokens" in note
    assert "student after" in note
    assert any(cost.stage == "pretraining of the student" for cost in report.costs)
