"""`distill search`: trials of sizes and learning rates, seeded and resumable."""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet
from workplace import Copier, Workplace

from distill import load, pipeline
from distill.config import Config
from distill.config.compose import run_with_hydra
from distill.errors import UserError
from distill.evaluation.choice import front
from distill.results import Search, from_json
from distill.tuning import kinds, space, tune

pytest.importorskip("optuna")
pytestmark = pytest.mark.usefixtures("measured_here", "plots_stay_undrawn")

TRIALS = ["--trials", "3", "train.steps=8", "measure.seconds=0.02"]


@pytest.fixture
def place(finished: Workplace, copy: Copier) -> Workplace:
    """A workplace with a trained teacher, and a recipe that says nothing of students."""
    made = copy(finished)
    left_out = ("student", "arms", "train.learning_rates", "train.steps", "measure", "name=")
    made.overrides = [one for one in made.overrides if not one.startswith(left_out)]
    return made


def search(place: Workplace, name: str, *more: str) -> Search:
    status = place.distill("search", "quickstart", *place.overrides, f"name={name}", *TRIALS, *more)
    found = from_json(Search, (place.folder / "outputs" / name / "search.json").read_text())
    assert status == int(bool(found.target.missed)), place.err
    return found


def refused(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The configurations of all trials, none of which is trained."""
    found: list[Any] = []

    def run(config: Any, *more: Any) -> Any:
        found.append(config)
        raise UserError("not here")

    monkeypatch.setattr("distill.tuning.run", run)
    return found


def test_a_search_that_was_stopped_ends_as_one_that_was_not(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = search(place, "whole")
    assert [rung.name for rung in whole.rungs] == ["trial 1", "trial 2", "trial 3"]
    assert len({rung.reason for rung in whole.rungs}) == 3
    assert whole.target.front == front(whole.target.offers)
    assert "Front (drop, size, latency)" in place.out
    assert all(f"{rung.name}: {rung.reason}" in " ".join(place.out.split()) for rung in whole.rungs)
    assert "The target" not in place.out
    assert not (place.folder / "exports/whole").exists()
    runs: list[str] = []

    def stopped(config: Any, *more: Any) -> Any:
        runs.append(config.name)
        if len(runs) == 2:
            raise KeyboardInterrupt
        return pipeline.run(config, *more)

    monkeypatch.setattr("distill.tuning.run", stopped)
    assert place.distill("search", "quickstart", *place.overrides, "name=stopped", *TRIALS) == 130
    again = search(place, "stopped")
    assert [rung.reason for rung in again.rungs] == [rung.reason for rung in whole.rungs]
    drops = [[offer.drop for offer in rung.offers] for rung in again.rungs]
    assert drops == [[offer.drop for offer in rung.offers] for rung in whole.rungs]
    assert runs == [f"stopped-trial-{number}" for number in (1, 2, 2, 3)]  # as the table names them
    made = (place.folder / "outputs").glob("stopped-*")
    assert sorted(path.name for path in made) == [f"stopped-trial-{number}" for number in (1, 2, 3)]
    assert search(place, "stopped").rungs == again.rungs
    assert len(runs) == 4  # and none again


@pytest.mark.slow
def test_a_target_takes_one_of_the_trials(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    found = search(place, "asked", "target.size_mb=1", "--json")
    assert json.loads(place.out)["target"]["chosen"] == found.target.chosen
    report = place.report("asked")
    assert report.search is not None
    assert report.search.target == found.target
    assert report.target is not None
    assert report.target.taken.size_mb == found.target.taken.size_mb == min(o.size_mb for o in found.target.offers)
    assert load(place.folder / "exports/asked")(["a film"])
    assert [path.name for path in (place.folder / "exports").iterdir() if path.name != "small"] == ["asked"]


def test_trials_of_other_data_another_teacher_or_another_machine_are_not_kept(
    place: Workplace, random_teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, teacher, stream = (place.folder / name for name in ("train.csv", "teacher", "stream.parquet"))
    parquet.write_table(pyarrow.table({"text": ["a witty film"] * 9}), stream)
    shutil.copytree(random_teacher, teacher)
    before, ran = train.read_bytes(), refused(monkeypatch)

    def trained() -> int:
        """Trials that another search of the same recipe runs."""
        ran.clear()
        own = ["name=kept", "teacher.source.path=teacher", "data.stream.path=stream.parquet", *TRIALS]
        assert place.distill("search", "quickstart", *place.overrides, *own) == 2
        assert "no trial could be trained; the first: " in place.err
        return len(ran)

    assert (trained(), trained()) == (3, 0)
    train.write_bytes(before.replace(b",rotten,", b",fresh,", 1))
    assert (trained(), trained()) == (3, 0)
    train.write_bytes(before)  # at another time, but the same texts
    assert trained() == 0
    monkeypatch.setattr("distill.measure.processor.processor_name", lambda: "another processor")
    assert (trained(), trained()) == (3, 0)
    weights = teacher / "model.safetensors"
    os.utime(weights, ns=(0, 0))
    assert (trained(), trained()) == (3, 0)
    parquet.write_table(pyarrow.table({"text": ["a tender film"] * 8}), stream)
    assert (trained(), trained()) == (3, 0)
    monkeypatch.setattr("distill.tuning.versions", lambda: {"onnxruntime": "9.9"})
    assert (trained(), trained()) == (3, 0)


def test_a_second_search_leaves_the_first_one_its_trials(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []
    second: list[tuple[int, str]] = []

    def beside(config: Config, *more: Any) -> Any:
        runs.append(config.name)
        if len(runs) == 1:  # another search is begun while the first one is in its first trial
            other = Workplace(place.folder, place.overrides)
            second.append((other.distill("search", "quickstart", *place.overrides, "name=two", *TRIALS), other.err))
        raise UserError("not here")

    monkeypatch.setattr("distill.tuning.run", beside)
    assert place.distill("search", "quickstart", *place.overrides, "name=two", *TRIALS) == 2
    assert "no trial could be trained; the first: " in place.err
    assert runs == ["two-trial-1", "two-trial-2", "two-trial-3"]
    ((status, said),) = second
    assert status == 2
    assert f"another search is at {Path('outputs/two')}; wait for its end, or give this one a name=" in said
    assert place.distill("search", "quickstart", *place.overrides, "name=two", *TRIALS, "--trials", "4") == 2
    assert runs[3:] == ["two-trial-4"]  # the first one's lock went with it


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match="a launcher started 3 processes, but a search is one"):
        tune(lambda sets: pytest.fail("the recipe was composed"), 1)


WITHOUT_STATIC = {"multi30k", "snips", "squad", "ud_ewt", "wikitext2", "wnut17"}
"""Recipes of tasks that ask about words or write: one vector a text answers neither."""


@pytest.mark.parametrize("recipe", [*sorted(WITHOUT_STATIC), "clinc150", "embeddings", "goemotions"])
def test_students_that_a_task_cannot_have_are_not_tried(recipe: str) -> None:
    def config_of(sets: Sequence[str]) -> Config:
        found: list[Config] = []
        run_with_hydra(recipe, sets, [], found.append)
        return found[0]

    of_task = ["lstm"] if recipe in WITHOUT_STATIC else ["lstm", "static"]
    assert kinds(config_of, 0) == of_task
    assert kinds(config_of, 6) == ["layers", *of_task]


@pytest.mark.parametrize(("narrow", "shares"), [(True, 2), (False, 0)])
def test_layers_are_narrowed_where_there_are_labels_to_tell_what_matters(narrow: bool, shares: int) -> None:
    from optuna.trial import FixedTrial

    drawn = {"student": "layers", "layers.count": 2, "layers.learning_rate": 5e-4}
    drawn |= {"layers.width_share": 0.5, "layers.feed_forward_share": 0.5}
    sets = space(FixedTrial(drawn), ["layers"], 6, narrow)
    assert sum("_share=" in one for one in sets) == shares
    assert sets[:2] == ["student=layers", "student.count=2"]


def test_trials_are_of_students_that_the_task_can_have(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = refused(monkeypatch)
    task = ["task=language_modelling", "data.label=label", "--trials", "12"]
    assert place.distill("search", "quickstart", *place.overrides, "name=words", *TRIALS, *task) == 2
    assert {config.student.name for config in ran} == {"layers", "recurrent"}
    assert "student=static is left out: student=static averages a text into one vector" in place.err
    ran.clear()
    other = ["tokenizer=trained", "--trials", "8"]
    assert place.distill("search", "quickstart", *place.overrides, "name=other", *TRIALS, *other) == 2
    assert {config.student.name for config in ran} == {"recurrent", "static"}
    ran.clear()
    assert place.distill("search", "quickstart", *place.overrides, "name=none", *TRIALS, "data.recombined=5") == 2
    assert place.err.startswith("error: data.recombined is 5, but there are no pairs")  # said once
    assert not ran


def test_rates_of_others_than_the_students_hold_for_every_trial(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = ["teacher.train.learning_rates=[4e-3]", "compression.train.learning_rates=[5e-3]"]
    ran = refused(monkeypatch)
    assert place.distill("search", "quickstart", *place.overrides, "name=rates", *TRIALS, *others) == 2
    assert [(config.teacher.train.learning_rates, config.compression.train.learning_rates) for config in ran] == 3 * [
        ((4e-3,), (5e-3,))
    ]
    assert len({config.train.learning_rates for config in ran}) == 3


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--trials", "0"], "--trials is 0; give at least 1"),
        (["student=lstm"], "student=lstm is what the search looks for"),
        (["student.count=1"], "student.count=1 is what the search looks for"),
        (["arms=[linear,soft]"], "arms=[linear,soft] is what the search looks for"),
        (["train.learning_rates=[1e-3]"], "train.learning_rates=[1e-3] is what the search looks for"),
        (["++train.learning_rates=[1e-3]"], "kinds, sizes and learning rates of students"),
        (["train={steps: 8, learning_rates: [1e-3]}"], "kinds, sizes and learning rates of students"),
        (["measure.enabled=false"], "measure.enabled is false, but a search minimises latency"),
        (["task.name=token-clasification"], "unknown task 'token-clasification'; did you mean"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    place: Workplace, monkeypatch: pytest.MonkeyPatch, arguments: list[str], complaint: str
) -> None:
    ran = refused(monkeypatch)
    assert place.distill("search", "quickstart", *place.overrides, "name=no", *arguments) == 2
    assert complaint in place.err
    assert not ran


def test_without_optuna_the_extra_is_named(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert place.distill("search", "quickstart", *place.overrides, "name=no") == 2
    assert "`distill search` needs optuna; install distill[search]" in place.err


def test_a_key_that_one_kind_of_student_has_is_told_before_any_trial(place: Workplace) -> None:
    recipe = place.folder / "own.yaml"
    recipe.write_text("# A task: a method\ndata:\n  train: {path: reviews.csv}\nstudent: {count: 1}\n")
    assert place.distill("search", "own.yaml", "name=own", *TRIALS) == 2
    assert "the search also tries student=lstm: unknown key 'student.count'" in place.err
    assert not (place.folder / "outputs/own/trials.log").exists()
