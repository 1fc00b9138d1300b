"""Texts are labelled shard by shard, by all runs that need the labels."""

import multiprocessing
import os
import random
import signal as signals
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from little_world import review
from tokenizers import Tokenizer

from distill import tasks
from distill.config import Architecture
from distill.data import Dataset
from distill.measure import EnergyMeter
from distill.models import build_transformer, save_model
from distill.results import Figure, StageCost
from distill.stages import signal
from distill.stages.artifacts import Artifact, Artifacts
from distill.stages.signal import LabelTexts
from distill.stages.tokens import ReadTexts, Tokens
from distill.text import Example, Reading
from distill.training.devices import Machine

CPU = Machine("cpu", "fp32", "as asked for", 1)
TASK = tasks.build("text-classification", ("fresh", "rotten"))
FILES = ("logits.npy", "keys.npy", "offsets.npy")
Label = Callable[[Path], Artifact]
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def label(encoder: Path, tmp_path: Path) -> Label:
    """Labels 90 texts under a folder of artifacts, some of them there twice."""
    reading = Reading(Tokenizer.from_file(str(encoder / "tokenizer.json")), 24)
    small = Architecture(layers=1, hidden_size=16, heads=2, intermediate_size=32)
    save_model(build_transformer(small, reading.tokenizer, {}, TASK, 24, 0), tmp_path / "teacher/model", 24)
    (tmp_path / "teacher/result.json").write_text('{"padding": ""}')
    teacher = Artifact(tmp_path / "teacher", "teacher", StageCost("", 0.0, Figure(0.0, "J", "estimated", "")))
    generator = random.Random(4)
    texts = tuple(Example(review(generator)[0]) for _ in range(80))
    part = Dataset((*texts, *texts[:10]), (), (), (), (), {}, "", "", ()).part("train")

    def get(folder: Path) -> Artifact:
        artifacts = Artifacts(folder, CPU, lambda: EnergyMeter("cpu", 1.0))
        read = Tokens(part, artifacts.get(ReadTexts(reading, TASK, part)))
        return artifacts.get(LabelTexts(teacher, reading, TASK, read, True))

    return get


def logged(monkeypatch: pytest.MonkeyPatch, log: Path, dies_at: int = -1) -> None:
    """Each shard is told in a file, and takes a while; the process dies before it keeps the one with that number."""
    save = signal.save_units_aside

    def slowly(file: Path, units: list[np.ndarray]) -> None:
        with log.open("a") as told:
            told.write(f"{file.name} {os.getpid()}\n")
        if len(log.read_text().splitlines()) == dies_at:
            os.kill(os.getpid(), signals.SIGKILL)
        time.sleep(0.3)
        save(file, units)

    monkeypatch.setattr(signal, "save_units_aside", slowly)


def test_shards_make_the_store_that_all_texts_together_make(
    label: Label, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = label(tmp_path / "whole").directory
    monkeypatch.setattr(signal, "SHARD", 40)
    found = label(tmp_path / "shards").directory
    for file in FILES[1:]:
        assert (found / "store" / file).read_bytes() == (whole / "store" / file).read_bytes()
    one, other = (np.load(folder / "store/logits.npy") for folder in (found, whole))
    assert one.shape == (80, 2)
    np.testing.assert_allclose(one, other, atol=1e-6)  # texts share batches with others
    assert sorted(path.name for path in found.iterdir()) == ["done.json", "store"]


def test_two_runs_share_the_shards_and_what_both_spent_is_told(
    label: Label, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "SHARD", 9)
    alone = label(tmp_path / "alone").directory
    logged(monkeypatch, tmp_path / "log")
    runs = [FORK.Process(target=label, args=(tmp_path / "both",)) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(120)
    assert [run.exitcode for run in runs] == [0, 0]
    done = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert len(done) == len({shard for shard, _ in done}) == 10
    by_run = Counter(pid for _, pid in done)
    assert sorted(by_run) == sorted(str(run.pid) for run in runs)
    assert min(by_run.values()) >= 3
    found = label(tmp_path / "both")
    for file in FILES:
        assert (found.directory / "store" / file).read_bytes() == (alone / "store" / file).read_bytes()
    assert sorted(path.name for path in found.directory.iterdir()) == ["done.json", "store"]
    assert not list((tmp_path / "both").glob("*.partial"))
    assert "sum of 2 stretches" in found.cost.energy.method
    assert found.cost.seconds > 10 * 0.3


def test_the_shard_of_a_run_that_was_killed_is_taken_over(
    label: Label, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "SHARD", 18)
    alone = label(tmp_path / "alone").directory
    logged(monkeypatch, tmp_path / "log", dies_at=4)
    runs = [FORK.Process(target=label, args=(tmp_path / "both",)) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(120)
    assert sorted(run.exitcode or 0 for run in runs) == [-signals.SIGKILL, 0]
    done = Counter(line.split()[0] for line in (tmp_path / "log").read_text().splitlines())
    assert sorted(done.values()) == [1, 1, 1, 1, 2]
    found = label(tmp_path / "both").directory
    for file in FILES:
        assert (found / "store" / file).read_bytes() == (alone / "store" / file).read_bytes()


def test_labels_that_were_stored_are_not_asked_for_again(
    label: Label, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = signal.shutil.rmtree

    def stopped(path: Path, **given: bool) -> None:
        if path.name == "used":
            raise KeyboardInterrupt
        remove(path, **given)

    alone = label(tmp_path / "alone").directory
    monkeypatch.setattr(signal.shutil, "rmtree", stopped)
    with pytest.raises(KeyboardInterrupt):
        label(tmp_path / "stopped")
    monkeypatch.setattr(signal.shutil, "rmtree", remove)
    logged(monkeypatch, tmp_path / "log")
    found = label(tmp_path / "stopped").directory
    assert not (tmp_path / "log").exists()
    for file in FILES:
        assert (found / "store" / file).read_bytes() == (alone / "store" / file).read_bytes()
    assert sorted(path.name for path in found.iterdir()) == ["done.json", "store"]
