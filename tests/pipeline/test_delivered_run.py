"""What a run leaves: a bundle that anyone can run, a student for transformers, figures that hold, and no text."""

import csv
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer
from workplace import Copier, Workplace

from distill import load


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_plain_onnxruntime_gives_the_accuracy_of_the_report(finished: Workplace, variant: str) -> None:
    bundle = finished.folder / "exports/small"
    about = json.loads((bundle / "bundle.json").read_text())
    session = onnxruntime.InferenceSession(bundle / about["graphs"][variant]["model"])
    tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
    right = []
    with (finished.folder / "test.csv").open() as file:
        for row in csv.DictReader(file):
            encoding = tokenizer.encode(row["text"])
            known = {
                "input_ids": encoding.ids,
                "attention_mask": encoding.attention_mask,
                "token_type_ids": encoding.type_ids,
            }
            inputs = {name: np.array([known[name]], dtype=np.int64) for name in about["inputs"]}
            logits = session.run(["logits"], inputs)[0]
            right.append(about["task"]["labels"][int(logits[0].argmax())] == row["label"])
    report = json.loads((bundle / "report.json").read_text())
    stated = next(v for v in report["variants"] if v["model"] == "student" and v["variant"] == variant)
    assert stated["score"]["value"] == np.mean(right)
    assert 0.6 < np.mean(right) < 1


def test_student_folder_answers_in_transformers_as_the_bundle_does(finished: Workplace) -> None:
    from transformers import pipeline

    texts = [row["text"] for rows in finished.rows.values() for row in rows if row["text"].strip()]
    student = pipeline("text-classification", model=str(finished.folder / "outputs/small/student"), device="cpu")
    theirs = [answer["label"] for answer in student(texts, truncation=True)]
    ours = [answer.label for answer in load(finished.folder / "exports/small", "fp32")(texts)]
    assert theirs == ours
    assert set(ours) == {"fresh", "rotten"}


def test_report_counts_what_was_left_out_and_cut(finished: Workplace) -> None:
    data = finished.report().data
    assert data.dropped == {"empty text": 2, "duplicate": 1}
    assert data.max_length == 24
    assert (data.truncated["test"], sum(data.truncated.values())) == (1, 2)
    assert (data.labelled, data.transfer, data.test) == (160, 60, 89)
    labels = [row["label"] for row in finished.rows["test"]]
    assert data.majority_share == max(map(labels.count, labels)) / len(labels)


def test_choices_of_the_report_are_those_of_validation(finished: Workplace) -> None:
    report = finished.report()
    students = {arm.name: arm.seeds[0].validation for arm in report.arms if arm.name not in ("linear", "teacher")}
    assert students[report.exported_arm] == max(students.values())
    assert [arm.name for arm in report.arms] == ["linear", "teacher", "hard", "soft", "soft+transfer"]
    assert [arm.texts for arm in report.arms] == [160, 160, 160, 160, 220]


def holds_text(folder: Path, texts: list[str]) -> list[str]:
    """Files of the folder that hold one of the texts."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        if any(text.encode() in content for text in texts):
            found.append(path.relative_to(folder).as_posix())
    return found


def test_no_text_of_the_data_is_in_bundle_or_report(finished: Workplace) -> None:
    texts = [row["text"] for rows in finished.rows.values() for row in rows if row["text"].strip()]
    assert holds_text(finished.folder / "exports", texts) == []
    assert holds_text(finished.folder / "outputs/small", texts) == []


def test_texts_are_shown_where_the_recipe_says_so(finished: Workplace, copy: Copier) -> None:
    place = copy(finished)
    assert place.run("report.show_texts=true") == 0
    shown = holds_text(place.folder / "exports", [row["text"] for row in place.rows["test"]])
    assert shown == ["small/report.json"] or "small/report.html" in shown


def test_bundle_states_licences_and_versions(finished: Workplace) -> None:
    about = json.loads((finished.folder / "exports/small/bundle.json").read_text())
    assert set(about["licences"]) == {"teacher", "data"}
    assert {"onnxruntime", "torch"} <= set(about["versions"])
    assert about["default_variant"] == "int8"
    assert set(about["sha256"]) == {"tokenizer.json", "onnx/model.onnx", "onnx/model_int8.onnx"}


@pytest.mark.parametrize(
    "command",
    [
        ["predict", "exports/small", "a gorgeous film", "--json"],
        ["evaluate", "exports/small", "--data", "test.csv", "--json"],
        ["evaluate", "outputs/small/student", "--data", "test.csv", "--json"],
        ["measure", "exports/small", "--seconds", "0.05", "--variant", "int8", "--json"],
        ["report", "outputs/small", "exports/small", "--json"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_json_of_a_command_is_all_that_stands_on_stdout(finished: Workplace, command: list[str]) -> None:
    assert finished.distill(*command) == 0
    assert json.loads(finished.out)


def test_evaluate_gives_the_scores_of_the_report(finished: Workplace) -> None:
    variants = {(v.model, v.variant): v for v in finished.report().variants}
    for subject, of in (("exports/small", "fp32"), ("outputs/small/student", "fp32")):
        finished.distill(
            "evaluate", subject, "--data", "test.csv", "--json", *(["--variant", of] if "exp" in subject else [])
        )
        told = json.loads(finished.out)
        score = variants["student", of].score
        assert score is not None
        assert told["scores"]["accuracy"]["value"] == pytest.approx(score.value)
        assert told["texts"] == 89
    assert finished.distill("evaluate", "outputs/small", "--data", "test.csv") == 2
    assert finished.err.endswith("error: outputs/small is the folder of a run; give its bundle, exports/small\n")


def test_measure_shows_every_figure_with_how_it_was_obtained(finished: Workplace) -> None:
    assert finished.distill("measure", "exports/small", "--seconds", "0.05") == 0
    for line in ("fp32:", "int8:", "latency p50", "memory peak", "energy"):
        assert line in finished.out
    assert "measured" in finished.out


def test_report_shows_one_run_or_several_side_by_side(finished: Workplace) -> None:
    assert finished.distill("report", "outputs/small") == 0
    assert "soft+transfer" in finished.out
    assert all(len(line) <= 100 for line in finished.out.splitlines())
    assert finished.distill("report", "outputs/small", "exports/small") == 0
    assert finished.out.count("small") >= 2


def test_statistics_of_each_arm_on_test_give_its_scores_and_verdicts_again(finished: Workplace) -> None:
    report = finished.report()
    with np.load(finished.folder / "outputs/small/test-statistics.npz") as stored:
        assert set(stored) == {arm.name for arm in report.arms}
        for arm in report.arms:
            right, total = stored[arm.name].sum(axis=1).T
            assert (right / total).tolist() == [seed.test for seed in arm.seeds]
            assert arm.score.value == np.mean(right / total)
        arm, against = (stored[name][0, :, 0] for name in ("soft", "hard"))
    contrast = next(c for c in report.contrasts if (c.arm, c.against) == ("soft", "hard"))
    assert contrast.difference.value == pytest.approx(np.mean(arm - against))
    assert "these two trainings" in contrast.verdict
    if (arm == against).all():  # two small trainings may well answer alike, on some processors
        assert contrast.smallest_shown is None
    else:
        assert contrast.smallest_shown == pytest.approx(2.8 * np.std(arm - against, ddof=1) / 89**0.5, rel=0.05)
