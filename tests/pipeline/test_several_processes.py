"""A whole run under several processes: it makes what one does, and says it once; an error ends all with one message."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from little_world import write_bert
from pyarrow import parquet
from workplace import Workplace

from distill.results import Report, from_json

HERE = Path(__file__).parent
SECONDS = 600
"""A run that takes longer hangs."""


def launch(place: Workplace, processes: int, *overrides: str, how: str = "whole") -> subprocess.CompletedProcess[str]:
    """The run of ``place`` under torch's own launcher: without GPUs ``accelerate launch`` starts one process."""
    script = [str(HERE / "one_of_several.py"), how, "run", "quickstart", *place.overrides, *overrides]
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), *script],
        cwd=place.folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def errors(launched: subprocess.CompletedProcess[str]) -> list[str]:
    return re.findall(r"^error: (.*)$", launched.stderr, re.MULTILINE)


def results(place: Workplace, outputs: str) -> dict[str, np.ndarray]:
    """What is right and wrong on test, by arm; how trainings went; logits of teacher and students on every text."""
    with np.load(place.folder / outputs / "small" / "test-statistics.npz") as stored:
        found = {f"{arm} on test": stored[arm] for arm in stored}
    report = from_json(Report, (place.folder / outputs / "small" / "report.json").read_text(encoding="utf-8"))
    for arm in report.arms:
        for i, seed in enumerate(arm.seeds):
            points = [(p.step, p.train_loss, p.validation) for p in seed.curve]
            found[f"training {i} of {arm.name}"] = np.array([(seed.best_step, seed.validation, seed.test), *points])
    labels = (place.folder / outputs / "artifacts").glob("soft-labels-*/store/logits.npy")
    streamed = (place.folder / outputs / "artifacts").glob("stream-labels-*/logits.npy")
    for path in (*labels, *streamed):
        found[path.relative_to(place.folder / outputs).as_posix()] = np.load(path)
    for path in (place.folder / outputs / "artifacts").glob("test-answers-*/test.npz"):
        with np.load(path) as stored:
            found[path.parent.name] = stored["logits"]
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, overlay: list[str], reviews_csv: Path) -> Workplace:
    """A run by one process, without dropout, where nothing is random but what the seed says."""
    folder = tmp_path_factory.mktemp("alone")
    texts = [line.split(",")[0] for line in reviews_csv.read_text(encoding="utf-8").splitlines()[1:]]
    write_bert(folder / "teacher", texts, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    small = [
        *overlay,
        "teacher.source.path=teacher",
        "teacher.train.steps=40",
        "teacher.train.learning_rates=[5e-3]",
        "train.steps=30",
        "train.learning_rates=[5e-3]",
        "seeds=[0]",
        "arms=[linear,soft]",
        "student.count=1",
        "export.variants=[fp32]",
        "measure.enabled=false",
        "device=cpu",
        "precision=fp32",
        "name=small",
    ]
    place = Workplace(folder, small)
    assert place.run() == 0, place.err
    return place


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_make_what_one_does(alone: Workplace, processes: int) -> None:
    launched = launch(alone, processes, f"outputs=of-{processes}", f"exports=exports-of-{processes}")
    assert launched.returncode == 0, launched.stderr[-3000:]
    expected, found = results(alone, "outputs"), results(alone, f"of-{processes}")
    assert expected.keys() == found.keys()
    assert len(expected) == 10
    for what, values in expected.items():
        np.testing.assert_allclose(found[what], values, atol=1e-5, rtol=1e-5, err_msg=what)
    # said once, by the main process
    assert launched.stdout.count("bundle: ") == launched.stdout.count("small · text-classification") == 1
    assert launched.stderr.count("student soft, seed 0") == launched.stderr.count("linear floor\n") == 1
    assert sorted(re.findall(r"rank \d ends with \d", launched.stderr)) == [
        f"rank {rank} ends with 0" for rank in range(processes)
    ]
    assert alone.distill("predict", f"exports-of-{processes}/small", "a witty film") == 0, alone.err


@pytest.mark.slow
def test_several_processes_keep_and_read_the_states_that_one_does(alone: Workplace) -> None:
    inside = ["objective=minilmv2", "objective.states_gb=1"]
    assert alone.run(*inside, "outputs=inside-1", "exports=exports-inside-1") == 0, alone.err
    launched = launch(alone, 2, *inside, "outputs=inside-2", "exports=exports-inside-2")
    assert launched.returncode == 0, launched.stderr[-3000:]
    assert launched.stderr.count("within objective.states_gb=1: kept on the disk") == 1
    expected, found = results(alone, "inside-1"), results(alone, "inside-2")
    for outputs, values in (("inside-1", expected), ("inside-2", found)):
        (store,) = (alone.folder / outputs / "artifacts").glob("states-*/store")
        values["states"] = np.concatenate([np.load(file) for file in sorted(store.glob("[0-9]*.npy"))])
    assert expected.keys() == found.keys()
    for what, values in expected.items():
        rounded = 2e-3 if what == "states" else 1e-4
        np.testing.assert_allclose(found[what], values, atol=rounded, rtol=rounded, err_msg=what)


@pytest.mark.slow
def test_a_teacher_that_is_spread_over_processes_teaches_as_a_whole_one(
    alone: Workplace, permuted: Path, tmp_path: Path
) -> None:
    texts = [f"a witty film and part {i} of a tender story" for i in range(33)]
    (tmp_path / "stream").mkdir()
    parquet.write_table(pyarrow.table({"text": texts}), tmp_path / "stream/x.parquet")
    still = shutil.copytree(permuted, tmp_path / "teacher") / "config.json"  # whose students have no dropout
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    still.write_text(json.dumps({**json.loads(still.read_text()), **none}))
    teacher = [f"teacher.source.path={still.parent}", "teacher.fine_tune=never"]
    whole = [*teacher, f"+data.stream.path={tmp_path}/stream", "arms=[linear,soft,soft+transfer]"]
    assert alone.run(*whole, "outputs=whole", "exports=exports-whole") == 0, alone.err
    sharded = [*whole, "teacher.sharded=true", "outputs=sharded", "exports=exports-sharded"]
    assert alone.run(*sharded) == 2
    assert "teacher.sharded is true, but this run has one process" in alone.err
    launched = launch(alone, 2, *sharded, how="told")
    assert launched.returncode == 0, launched.stderr[-3000:]
    for rank in range(2):  # on the training texts, validation, test, and the stream
        assert launched.stderr.count(f"rank {rank} has a part of a teacher") == 4
    expected, found = results(alone, "whole"), results(alone, "sharded")
    assert expected.keys() == found.keys()
    assert any(what.startswith("artifacts/stream-labels-") for what in found)
    for what, values in expected.items():
        np.testing.assert_allclose(found[what], values, atol=1e-5, rtol=1e-5, err_msg=what)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "overrides", "words"),
    [
        ("whole", ["train.stepz=3"], "did you mean 'steps'"),  # all meet it, before they have found each other
        ("whole", ["teacher_floor=true", "teacher.train.steps=1"], "teacher"),  # all meet it, on the way
        ("whole", ["data.max_length=1000"], "reads at most"),  # the main process alone, while the others wait
        ("refused", ["outputs=refused"], "rank 1 met an error of its own"),  # another, while the main one waits
        ("killed", ["outputs=killed"], "no longer answers"),
    ],
)
def test_an_error_ends_the_run_with_one_message(alone: Workplace, how: str, overrides: list[str], words: str) -> None:
    launched = launch(alone, 3, *overrides, how=how)  # raises TimeoutExpired where one waits for ever
    assert launched.returncode != 0
    assert "bundle: " not in launched.stdout
    if how == "killed" and not errors(launched):  # the launcher ended the others before they noticed
        assert "SIGKILL" in launched.stderr
        return
    assert len(errors(launched)) == 1, launched.stderr[-5000:]
    assert words in errors(launched)[0]
    statuses = re.findall(r"rank \d ends with (\d+)", launched.stderr)
    assert set(statuses) == {"2"}
