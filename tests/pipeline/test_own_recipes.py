"""Recipes, data and teachers of one's own: every kind of teacher, student and tokenizer to a bundle that answers."""

import csv
import json
import random
from pathlib import Path

import numpy as np
import pytest
from little_world import review, write_bert
from workplace import Workplace, write_rows

from distill import load

pytestmark = pytest.mark.usefixtures("plots_stay_undrawn")

QUICK = [
    "data.labelled=80",
    "data.transfer_limit=40",
    "train.steps=8",
    "train.learning_rates=[2e-3]",
    "seeds=[0]",
    "arms=[linear,hard,soft+transfer]",
    "export.max_drop=50",
    "measure.enabled=false",
    "teacher_floor=false",
    "threads=1",
    "device=cpu",
    "name=small",
]


@pytest.fixture
def reviews(tmp_path: Path, reviews_csv: Path) -> Workplace:
    """Fixture data, and no teacher yet."""
    return Workplace(tmp_path, ["data=files", f"data.train.path={reviews_csv}", *QUICK])


def _pairs_of_reviews(folder: Path, student: str, settings: str) -> tuple[Workplace, list[dict[str, str]]]:
    generator = random.Random(3)
    rows = []
    for i in range(240):
        first, label, _ = review(generator)
        second, other, _ = review(generator)
        same = "1" if label == other else "0"
        rows.append({"first": f"{first} {i}", "second": f"second, with a comma: {second}", "verdict": same})
    (folder / "elsewhere").mkdir()
    write_rows(folder / "pairs.csv", rows)
    write_bert(folder / "encoder", [row["first"] + " " + row["second"] for row in rows])
    (folder / "elsewhere/my pairs.yaml").write_text(
        "# Pairs of reviews: the same opinion or not.\n"
        f"defaults:\n  - override /teacher: folder\n  - override /student: {student}\n"
        "data:\n  train:\n    path: pairs.csv\n  text: first\n  pair: second\n  label: verdict\n"
        "  label_map: {'0': different, '1': same}\n  labelled: 100\n"
        "teacher:\n  source:\n    path: encoder\n  train:\n    steps: 8\n    learning_rates: [2e-3]\n"
        f"student:\n  {settings}\narms: [linear, soft+transfer]\nseeds: [0]\nteacher_floor: false\nthreads: 1\n"
        "train:\n  steps: 8\n  learning_rates: [2e-3]\nmeasure:\n  enabled: false\n"
        "export:\n  max_drop: 50\n"
    )
    return Workplace(folder, []), rows


@pytest.mark.parametrize(
    ("student", "settings"),
    [
        ("layers", "count: 1"),
        ("lstm", "architecture: {hidden_size: 16}"),
        pytest.param("transformer", "architecture: {hidden_size: 16}", marks=pytest.mark.slow),
        ("transformer", "architecture: {hidden_size: 16, pairs: together}"),
        pytest.param("static", "architecture: {hidden_size: 16}", marks=pytest.mark.slow),
    ],
)
def test_recipe_file_of_ones_own_with_a_sentence_pair(student: str, settings: str, tmp_path: Path) -> None:
    place, rows = _pairs_of_reviews(tmp_path, student, settings)
    assert place.distill("run", "elsewhere/my pairs.yaml") == 0, place.err
    bundle = load(tmp_path / "exports/my-pairs", "fp32")
    question = (rows[0]["first"], rows[0]["second"])
    answers = bundle([question, list(question), {"text": question[0], "text_pair": question[1]}])
    assert answers[0] == answers[1] == answers[2]
    assert set(answers[0].as_dict()["probabilities"]) == {"same", "different"}
    assert bundle.manifest.paired
    assert f'distill predict {Path("exports/my-pairs")} --input json \'{{"text": "first text"' in place.out
    assert place.distill("predict", "exports/my-pairs", question[0]) == 2
    assert "TEXT 1: the model answers about pairs of texts, and here is a first without a second" in place.err
    workload = bundle.manifest.workload
    assert all(0 < second < both for both, second in zip(*workload.values(), strict=True))
    one_way, other_way = bundle.logits([bundle.task.question(q) for q in (question, question[::-1])], 1)
    assert not np.allclose(one_way, other_way)
    assert place.distill("evaluate", "exports/my-pairs", "--data", "pairs.csv", "--json") == 0, place.err
    assert json.loads(place.out)["texts"] == 240


@pytest.mark.parametrize("whose", ["encoder", "elsewhere"])
def test_pairs_that_the_tokenizer_does_not_tell_apart_stop_the_run_before_any_training(
    whose: str, tmp_path: Path
) -> None:
    place, _ = _pairs_of_reviews(tmp_path, "lstm", "architecture: {hidden_size: 16}")
    settings = json.loads((tmp_path / "encoder/tokenizer.json").read_text())
    for part in settings["post_processor"]["pair"]:
        next(iter(part.values()))["type_id"] = 0
    (tmp_path / whose / "tokenizer.json").write_text(json.dumps(settings))
    own = ["tokenizer=source", "tokenizer.source.path=elsewhere/tokenizer.json"] if whose == "elsewhere" else []
    assert place.distill("run", "elsewhere/my pairs.yaml", *own) == 2
    assert "student.architecture.pairs=together" in place.err
    assert "teacher" not in {name.rsplit("-", 1)[0] for name in place.artifacts()}


def test_lstm_student_of_a_transformer_from_nothing(reviews: Workplace) -> None:
    sizes = ["layers=1", "hidden_size=32", "heads=2", "intermediate_size=64"]
    assert reviews.run(
        "teacher=transformer", *(f"teacher.architecture.{s}" for s in sizes), "teacher.train.steps=8",
        "tokenizer.vocabulary_size=400", "student=lstm", "student.architecture.embedding_size=16",
        "student.architecture.hidden_size=16",
        *QUICK,
    ) == 0, reviews.err  # fmt: skip
    assert load(reviews.folder / "exports/small")(["a gorgeous film", ""])
    assert reviews.report().teacher_source == "in-repo transformer, trained from nothing"
    settings = json.loads((reviews.folder / "outputs/small/student/config.json").read_text())
    assert settings["num_hidden_layers"] == 1


def write_probabilities(path: Path, table: Path, labels: tuple[str, str] = ("fresh", "rotten")) -> None:
    with table.open() as file, path.open("w") as out:
        for row in csv.DictReader(file):
            p = 0.9 if row["label"] == "fresh" else 0.2
            out.write(json.dumps({"text": row["text"], "probabilities": {labels[0]: p, labels[1]: 1 - p}}) + "\n")


def test_teacher_that_is_a_file_of_probabilities(reviews: Workplace, reviews_csv: Path) -> None:
    write_probabilities(reviews.folder / "teacher.jsonl", reviews_csv)
    own = ["teacher=probabilities", "teacher.source.path=teacher.jsonl", "student=transformer", *QUICK]
    assert reviews.run(*own, "student.architecture.hidden_size=32", "tokenizer.vocabulary_size=400") == 0, reviews.err
    report = reviews.report()
    assert next(arm for arm in report.arms if arm.name == "teacher").score.value == 1
    assert {v.model for v in report.variants} == {"student"}
    assert load(reviews.folder / "exports/small")(["a gorgeous film"])


def test_file_of_probabilities_is_checked_against_the_data(reviews: Workplace, reviews_csv: Path) -> None:
    own = ["teacher=probabilities", "teacher.source.path=teacher.jsonl", "student=transformer", *QUICK]
    path = reviews.folder / "teacher.jsonl"
    write_probabilities(path, reviews_csv, ("good", "bad"))
    assert reviews.run(*own) == 2
    assert "row 1: the teacher's labels ['bad', 'good'] differ from the data's ['fresh', 'rotten']" in reviews.err
    write_probabilities(path, reviews_csv)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:390]))
    assert reviews.run(*own) == 2
    assert "has no row for" in reviews.err
    path.write_text("\n".join([*lines[:3], json.dumps({"text": "a", "probabilities": {"fresh": 0.9, "rotten": 0.9}})]))
    assert reviews.run(*own) == 2
    assert "row 4: the probabilities sum to 1.8" in reviews.err
    sure = {"fresh": 0.9, "rotten": 0.1}
    path.write_text("\n".join([*lines[:3], json.dumps({"text": "a", "probabilities": [sure, sure]})]))
    assert reviews.run(*own) == 2
    assert "row 4: probabilities has 2 distributions; expected 1" in reviews.err
    assert reviews.run(*own, "student=layers") == 2
    assert "choose student=transformer or student=lstm" in reviews.err
    assert not [name for name in reviews.artifacts() if name.startswith(("student-", "soft-labels-"))]


def test_fine_tuned_teacher_is_used_as_it_is_with_labels_matched_by_name(reviews: Workplace, permuted: Path) -> None:
    teacher = ["teacher=folder", f"teacher.source.path={permuted}", "teacher_floor=true", "student.count=1"]
    assert reviews.run(*teacher, *QUICK[:-4], "threads=1", "name=small") == 0, reviews.err
    report = reviews.report()
    score = next(arm for arm in report.arms if arm.name == "teacher")
    assert (score.texts, score.learning_rate) == (0, None)
    assert score.score.value > 0.8
    assert report.labels == ("fresh", "rotten")
    answers = load(reviews.folder / "exports/small", "fp32")(
        ["a gorgeous film , truly witty", "a dull film , truly bland"]
    )
    assert answers[0].as_dict()["probabilities"]["fresh"] > answers[1].as_dict()["probabilities"]["fresh"]


def test_student_with_a_tokenizer_of_its_own_leaves_the_teacher_its_own(reviews: Workplace, permuted: Path) -> None:
    teacher = ["teacher=folder", f"teacher.source.path={permuted}"]
    student = ["student=lstm", "tokenizer=trained", "tokenizer.vocabulary_size=400"]
    assert reviews.run(*teacher, *student, *QUICK) == 0, reviews.err
    own = json.loads((reviews.folder / "exports/small/tokenizer.json").read_text())["model"]["vocab"]
    theirs = json.loads((permuted / "tokenizer.json").read_text())["model"]["vocab"]
    assert own != theirs
    scores = {arm.name: arm.score.value for arm in reviews.report().arms}
    assert scores["teacher"] > 0.8
    assert load(reviews.folder / "exports/small")(["a gorgeous film", ""])
    assert reviews.run(*teacher, "tokenizer=trained", *QUICK) == 2
    assert "student=layers takes the teacher's word embeddings" in reviews.err


def test_layers_that_the_teacher_lacks_are_refused_before_it_is_trained(
    reviews: Workplace, random_teacher: Path
) -> None:
    assert reviews.run("teacher=folder", f"teacher.source.path={random_teacher}", *QUICK, "student.layers=[0,7]") == 2
    assert "the teacher has 2 layers" in reviews.err
    assert not [name for name in reviews.artifacts() if name.startswith(("teacher-", "student-"))]


@pytest.mark.slow
def test_tokenizer_from_a_folder_and_a_transformer_student(
    reviews: Workplace, permuted: Path, random_teacher: Path
) -> None:
    own = [f"tokenizer.source.path={random_teacher}", "tokenizer=source", "student=transformer"]
    assert reviews.run("teacher=folder", f"teacher.source.path={permuted}", *own, *QUICK) == 0, reviews.err
    assert load(reviews.folder / "exports/small")(["a film"])


@pytest.mark.slow
def test_multirun_gives_each_run_a_bundle_of_its_own(miniature: list[str]) -> None:
    from distill.cli import main

    assert main(["run", "quickstart", *miniature, "seeds=[0]", "train.steps=4", "-m", "student=layers,lstm"]) == 0
    bundles = sorted(p for p in Path("exports").iterdir())
    assert len(bundles) == 2
    assert all(load(bundle)(["a film"]) for bundle in bundles)
