"""`distill compress --target`: the ladder of students, what is trained fully, and what is chosen."""

import json
from pathlib import Path
from typing import Any

import pytest
from workplace import Workplace, write_classifier

from distill import load, pipeline
from distill.config import Config
from distill.results import Search, from_json

pytestmark = pytest.mark.usefixtures("measured_here", "plots_stay_undrawn")

SEARCH = ["compress", "classifier", "--texts", "texts.txt", "--labelled", "labelled.csv", "--text-column", "sentence"]
SEARCH += ["--label-column", "opinion"]
QUICK = [
    "train.steps=16",
    "train.evaluations=4",
    "train.learning_rates=[2e-3]",
    "compression.train.steps=8",
    "compression.train.learning_rates=[2e-3]",
    "measure.seconds=0.02",
    "export.max_drop=60",
    "threads=1",
    "device=cpu",
]
RUNGS = ["static", "LSTM", "1 layer", "thin", "pruned"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, reviews_csv: Path, permuted: Path) -> Workplace:
    """A folder with a fine-tuned classifier of two layers, 200 labelled reviews and 200 texts."""
    folder = tmp_path_factory.mktemp("search")
    write_classifier(folder, reviews_csv, permuted, 200)
    return Workplace(folder, [])


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """The configurations of all runs of the pipeline."""
    found: list[Config] = []

    def remembered(config: Config, *more: Any) -> Any:
        found.append(config)
        return pipeline.run(config, *more)

    monkeypatch.setattr("distill.ladder.run", remembered)
    return found


def found_in(place: Workplace, name: str) -> Search:
    return from_json(Search, (place.folder / "outputs" / name / "search.json").read_text())


def test_the_ladder_is_climbed_until_nothing_left_can_be_better(
    place: Workplace, ran: list[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.distill(*SEARCH, "--target", "drop=20,size_mb=1", "name=a", *QUICK) == 0, place.err
    found, report = found_in(place, "a"), place.report("a")
    assert [rung.name for rung in found.rungs] == RUNGS
    short, full = ([c for c in ran if c.train.steps == steps and c.name != "a"] for steps in (4, 16))
    assert [c.name for c in short] == [f"a-{name.replace(' ', '-').lower()}-short" for name in RUNGS]
    assert {c.compression.train.steps for c in short} == {2}  # of 8
    assert "pruned: 6 of 24 steps" in place.err  # before and after it is cut
    assert {c.arms for c in ran} == {("linear", "soft+transfer")}
    of_full = {rung.name for rung in found.rungs if rung.trained == "full"}
    assert {c.name for c in full} == {f"a-{name.replace(' ', '-')}" for name in of_full}
    assert "LSTM" not in of_full  # its int8 file is larger than the teacher's, which meets the target
    lstm = next(rung for rung in found.rungs if rung.name == "LSTM")
    teacher = next(offer for offer in found.target.offers if offer.name == "teacher int8")
    assert min(offer.size_mb for offer in lstm.offers) > teacher.size_mb
    assert lstm.reason.startswith("cut off after 4 steps: at best 0.32")
    trained = [path.parent.name for path in (place.folder / "outputs/artifacts").glob("student-*/model")]
    assert len(trained) == len(short) + len(full)
    assert found.target.chosen == "1 layer int8"
    assert report.target is not None
    assert report.target.chosen == "student int8"
    assert report.provenance.settings["student"]["count"] == 1
    assert load(place.folder / "exports/a")(["a film"])[0].label in ("fresh", "rotten")
    assert sorted(path.name for path in (place.folder / "exports").iterdir()) == ["a"]
    assert not (place.folder / "outputs/a/bundles").exists()
    for words in ("1 layer int8", "chosen", "Cut off", "LSTM: cut off after 4 steps", "ship that: a linear model"):
        assert words in place.out
    assert place.distill("export", "outputs/a", "--variants", "int8") == 0, place.err
    assert place.report("a").search == found
    monkeypatch.setattr("distill.stages.delivery.within", lambda lost, allowed: False)
    assert place.distill(*SEARCH, "--target", "drop=20,size_mb=1", "name=a", *QUICK, "max_teacher_drop=0") == 1
    assert "max_teacher_drop is not kept: int8 loses" in place.err


@pytest.mark.slow
def test_the_choice_is_that_of_training_every_rung(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = ["drop=20,size_mb=1", "drop=50,size_mb=1", "drop=20,size_mb=0.001"]
    chosen = []
    for every in (False, True):
        if every:  # nothing is cut off
            monkeypatch.setattr("distill.ladder.bound", lambda one, limits: (-1.0, -1.0, one.rung))
        for target in targets:
            status = place.distill(*SEARCH, "--target", target, "name=b", *QUICK)
            found = found_in(place, "b")
            assert status == int(bool(found.target.missed))
            chosen.append(found.target.chosen)
            assert not every or all(rung.trained == "full" for rung in found.rungs)
    assert chosen[:3] == chosen[3:]
    assert chosen[0] != chosen[1]


def test_a_target_that_nothing_meets_keeps_the_nearest(place: Workplace) -> None:
    assert place.distill(*SEARCH, "--target", "drop=20,size_mb=0.001", "name=c", "--json", *QUICK) == 1
    found = from_json(Search, place.out)
    assert set(found.target.missed) == {"size_mb"} or set(found.target.missed) == {"size_mb", "drop"}
    assert f"target not met: the nearest is {found.target.chosen}" in place.err
    assert "Front (drop, size, latency): " in place.err
    assert load(place.folder / "exports/c")(["a film"])
    assert found == found_in(place, "c")


def test_the_teachers_own_file_is_taken_where_no_student_will_do(
    place: Workplace, ran: list[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.ladder.ladder", lambda layers: {"LSTM": ("student=lstm",)})
    untaught = [*QUICK, "train.learning_rates=[1e-9]"]
    assert place.distill(*SEARCH, "--target", "drop=1", "name=d", *untaught, "data.validation_share=0.3") == 0, (
        place.err
    )
    found, report = found_in(place, "d"), place.report("d")
    assert found.target.chosen.startswith("teacher ")
    assert [f"{v.model} {v.variant}" for v in report.variants if v.shipped] == [found.target.chosen]
    manifest = json.loads((place.folder / "exports/d/bundle.json").read_text())
    assert f"teacher {manifest['default_variant']}" == found.target.chosen
    monkeypatch.setattr("distill.ladder.bound", lambda one, limits: (9.0, 9.0, one.rung))
    ran.clear()
    assert place.distill(*SEARCH, "--target", "drop=1", "name=g", *untaught, "data.validation_share=0.3") == 0, (
        place.err
    )
    assert [(c.name, c.train.steps) for c in ran] == [("g-lstm-short", 4), ("g", 4)]  # nothing is trained fully
    assert found_in(place, "g").target.chosen == found.target.chosen


def test_a_rung_that_a_teacher_does_not_have_is_left_out(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    rungs = {"none": ("student=layers", "student.count=9"), "static": ("student=static",)}
    monkeypatch.setattr("distill.ladder.ladder", lambda layers: rungs)
    assert place.distill(*SEARCH, "--target", "size_mb=1", "name=e", *QUICK) == 0, place.err
    first, second = found_in(place, "e").rungs
    assert (first.name, first.trained) == ("static", "full")
    assert (second.name, second.trained) == ("none", "failed")
    assert "the teacher has 2 layers" in second.reason or "2" in second.reason
    monkeypatch.setattr("distill.ladder.ladder", lambda layers: {"none": rungs["none"]})
    assert place.distill(*SEARCH, "--target", "size_mb=1", "name=f", *QUICK) == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--target", "10"], "--target is '10'; write KEY=NUMBER"),
        (["--target", "drop=1,size_mb=9,drop=2"], "which has drop twice; give each limit once"),
        (["--target", "size=10"], "unknown key 'target.size'; did you mean 'size_mb'?"),
        (["--target", "drop=much"], "target.drop is 'much'; expected a number"),
        (["--target", "size_mb=-1"], "target.size_mb is -1; give more than 0"),
        (["--target", "drop=1", "--max-drop", "1"], "--max-drop is about one student"),
        (["--target", "drop=1", "student=lstm"], "student=lstm is what --target looks for"),
        (["--target", "drop=1", "arms=[linear,hard]"], "arms=[linear,hard] is what --target looks for"),
        (["--target", "latency_ms=1", "measure.enabled=false"], "measure.enabled is false"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(place: Workplace, arguments: list[str], complaint: str) -> None:
    before = place.artifacts()
    assert place.distill(*SEARCH, *arguments) == 2
    assert complaint in place.err
    assert place.artifacts() == before
