"""A cascade and the report for who switches over: chosen on validation, told of test, and what stands in the bundle.

Every figure is computed a second time from the graphs of the bundle that was written."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from small_runs import SmallRun, config_of, run, teacher_in
from tokenizers import Tokenizer

from distill import load
from distill.config import CascadeConfig
from distill.evaluation.cascade import choose_threshold
from distill.results import Cascade, Estimate, Figure, Report, SwitchOver
from distill.stages.context import open_run
from distill.stages.delivery import whole
from distill.stages.exporting import AnswerByGraph, ExportModel
from distill.stages.findings import Joined
from distill.stages.students import TrainStudent
from distill.stages.switching import expected, join_models
from distill.tasks.task import softmax
from distill.text import Example

Pair = tuple[SmallRun, SmallRun]


@pytest.fixture(scope="module")
def both(reviews: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A teacher that has learnt something, and a student that has not, with test files A and B."""
    learnt = {"steps": 80, "evaluations": 4, "batch_size": 16, "learning_rates": [3e-3]}
    changes = {
        "teacher": {**teacher_in(encoder), "tries": 1, "train": learnt},
        "student": {"name": "layers", "layers": [1], "vocabulary": {"trim": True}},
        "arms": ["linear", "hard", "soft"],
        "seeds": [0],
        "cascade": {"max_drop": 20},
    }
    folder = tmp_path_factory.mktemp("cascades")
    a, b = (run(config_of(reviews, folder / test, f"test {test}", **changes)) for test in "AB")
    return a, b


@pytest.fixture(scope="module")
def now(both: Pair) -> SmallRun:
    """The run with test file A."""
    return both[0]


def report_of(finished: SmallRun) -> tuple[Report, Cascade, SwitchOver]:
    assert finished.outcome is not None
    report = finished.outcome.report
    assert report.cascade is not None
    assert report.switch_over is not None
    return report, report.cascade, report.switch_over


def bundle_of(finished: SmallRun) -> Path:
    assert finished.outcome is not None
    assert finished.outcome.bundle is not None
    return finished.outcome.bundle


def answers(folder: Path, examples: Sequence[Example]) -> Any:
    """Probabilities [N, C] by tokenizers and onnxruntime, a text at a time."""
    about = json.loads((folder / "bundle.json").read_text())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    session = onnxruntime.InferenceSession(str(folder / about["graphs"][about["default_variant"]]["model"]))
    rows = []
    for example in examples:
        encoding = tokenizer.encode(str(example.text))
        known = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        assert len(encoding.ids) <= about["max_length"]
        inputs = {name: np.array([known[name]], dtype=np.int64) for name in about["inputs"]}
        rows.append(session.run(["logits"], inputs)[0][0])
    return softmax(np.stack(rows))


def told_by(bundle: Path, examples: Sequence[Example]) -> Any:
    """Probabilities [N, C] of the bundle: the student's, or the larger model's where it is asked."""
    small, about = answers(bundle, examples), json.loads((bundle / "bundle.json").read_text())
    if about["cascade"] is None:
        return small
    sure = small.max(axis=1, keepdims=True) >= about["cascade"]["threshold"]
    return np.where(sure, small, answers(bundle / "larger", examples))


def right(probabilities: Any, examples: Sequence[Example], labels: Sequence[str]) -> Any:
    return np.array([labels[p.argmax()] == e.label for p, e in zip(probabilities, examples, strict=True)])


def test_the_threshold_is_chosen_on_validation_by_what_stands_in_the_bundle(now: SmallRun) -> None:
    report, found, _ = report_of(now)
    validation = now.values["read_data"].validation
    small, larger = (answers(folder, validation) for folder in (bundle_of(now), bundle_of(now) / "larger"))
    one, other = (right(p, validation, report.labels) for p in (small, larger))
    wanted = choose_threshold(small.max(axis=1), one, other, 0.2)
    assert wanted is not None
    assert found.threshold == pytest.approx(wanted.value, abs=1e-6)
    assert (found.validation_calls, found.drop, found.bound) == (wanted.calls, wanted.drop, wanted.bound)
    assert 0 < found.validation_calls < 1
    assert found.max_drop == 0.2


def test_the_figures_on_test_are_those_of_the_bundle_at_work(now: SmallRun) -> None:
    report, found, _ = report_of(now)
    test = now.values["read_data"].test
    told: list[Any] = list(load(bundle_of(now))([e.text for e in test]))
    assert found.calls.value == np.mean([one.model == "larger" for one in told])
    assert 0 < found.calls.value < 1
    accuracy = np.mean([one.label == e.label for one, e in zip(told, test, strict=True)])
    assert found.score.value == pytest.approx(accuracy)
    for folder, score in ((bundle_of(now), found.small_score), (bundle_of(now) / "larger", found.larger_score)):
        assert score.value == pytest.approx(right(answers(folder, test), test, report.labels).mean())
    assert found.difference.value == pytest.approx(found.score.value - found.larger_score.value)
    assert len({found.score.value, found.larger_score.value, found.small_score.value}) == 3
    files = [f for folder in (bundle_of(now), bundle_of(now) / "larger") for f in folder.glob("onnx/*int8.onnx")]
    assert (found.small, found.larger, len(files)) == ("int8", "int8", 2)
    assert found.size.value == pytest.approx(sum(f.stat().st_size for f in files) / 1e6)


@pytest.fixture(scope="module", params=["cascade", "student"])
def switched(request: pytest.FixtureRequest, now: SmallRun) -> tuple[SmallRun, SwitchOver]:
    """The run, and the same without a cascade."""
    alone = request.param == "student"
    finished = run(dataclasses.replace(now.config, cascade=None, name="student alone")) if alone else now
    assert finished.outcome is not None
    found = finished.outcome.report.switch_over
    assert found is not None
    assert found.model == request.param
    return finished, found


def test_answers_that_flip_are_those_of_the_teacher_and_the_bundle(
    now: SmallRun, switched: tuple[SmallRun, SwitchOver]
) -> None:
    finished, found = switched
    report, test = report_of(now)[0], now.values["read_data"].test
    before = np.array([int(units[0].argmax()) for units in now.values["evaluate"].units["teacher"][0]])
    after = told_by(bundle_of(finished), test).argmax(axis=1)
    gold = np.array([report.labels.index(str(e.label)) for e in test])
    assert (found.variant, found.texts) == ("int8", len(test))
    assert found.flips == (before != after).sum() > 0
    assert found.right_before == ((before != after) & (before == gold)).sum()
    assert found.right_after == ((before != after) & (after == gold)).sum()
    rows = {one.label: one for one in found.labels}
    for number, label in enumerate(report.labels):
        assert rows[label].before == (before == number).sum()
        assert rows[label].after == (after == number).sum()


def test_thresholds_are_carried_over_on_validation_and_told_of_test(
    now: SmallRun, switched: tuple[SmallRun, SwitchOver]
) -> None:
    finished, found = switched
    dataset, signal = now.values["read_data"], now.values["ask_teacher"]
    folder = signal.on_validation.directory / "store"
    keys = [key.tobytes() for key in np.load(folder / "keys.npy")]
    logits = np.load(folder / "logits.npy")
    teacher = softmax(np.stack([logits[keys.index(e.key)] for e in dataset.validation])).max(axis=1)
    bundle = told_by(bundle_of(finished), dataset.validation).max(axis=1)
    on_test = told_by(bundle_of(finished), dataset.test).max(axis=1)
    assert [one.before for one in found.thresholds] == [0.5, 0.7, 0.8, 0.9, 0.95]
    for one in found.thresholds:
        assert one.after is not None
        assert one.after == pytest.approx(sorted(bundle)[-(teacher >= one.before).sum()], abs=1e-6)
        assert one.passed_after == pytest.approx((on_test >= one.after - 1e-7).mean())
    assert len({one.after for one in found.thresholds}) > 2


def test_nothing_that_is_chosen_depends_on_test(both: Pair) -> None:
    (_, a, switched), (_, b, other) = (report_of(finished) for finished in both)
    assert (a.threshold, a.validation_calls, a.bound) == (b.threshold, b.validation_calls, b.bound)
    assert [one.after for one in switched.thresholds] == [one.after for one in other.thresholds]
    assert (a.score.value, switched.flips) != (b.score.value, other.flips)
    graphs = [next((bundle_of(finished) / "larger/onnx").iterdir()).read_bytes() for finished in both]
    assert graphs[0] == graphs[1]


def test_the_bundle_holds_one_variant_of_the_teacher_and_no_text(now: SmallRun) -> None:
    bundle = bundle_of(now)
    about = json.loads((bundle / "bundle.json").read_text())
    _, found, _ = report_of(now)
    assert about["cascade"] == {"threshold": found.threshold, "calls": found.validation_calls}
    inside = json.loads((bundle / "larger/bundle.json").read_text())
    assert list(inside["graphs"]) == [inside["default_variant"]] == ["int8"]
    assert json.loads((bundle / "larger/config.json").read_text())["num_hidden_layers"] == 2
    dataset = now.values["read_data"]
    texts = [str(e.text).encode() for e in (*dataset.validation, *dataset.test, *dataset.train)]
    for path in bundle.rglob("*"):
        assert not path.is_file() or not any(text in path.read_bytes() for text in texts)


def test_a_bundle_whose_larger_model_is_damaged_is_not_whole(now: SmallRun, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(bundle_of(now), tmp_path / "copy"))
    assert whole(copied)
    (copied / "larger/tokenizer.json").unlink()
    assert not whole(copied)


def joined(now: SmallRun, most: float, **steps: Any) -> Joined:
    """With another loss allowed, or other models."""
    this = open_run(dataclasses.replace(now.config, cascade=CascadeConfig(most)))
    values = {**now.values, **steps}
    return join_models(this, values["export_teacher"], values["export_student"], values["variant_results"])


def test_where_no_cascade_is_shown_to_be_worth_it_the_warning_says_why(now: SmallRun) -> None:
    (few,) = joined(now, 0.5).warnings
    assert "40 texts of validation do not show, at any threshold, that no more than 0.5 points are lost" in few
    (alone,) = joined(now, 100).warnings
    assert "the student alone loses at most" in alone
    (student,) = joined(now, 20, export_student=without_variants(now.values["export_student"])).warnings
    assert student == "no cascade: no variant of the student passed"
    (teacher,) = joined(now, 20, export_teacher=(without_variants(now.values["export_teacher"][0]),)).warnings
    assert teacher == joined(now, 20, export_teacher=()).warnings[0] == "no cascade: no variant of the teacher passed"
    assert joined(now, 20).result == report_of(now)[1]
    assert joined(now, 0.5).larger is joined(now, 0.5).result is None


def without_variants(exported: Any) -> Any:
    return dataclasses.replace(exported, parity=dataclasses.replace(exported.parity, passed=False))


def test_a_cascade_trains_and_exports_nothing_more(now: SmallRun) -> None:
    assert [stage.who for stage, _ in now.of(ExportModel)] == ["teacher", "student"]
    asked = {(stage.who, stage.variant, artifact.identity) for stage, artifact in now.of(AnswerByGraph)}
    assert len(asked) == 4
    config = dataclasses.replace(now.config, cascade=None, name="alone")
    again = run(config)
    for kind in (TrainStudent, ExportModel, AnswerByGraph):
        assert {a.identity for _, a in again.of(kind)} == {a.identity for _, a in now.of(kind)}
        assert all(artifact.cost.cached for _, artifact in again.of(kind))
    assert again.outcome is not None
    assert again.outcome.report.cascade is None
    assert again.outcome.report.switch_over != report_of(now)[2]
    assert not (bundle_of(again) / "larger").exists()


def test_what_is_expected_of_a_text_is_the_students_and_a_share_of_the_teachers() -> None:
    share = Estimate(0.25, 0.2, 0.3, "Wilson")
    small, larger = Figure(2.0, "ms", "measured", "clock"), Figure(12.0, "ms", "measured", "clock")
    found = expected([small, larger], share, "ms")
    assert (found.value, found.unit, found.how) == (5.0, "ms", "estimated")
    assert "0.250 times that of the teacher" in found.method
    missing = Figure(None, "ms", "unavailable", "no clock")
    for figures in ([small, missing], [missing, larger], [None, larger], [small, None]):
        assert expected(figures, share, "ms").how == "unavailable"
