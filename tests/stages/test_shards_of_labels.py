"""Texts are labelled shard by shard, by all runs that need the labels."""

import multiprocessing
import os
import random
import signal as signals
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from little_world import review
from sharded_labels import CLASSES, WRITES, stage_of, write_teachers
from tokenizers import Tokenizer

from distill import tasks
from distill.config import Architecture
from distill.data import Dataset
from distill.measure import EnergyMeter
from distill.models import build_transformer, save_model
from distill.results import Figure, StageCost
from distill.stages import sharding, signal
from distill.stages.artifacts import Artifact, Artifacts
from distill.stages.signal import LabelTexts
from distill.stages.tokens import ReadTexts, Tokens
from distill.tasks import Task
from distill.text import Encoded, Example, Reading, TokenStore
from distill.training.devices import Machine

CPU = Machine("cpu", "fp32", "as asked for", 1)
TASK = tasks.build("text-classification", ("fresh", "rotten"))
TEXT_TO_TEXT = tasks.build("text-to-text", ())
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


def made_by_two(label: Callable[[Path], Any], folder: Path) -> Counter[str]:
    """How often each shard was begun by two runs of which one is killed."""
    runs = [FORK.Process(target=label, args=(folder / "both",)) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(120)
    assert sorted(run.exitcode or 0 for run in runs) == [-signals.SIGKILL, 0]
    return Counter(line.split()[0] for line in (folder / "log").read_text().splitlines())


def test_the_shard_of_a_run_that_was_killed_is_taken_over(
    label: Label, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "SHARD", 18)
    alone = label(tmp_path / "alone").directory
    logged(monkeypatch, tmp_path / "log", dies_at=4)
    done = made_by_two(label, tmp_path)
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


def ids(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.int64)


def slices_of(folder: Path, task: Task, lengths: list[tuple[int, int]], to_learn: bool = True) -> list[tuple[int, int]]:
    """First and last text of each shard, by its name; of texts with so many tokens to read and to write."""
    examples = tuple(Example(str(i)) for i in range(len(lengths)))
    part = Dataset(examples, (), (), (), (), {}, "", "", ()).part("train")
    read = (Encoded(ids(n), ids(n), ids(0), False, target_ids=ids(written)) for n, written in lengths)
    TokenStore.write(folder / "tokens", read)
    artifact = Artifact(folder, "texts", StageCost("", 0.0, Figure(0.0, "J", "estimated", "")))
    reading: Any = None
    stage = LabelTexts(artifact, reading, task, Tokens(part, artifact), to_learn)
    found = stage.slices(CPU)
    for name, own in found.items():
        assert name == f"{own.start:012}-{own.stop - own.start}.npz"
    return [(own.start, min(own.stop, len(lengths))) for own in found.values()]


@pytest.mark.parametrize("writes", [False, True])
def test_a_shard_of_tokens_ends_where_it_has_enough_of_them(
    writes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "SHARD", 4)
    monkeypatch.setattr(sharding, "SHARD_TOKENS", 10)
    tokens = [3, 3, 4, 2, 4, 7, 3, 1, 30, 30, 2, 2, 10, 10]
    lengths = [(1, n) if writes else (n, 0) for n in tokens]
    task = TEXT_TO_TEXT if writes else WRITES
    found = slices_of(tmp_path / "tokens", task, lengths)
    assert found == [(0, 3), (3, 4), (4, 5), (5, 7), (7, 8), (8, 9), (9, 10), (10, 12), (12, 13), (13, 14)]
    by_texts = [(0, 4), (4, 8), (8, 12), (12, 14)]
    assert slices_of(tmp_path / "short", task, [(1, 1)] * 14) == by_texts
    assert slices_of(tmp_path / "three numbers a token", task, lengths, to_learn=False) == by_texts
    assert slices_of(tmp_path / "one answer a text", CLASSES, lengths) == by_texts


def test_shards_of_tokens_make_the_store_that_all_texts_together_make_also_where_a_run_is_killed(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_teachers(tmp_path, Tokenizer.from_file(str(encoder / "tokenizer.json")))

    def label(folder: Path) -> dict[str, np.ndarray]:
        artifacts = Artifacts(folder, CPU, lambda: EnergyMeter("cpu", 1.0))
        store = artifacts.get(stage_of(tmp_path, artifacts, "a language model", False)).directory / "store"
        return {name: np.load(store / name) for name in FILES}

    whole = label(tmp_path / "whole")
    monkeypatch.setattr(sharding, "SHARD_TOKENS", 30)
    alone = label(tmp_path / "alone")
    for name in FILES[1:]:
        np.testing.assert_array_equal(alone[name], whole[name])
    assert alone["logits.npy"].shape[1] == 65
    np.testing.assert_allclose(alone["logits.npy"], whole["logits.npy"], atol=1e-5)
    logged(monkeypatch, tmp_path / "log", dies_at=3)
    done = made_by_two(label, tmp_path)
    assert sorted(done.values()) == [1, 1, 1, 2]
    found = label(tmp_path / "both")
    for name in FILES:
        np.testing.assert_array_equal(found[name], alone[name])
