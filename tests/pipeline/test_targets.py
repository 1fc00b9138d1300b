"""A run that says what its bundle must keep: which file is the default one, and what is said where none will do."""

import json
from pathlib import Path

import pytest
from workplace import Copier, Workplace

from distill import load
from distill.results import Report, TargetResult
from distill.stages.artifacts import load_units

pytestmark = pytest.mark.usefixtures("measured_here", "plots_stay_undrawn")

UNTRAINED = ("student=lstm", "train.steps=2", "train.learning_rates=[1e-4]")


def target_of(report: Report) -> TargetResult:
    assert report.target is not None
    return report.target


def test_the_smallest_that_keeps_every_limit_is_the_default_one(
    finished: Workplace, copy: Copier, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, read = copy(finished), list[Path]()
    monkeypatch.setattr("distill.stages.target.load_units", lambda path: read.append(path) or load_units(path))
    assert place.run("target={drop: 60, size_mb: 100, latency_ms: 10000, memory_mb: 100000}") == 0, place.err
    report, bundle = place.report(), json.loads((place.folder / "exports/small/bundle.json").read_text())
    found = target_of(report)
    offers = {offer.name: offer for offer in found.offers}
    assert set(offers) == {f"{model} {variant}" for model in ("teacher", "student") for variant in ("fp32", "int8")}
    smallest = min(found.offers, key=lambda offer: offer.size_mb)
    assert (smallest.name, found.chosen, bundle["default_variant"]) == ("student int8", "student int8", "int8")
    assert [path.name for path in read] == ["validation_fp32.npz", "validation_int8.npz"] * 2  # each its own answers
    assert read[0].parent == read[1].parent != read[2].parent == read[3].parent
    for variant in report.variants:
        offer, measured = offers[f"{variant.model} {variant.variant}"], variant.measurement
        assert measured is not None
        assert offer.size_mb == variant.file_bytes / 1e6
        assert (offer.latency_ms, offer.memory_mb) == (measured.latency_p50.value, measured.memory_peak.value)
    arms = {arm.name: arm.seeds[0].validation for arm in report.arms}
    lost = 100 * (arms["teacher"] - arms[report.exported_arm])  # torch; the graph in fp32 gives the same answers
    assert offers["student fp32"].drop.value == pytest.approx(lost)
    assert offers["teacher fp32"].drop.value == 0
    assert found.floors["linear"] == pytest.approx(100 * (arms["teacher"] - arms["linear"]))
    assert "The target is met by student int8." in place.out
    assert "ship that: a linear model on TF-IDF" in place.out
    page = (place.folder / "exports/small/report.html").read_text()
    assert "The target is met by student int8." in page
    assert "ms, 10000 allowed: met" in page


def test_a_file_that_is_not_the_smallest_is_the_default_one_where_it_is_chosen(
    finished: Workplace, copy: Copier, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = copy(finished)
    monkeypatch.setattr("distill.evaluation.choice.key_of", lambda offer, limits: (offer.name != "student fp32", 0, ""))
    assert place.run("target.latency_ms=10000", "name=fast") == 0, place.err
    report, folder = place.report("fast"), place.folder / "exports/fast"
    manifest = json.loads((folder / "bundle.json").read_text())
    assert (manifest["default_variant"], list(manifest["graphs"])) == ("fp32", ["fp32", "int8"])
    assert report.switch_over is not None
    assert report.switch_over.variant == "fp32"
    assert "the fp32 student" in (folder / "README.md").read_text()
    assert 'bundle["graphs"]["fp32"]' in (folder / "README.md").read_text()


def test_a_target_that_nothing_meets_says_by_how_much_and_keeps_the_nearest(finished: Workplace, copy: Copier) -> None:
    place = copy(finished)
    assert place.run("target={drop: 60, size_mb: 0.001}", "name=tiny") == 1
    found = target_of(place.report("tiny"))
    size = min(offer.size_mb for offer in found.offers)
    assert (found.chosen, set(found.missed)) == ("student int8", {"size_mb"})
    assert found.missed["size_mb"] == pytest.approx(size - 0.001)
    assert "target not met: the nearest is student int8" in place.err
    assert "Front (drop, size, latency): student int8 (" in place.err
    assert load(place.folder / "exports/tiny")(["a film"])
    assert place.run("target={drop: 60, size_mb: 0.001}", "name=tiny") == 1
    assert "nothing has changed" in place.err
    assert "target not met: the nearest is student int8" in place.err


def test_a_file_of_the_teacher_is_shipped_where_every_student_loses_too_much(finished: Workplace, copy: Copier) -> None:
    place = copy(finished)
    place.overrides = [one for one in place.overrides if not one.startswith("student.")]
    assert place.run("target.drop=10", "name=whole", *UNTRAINED) == 0, place.err
    report = place.report("whole")
    found = target_of(report)
    assert found.chosen == "teacher int8"
    offers = {offer.name: offer for offer in found.offers}
    assert min(offers["student fp32"].drop.value, offers["student int8"].drop.value) > 10
    arms = {arm.name: arm.seeds[0].validation for arm in report.arms}
    lost = 100 * (arms["teacher"] - arms[report.exported_arm])
    assert offers["student fp32"].drop.value == pytest.approx(lost)
    assert [(v.model, v.variant) for v in report.variants if v.shipped] == [("teacher", "int8")]
    bundle = json.loads((place.folder / "exports/whole/bundle.json").read_text())
    assert (bundle["default_variant"], list(bundle["graphs"])) == ("int8", ["int8"])
    assert place.distill("evaluate", "exports/whole", "--data", "test.csv", "--json") == 0
    score = next(v.score for v in report.variants if v.shipped)
    assert score is not None
    assert json.loads(place.out)["scores"]["accuracy"]["value"] == pytest.approx(score.value)
    assert report.switch_over is not None
    assert report.switch_over.variant == "int8"
    assert place.distill("report", "outputs/whole") == 0
    assert "the int8 teacher" in (place.folder / "outputs/whole/README.md").read_text()


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["target.latency_ms=5", "measure.enabled=false"], "target.latency_ms is 5, but measure.enabled is false"),
        (["target.memory_mb=5", "measure.enabled=false"], "target.memory_mb is 5, but measure.enabled is false"),
        (["target={}"], "target is empty; give drop, size_mb"),
        (["target.drop=-1"], "target.drop is -1; give 0 or more"),
        (["target.size_mb=0"], "target.size_mb is 0; give more than 0"),
        (["target.size=10"], "unknown key 'target.size'; did you mean 'size_mb'?"),
        (["target.drop=1", "cascade.max_drop=1"], "target chooses one model for the bundle"),
    ],
)
def test_a_target_that_nobody_could_hold_against_anything_is_refused(
    finished: Workplace, copy: Copier, overrides: list[str], complaint: str
) -> None:
    place = copy(finished)
    before = place.artifacts()
    assert place.run(*overrides) == 2
    assert complaint in place.err
    assert place.artifacts() == before
