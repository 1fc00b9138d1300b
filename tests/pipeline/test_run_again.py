"""A second run: what is computed again, what a killed run leaves, and what happens where a gate or parity falls."""

import errno
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from workplace import Copier, Workplace

from distill import UserError, load

pytestmark = pytest.mark.usefixtures("plots_stay_undrawn")

START = "import os, signal, sys\nfrom distill.cli import main\n"


@pytest.fixture(scope="module")
def place(finished: Workplace, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A copy of the finished run, for tests that add to its artifacts without changing those that are there."""
    import shutil

    folder = tmp_path_factory.mktemp("again")
    shutil.copytree(finished.folder, folder, dirs_exist_ok=True)
    return Workplace(folder, list(finished.overrides))


def in_a_process(place: Workplace, code: str, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Runs the recipe in a fresh process, around it ``code`` with ``main`` and ``arguments``."""
    arguments = ["run", "quickstart", *place.overrides, *overrides]
    return subprocess.run(
        [sys.executable, "-c", START + f"arguments = {arguments!r}\n" + code],
        cwd=place.folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_second_run_computes_nothing(place: Workplace) -> None:
    before = place.artifacts()
    bundle = (place.folder / "exports/small/bundle.json").stat().st_mtime_ns
    assert place.run() == 0
    assert place.err.splitlines() == ["nothing has changed since the last run"]
    assert "soft+transfer" in place.out
    assert place.artifacts() == before
    assert (place.folder / "exports/small/bundle.json").stat().st_mtime_ns == bundle


@pytest.mark.slow
@pytest.mark.parametrize("states", [(), ("objective=minilmv2", "objective.states_gb=1", "measure.enabled=false")])
def test_second_run_does_not_import_torch(place: Workplace, states: tuple[str, ...]) -> None:
    code = "main(arguments); print({'torch', 'transformers', 'sklearn', 'accelerate', 'matplotlib'} & set(sys.modules))"
    assert not states or place.run(*states) == 0, place.err
    assert in_a_process(place, code, *states).stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize(
    ("override", "computed"),
    [
        ("export.max_drop=40", ["export"] * 2 + ["variant-answers"] * 4),
        ("seeds=[0,1]", ["learnt-answers"] * 2 + ["student"] * 3 + ["test-answers"] * 3),
        ("objective=mse", ["learnt-answers"] * 2 + ["student"] * 2 + ["test-answers"] * 2),
        ("arms=[linear,hard,soft,soft+transfer,pseudo+transfer]", ["learnt-answers", "student", "test-answers"]),
        ("train.weight_decay=0.02", ["learnt-answers"] * 2 + ["student"] * 3 + ["test-answers"] * 3),
        pytest.param("measure.seconds=0.04", ["measure"] * 4, marks=pytest.mark.slow),
        ("report.show_texts=true", []),
    ],
)
def test_a_change_computes_again_what_depends_on_it(place: Workplace, override: str, computed: list[str]) -> None:
    before = place.artifacts()
    seconds = "measure.enabled=false" if not override.startswith("measure") else override
    assert place.run(override, seconds, "name=other") == 0, place.err
    after = place.artifacts()
    assert {name: after[name] for name in before} == before
    new = sorted(name.rsplit("-", 1)[0] for name in after.keys() - before.keys())
    # which student is exported, and so exported and asked again, hangs on scores on validation
    again = ("export", "variant-answers")
    assert [n for n in new if n not in again or n in computed] == sorted(computed)


@pytest.mark.slow
def test_metric_changes_what_students_are_chosen_by(place: Workplace) -> None:
    before = place.artifacts()
    lstm = Workplace(place.folder, [o for o in place.overrides if not o.startswith("student.")])
    for metric in ("macro_f1", "accuracy"):
        hard = ["student=lstm", "arms=[linear,hard]", "measure.enabled=false", f"name={metric}"]
        assert lstm.run(f"task.metric={metric}", *hard) == 0, lstm.err
    new = [name for name in place.artifacts() if name.startswith("student-") and name not in before]
    assert sum(not name.startswith("student-tokenizer") for name in new) == 2


@pytest.fixture
def killed(finished: Workplace, copy: Copier) -> Callable[[str, str], Workplace]:
    """Runs in a process that kills itself where ``code`` says so, on a copy of the finished run."""

    def run_and_kill(code: str, override: str) -> Workplace:
        place = copy(finished)
        place.overrides += [override, "measure.enabled=false"]
        done = in_a_process(place, code)
        assert done.returncode == -signal.SIGKILL, done.stderr
        return place

    return run_and_kill


def test_run_killed_in_training_leaves_the_old_bundle_and_goes_on(killed: Callable[[str, str], Workplace]) -> None:
    place = killed(
        "import distill.training as training\n"
        "whole = training.train\n"
        "def train(problem, state, machine):\n"
        "    if 'student soft,' in problem.what:\n"
        "        state.folder.mkdir(parents=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return whole(problem, state, machine)\n"
        "training.train = train\n"
        "main(arguments)\n",
        "train.steps=16",
    )
    assert load(place.folder / "exports/small")(["a gorgeous film"])
    assert list((place.folder / "outputs/artifacts").glob("student-*.partial"))
    before = place.artifacts()
    assert place.run() == 0, place.err
    after = place.artifacts()
    assert {name: after[name] for name in before} == before
    assert "student hard, seed 0" not in place.err
    assert "student soft, seed 0" in place.err
    assert not list((place.folder / "outputs/artifacts").glob("*.partial"))


@pytest.mark.slow
def test_run_killed_at_its_last_step_leaves_the_old_bundle_whole(killed: Callable[[str, str], Workplace]) -> None:
    place = killed(
        "import distill.export.bundle as bundle\n"
        "bundle._put_in_place = lambda *given: os.kill(os.getpid(), signal.SIGKILL)\n"
        "main(arguments)\n",
        "export.variants=[fp32]",
    )
    assert load(place.folder / "exports/small").variant == "int8"
    assert place.run() == 0, place.err
    assert load(place.folder / "exports/small").variant == "fp32"
    assert [p.name for p in (place.folder / "exports").iterdir()] == ["small"]


def test_variant_that_falls_at_its_gate_is_not_in_the_bundle(
    finished: Workplace, copy: Copier, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = copy(finished)
    monkeypatch.setattr("distill.results.within", lambda lost, allowed: False)
    assert place.run("export.max_drop=0", "measure.enabled=false") == 0, place.err
    bundle = place.folder / "exports/small"
    about = json.loads((bundle / "bundle.json").read_text())
    assert about["default_variant"] == "fp32"
    assert list(about["graphs"]) == ["fp32"]
    assert not (bundle / "onnx/model_int8.onnx").exists()
    fallen = next(v for v in place.report().variants if (v.model, v.variant) == ("student", "int8"))
    assert not fallen.shipped
    assert fallen.gate is not None
    assert not fallen.gate.passed
    assert "0 allowed" in fallen.gate.reason
    assert "int8" in (bundle / "README.md").read_text()
    assert place.distill("predict", "exports/small", "a film", "--variant", "int8") == 2
    assert "no variant 'int8'" in place.err


def test_student_that_fails_parity_is_not_delivered_also_the_second_time(finished: Workplace, copy: Copier) -> None:
    place = copy(finished)
    for _ in range(2):  # the second run finds everything computed, and must not take the old bundle for its own
        assert place.run("export.tolerance=1e-12", "measure.enabled=false") == 1
        assert "no bundle" in place.err
    assert not any(v.shipped for v in place.report().variants)
    assert place.run("export.tolerance=1e-12", "measure.enabled=false", "name=fresh") == 1
    assert not (place.folder / "exports/fresh").exists()


def test_altered_bundle_is_written_again(finished: Workplace, copy: Copier) -> None:
    place = copy(finished)
    (place.folder / "exports/small/onnx/model_int8.onnx").unlink()
    (place.folder / "outputs/small/search.json").write_text("{}")  # of a search that had the name before
    assert place.run() == 0
    assert not (place.folder / "outputs/small/search.json").exists()
    assert load(place.folder / "exports/small", "int8")(["a film"])


def test_a_report_that_cannot_be_read_is_written_again(finished: Workplace, copy: Copier) -> None:
    place = copy(finished)
    (place.folder / "outputs/small/report.json").write_text("[" * 200_000)
    assert place.run() == 0, place.err
    assert place.report().name == "small"


def test_export_makes_other_variants_without_training(
    finished: Workplace, copy: Copier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = copy(finished)
    known = place.folder / "outputs/small/search.json"
    known.write_text("[" * 200_000)
    assert place.distill("export", "outputs/small") == 2
    assert "small/search.json is damaged, or of another version of distill" in place.err
    known.unlink()
    monkeypatch.setattr("distill.training.train", None)
    assert place.distill("export", "outputs/small", "--variants", "fp32") == 0, place.err
    assert place.err.split("\n")[:2] == ["export of the teacher", "export of the student"]
    assert load(place.folder / "exports/small").variant == "fp32"
    assert place.distill("export", "outputs/small", "--variants", "int8", "--json") == 0
    assert {v["variant"] for v in json.loads(place.out)["variants"]} == {"fp32", "int8"}
    assert load(place.folder / "exports/small").variant == "int8"


@pytest.mark.parametrize(
    "error", [UserError("measuring took more than 600 s"), OSError("no memory to start a process")]
)
def test_measurement_that_fails_ends_no_run_and_is_tried_again(
    error: Exception, finished: Workplace, copy: Copier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(specification: object) -> str:
        raise error

    monkeypatch.setattr("distill.measure.launch._work", fail)
    place = copy(finished)
    assert place.run("measure.seconds=0.03") == 0, place.err
    assert f"measure the teacher in fp32: no figures ({error})" in place.err
    for variant in place.report().variants:
        assert variant.measurement is not None
        assert variant.measurement.latency_p50.how == "unavailable"
        assert variant.measurement.latency_p50.method == str(error)
        assert variant.measurement.file_size.value == pytest.approx(variant.file_bytes / 1e6)
    assert "times smaller" in place.out
    assert "times faster" not in place.out
    assert str(error) in (place.folder / "outputs/small/report.html").read_text(encoding="utf-8")
    assert load(place.folder / "exports/small")(["a gorgeous film"])
    monkeypatch.undo()
    assert place.run("measure.seconds=0.03") == 0, place.err
    assert all(variant.measurement.latency_p50.value for variant in place.report().variants)
    assert place.run("measure.seconds=0.03") == 0, place.err
    assert place.err.splitlines() == ["nothing has changed since the last run"]


def test_a_run_after_one_that_failed_late_leaves_its_own_files(
    finished: Workplace, copy: Copier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def left(place: Workplace) -> list[bytes]:
        paths = ("config.json", "student/model.safetensors", "test-statistics.npz")
        return [(place.folder / "outputs/small" / path).read_bytes() for path in paths]

    place = copy(finished)
    before = left(place)
    other = ("train.steps=5", "measure.enabled=false")
    with monkeypatch.context() as patch:
        patch.setattr("distill.stages.delivery.write_bundle_of", fail)
        assert place.run(*other) == 2
    assert place.run() == 0, place.err
    assert left(place) == before


@pytest.mark.slow
def test_two_runs_at_once_share_the_work(finished: Workplace, copy: Copier) -> None:
    place = copy(finished)
    arguments = ["run", "quickstart", *place.overrides, "measure.enabled=false", "train.clip=2", "arms=[linear,hard]"]
    both = [
        subprocess.Popen(
            [sys.executable, "-c", f"{START}sys.exit(main({[*arguments, f'name=run-{i}']!r}))"],
            cwd=place.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    told = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert sum(text.splitlines().count("student hard, seed 0, learning rate 0.003") for text in told) == 1
