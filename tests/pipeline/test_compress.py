"""`distill compress`: a model, texts, and labels or none."""

import re
from pathlib import Path
from typing import Any

import pytest
from little_world import write_bert
from workplace import Workplace, write_classifier

from distill import load
from distill.cli import main

QUICK = [
    "train.steps=14",
    "train.evaluations=2",
    "train.learning_rates=[2e-3]",
    "measure.enabled=false",
    "threads=1",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, reviews_csv: Path, permuted: Path) -> Workplace:
    """A folder with a fine-tuned classifier, 200 labelled reviews and 260 texts, 60 of them among the labelled ones."""
    folder = tmp_path_factory.mktemp("compress")
    write_classifier(folder, reviews_csv, permuted, 140)
    return Workplace(folder, [])


def test_compress_with_labels(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["compress", "classifier", "--texts", "texts.txt", "--labelled", "labelled.csv"]
    columns = ["--text-column", "sentence", "--label-column", "opinion"]
    assert place.distill(*command, *columns, *QUICK, "export.max_drop=60") == 0, place.err
    report = place.report("compress-classifier")
    assert report.metric == "accuracy"
    assert report.data.labelled + report.data.validation + report.data.test == 200
    assert sum(count for reason, count in report.data.dropped.items() if reason.startswith("transfer: ")) == 60
    bundle = load(place.folder / "exports/compress-classifier", "fp32")
    assert bundle.task.labels == ("fresh", "rotten")
    missed = [*command, *columns, *QUICK, "export.max_drop=60", "--max-drop", "0"]
    monkeypatch.setattr("distill.stages.delivery.within", lambda lost, allowed: False)
    assert place.distill(*missed) == 1
    assert "max_teacher_drop is not kept: int8 loses" in place.err
    assert load(place.folder / "exports/compress-classifier")(["a film"])


def test_compress_without_labels_claims_agreement_and_no_accuracy(place: Workplace) -> None:
    command = ["compress", "classifier", "--texts", "texts.txt", "--text-column", "text", "--max-drop", "100"]
    assert place.distill(*command, "name=unlabelled", "export.max_drop=60", *QUICK) == 0, place.err
    report = place.report("unlabelled")
    assert report.metric == "agreement"
    assert report.data.labelled == 0
    arms = {arm.name: arm for arm in report.arms}
    assert list(arms) == ["linear", "teacher", "soft"]
    assert arms["teacher"].score.value == 1
    assert arms["linear"].differs_in == "TF-IDF and logistic regression on the teacher's answers: the honest floor"
    assert "accuracy" not in place.out.lower()
    own = ["--data", "labelled.csv", "--text-column", "sentence", "--label-column", "opinion"]
    assert place.distill("evaluate", "exports/unlabelled", *own) == 0, place.err
    assert "accuracy" in place.out
    assert "agreement" not in place.out
    for document in ("README.md", "report.html"):
        text = (place.folder / "exports/unlabelled" / document).read_text().lower()
        assert not re.search(r"accuracy:? \d", text)
        assert re.search(r"agreement\b.*\bteacher", text, re.DOTALL)
    assert all(arm.metrics == {} and arm.calibration_error is None for arm in report.arms)
    assert load(place.folder / "exports/unlabelled")(["a film"])[0].label in ("rotten", "fresh")


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("my model (v1)", "compress-my-model-v1"),
        ('it\'s \\ a "model"', "compress-it-s-a-model"),
        ("a\\", "compress-a"),
        ("${HOME} {x}, [1]", "compress--HOME-x-,-1"),
        ("\\${oc.env:HOME}", "compress--oc.env-HOME"),
        ("líné\nnext: #1", "compress-líné-next-1"),
        ("…", "compress"),
        ("k=v", "compress-k=v"),
        (" x" * 60, "compress-" + "-x" * 25),
    ],
)
def test_paths_may_hold_anything_and_the_name_is_made_of_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, name: str
) -> None:
    (tmp_path / folder).mkdir()
    for file in ("texts.txt", "labelled.csv"):
        (tmp_path / folder / file).write_text("text,label\n")
    monkeypatch.chdir(tmp_path)
    found: list[Any] = []
    monkeypatch.setattr("distill.commands.run_and_show", lambda config, as_json: found.append(config) or 0)
    files = [f"--texts={folder}/texts.txt", f"--labelled={folder}/labelled.csv"]
    assert main(["compress", *files, "--label-column", folder, "--", folder]) == 0
    (config,) = found
    assert config.name == name
    assert config.teacher.source.path == folder
    assert (config.data.transfer[0].path, config.data.train.path) == (f"{folder}/texts.txt", f"{folder}/labelled.csv")
    assert config.data.label == folder


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere", "--texts", "texts.txt"], "no folder nowhere"),
        (["classifier", "--texts", "text.txt"], "no file text.txt"),
        (["texts.txt", "--texts", "texts.txt"], "no folder texts.txt"),
        (["classifier", "--texts", "texts.txt", "--labelled", "labels.csv"], "no file labels.csv"),
        (["classifier", "--texts", "texts.txt", "--labelled", "labelled.csv"], "no column 'text'"),
        (["classifier", "--texts", "texts.txt", "--label-column", "x"], "give the table that has them as --labelled"),
        (["classifier", "--texts", "texts.txt", "seed=3"], "unknown key 'seed'"),
        (["exports", "--texts", "texts.txt"], "has no config.json"),
    ],
)
def test_compress_answers_bad_input(place: Workplace, arguments: list[str], complaint: str) -> None:
    (place.folder / "exports").mkdir(exist_ok=True)
    assert place.distill("compress", *arguments) == 2
    assert complaint in place.err
    assert place.err.splitlines()[-1].startswith("error: ")


def texts_of(place: Workplace) -> list[str]:
    """What the tokenizers of further teachers are made of."""
    return (place.folder / "texts.txt").read_text().splitlines()


def test_a_teacher_whose_tokenizer_does_not_know_the_texts_is_refused(place: Workplace) -> None:
    write_bert(place.folder / "foreign", ["ἐν ἀρχῇ ἦν ὁ λόγος"], ("rotten", "fresh"))
    assert place.distill("compress", "foreign", "--texts", "texts.txt") == 2
    assert "the tokenizer of folder foreign does not know" in place.err


def test_teacher_with_one_answer_to_everything_teaches_nothing(place: Workplace) -> None:
    write_bert(place.folder / "random", texts_of(place), ("rotten", "fresh"))
    assert place.distill("compress", "random", "--texts", "texts.txt") == 2
    assert "the teacher gives one answer" in place.err


def test_encoder_without_a_head_cannot_be_compressed(place: Workplace) -> None:
    write_bert(place.folder / "encoder", texts_of(place))
    assert place.distill("compress", "encoder", "--texts", "texts.txt") == 2
    assert "no head for text-classification" in place.err


def test_labels_called_label_0_need_a_map(place: Workplace) -> None:
    write_bert(place.folder / "unnamed", texts_of(place), ("LABEL_0", "LABEL_1"))
    command = ["compress", "unnamed", "--texts", "texts.txt", "--labelled", "labelled.csv", "--text-column", "sentence"]
    assert place.distill(*command, "--label-column", "opinion") == 2
    assert "calls its labels LABEL_0, LABEL_1" in place.err
    assert "teacher.label_map" in place.err


def test_compress_without_labels_may_keep_the_teacher_beside_the_student(place: Workplace) -> None:
    command = ["compress", "classifier", "--texts", "texts.txt", "--text-column", "text", "name=both", *QUICK]
    untrained = ["student=lstm", "train.steps=2", "export.max_drop=60", "cascade.max_drop=25"]
    assert place.distill(*command, *untrained) == 0, place.err
    report = place.report("both")
    assert report.cascade is not None
    assert report.switch_over is not None
    teacher = next(v for v in report.variants if (v.model, v.variant) == ("teacher", report.cascade.larger))
    assert teacher.score is not None
    assert report.cascade.larger_score.value == teacher.score.value  # agreement with itself, quantized
    assert report.switch_over.model == "cascade"
    assert report.switch_over.right_before == report.switch_over.flips
    assert "Agreement with the teacher on test: cascade" in " ".join(place.out.split())
    assert "that the teacher had right" not in place.out
    texts = (place.folder / "texts.txt").read_text().splitlines()
    asked = [answer.as_dict()["model"] for answer in load(place.folder / "exports/both")(texts)]
    assert set(asked) == {"small", "larger"}
