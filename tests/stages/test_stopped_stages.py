"""Stages that were stopped: they go on where they were, to the same bits, and say all that they cost."""

import dataclasses
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from little_world import review
from tokenizers import Tokenizer

from distill import tasks, training
from distill.config import (
    Architecture,
    LayersStudent,
    PretrainedTeacher,
    PretrainingConfig,
    Source,
    Vocabulary,
    build_config,
)
from distill.data import Dataset, Part
from distill.data.examples import texts_in
from distill.measure import EnergyMeter
from distill.models import build_transformer, save_model
from distill.results import Figure, StageCost
from distill.stages import signal
from distill.stages.artifacts import Artifact, Artifacts, digest_of, save_units
from distill.stages.pretraining import PretrainStudent, pretrain_student
from distill.stages.signal import LabelTexts, WriteTexts
from distill.stages.texts import MakeVocabulary
from distill.stages.tokens import ReadTexts, Tokens
from distill.text import Example, Reading, Target, train_tokenizer
from distill.training import Answers, loop, state
from distill.training.devices import Machine

CPU = Machine("cpu", "fp32", "as asked for", 1)


@pytest.fixture
def reading(encoder: Path) -> Reading:
    return Reading(Tokenizer.from_file(str(encoder / "tokenizer.json")), 24)


def artifacts_in(folder: Path) -> Artifacts:
    return Artifacts(folder, CPU, lambda: EnergyMeter("cpu", 1.0))


def texts(count: int) -> Part:
    generator = random.Random(4)
    examples = tuple(Example(review(generator)[0]) for _ in range(count))
    return Dataset(examples, (), (), (), (), {}, "", "", ()).part("train", "validation", "test")


@pytest.mark.parametrize("tokens", [200, 500])
def test_labels_go_on_behind_those_that_were_written(
    reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    """Where batches are of another size then, as for another number of processes, answers are none of theirs."""
    task = tasks.build("text-classification", ("fresh", "rotten"))
    small = Architecture(layers=1, hidden_size=16, heads=2, intermediate_size=32)
    save_model(build_transformer(small, reading.tokenizer, {}, task, 24, 0), tmp_path / "teacher/model", 24)
    (tmp_path / "teacher/result.json").write_text('{"padding": ""}')
    teacher = Artifact(tmp_path / "teacher", "teacher", StageCost("", 0.0, Figure(0.0, "J", "estimated", "")))
    monkeypatch.setattr(loop, "TOKENS", 200)
    monkeypatch.setattr(state, "ANSWERS_SECONDS", -1)
    saves: list[int] = []
    save = Answers.save

    def counted(answers: Answers) -> None:
        save(answers)
        saves.append(len(answers.files))
        if len(saves) == 3:
            raise KeyboardInterrupt

    def label(artifacts: Artifacts) -> Artifact:
        part = texts(80)
        return artifacts.get(
            LabelTexts(teacher, reading, task, Tokens(part, artifacts.get(ReadTexts(reading, task, part))), True)
        )

    whole = label(artifacts_in(tmp_path / "whole"))
    monkeypatch.setattr(Answers, "save", counted)
    artifacts = artifacts_in(tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        label(artifacts)
    monkeypatch.setattr(loop, "TOKENS", tokens)
    found = label(artifacts)
    if tokens == 200:
        assert saves == list(range(1, saves[-1] + 1))  # no batch a second time
        assert saves[-1] > 4
    else:
        assert saves[3:] == list(range(1, len(saves) - 2))
    one, other = (np.load(artifact.directory / "store/logits.npy") for artifact in (found, whole))
    np.testing.assert_allclose(one, other, atol=1e-6 if tokens != 200 else 0, rtol=0)
    for file in ("keys.npy", "offsets.npy"):
        assert (found.directory / "store" / file).read_bytes() == (whole.directory / "store" / file).read_bytes()
    assert sorted(path.name for path in found.directory.iterdir()) == ["done.json", "store"]
    assert "sum of 2 stretches" in found.cost.energy.method
    assert "stretches" not in whole.cost.energy.method


def test_a_pretraining_that_was_stopped_does_not_train_the_teacher_again(
    encoder: Path, reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = texts(60)
    stage = PretrainStudent(
        PretrainedTeacher("pretrained", Source(path=str(encoder))),
        LayersStudent("layers", layers=(1,), pretraining=PretrainingConfig(batch_size=8, max_length=16)),
        0,
        reading,
        part,
        part.whole.part("validation", "test"),
        tokens=96,
        checkpoint_seconds=7.0,
    )
    trained: list[str] = []
    train = training.train

    def stopped_once(problem: Any, *given: Any) -> Any:
        trained.append(problem.what)
        assert (problem.budget.tokens, problem.budget.checkpoint_seconds) == (96, 7)
        if len(trained) == 4:
            raise InterruptedError
        return train(problem, *given)

    monkeypatch.setattr("distill.training.train", stopped_once)
    whole = artifacts_in(tmp_path / "whole").get(stage)
    artifacts = artifacts_in(tmp_path / "stopped")
    with pytest.raises(InterruptedError):
        artifacts.get(stage)
    found = artifacts.get(stage)
    teacher, student = "the teacher learns to find masked tokens", "pretraining of the student"
    assert trained == [teacher, student, teacher, student, student]
    assert found.read("result.json") == whole.read("result.json")
    weights = "model/model.safetensors"
    assert (found.directory / weights).read_bytes() == (whole.directory / weights).read_bytes()
    assert sorted(path.name for path in found.directory.iterdir()) == ["done.json", "model", "result.json"]


def test_a_pretraining_has_forward_passes_and_checkpoints_of_the_recipe() -> None:
    base: dict[str, Any] = {
        "name": "x",
        "recipe": "x",
        "data": {},
        "student": {"name": "layers", "start": "checkpoint"},
    }
    base["teacher"] = {"name": "pretrained", "source": {"hub": "a/b"}}
    train = {"tokens": 512, "checkpoint_seconds": 7}
    config = build_config({**base, "arms": ["linear", "hard", "pretrained"], "train": train})
    this: Any = SimpleNamespace(config=config, artifacts=SimpleNamespace(get=lambda stage: stage))
    part = texts(3)
    read: Any = SimpleNamespace(reading=None, training=part, dataset=part.whole)
    found: Any = pretrain_student(this, read)
    assert (found.tokens, found.checkpoint_seconds) == (512, 7)


def test_texts_that_were_written_are_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [Example(f"a cat {i}", label=Target(f"{i}: cat")) for i in range(25)]
    part = Dataset(tuple(pairs), (), (), (), (), {}, "", "", ()).part("train")
    tokenizer = train_tokenizer([Example(text) for e in pairs for text in texts_in(e)], 300, "bpe")
    task, own = tasks.build("text-to-text", ()), Reading(tokenizer, 12)
    small = Architecture(layers=1, hidden_size=16, heads=2, intermediate_size=32)
    save_model(build_transformer(small, tokenizer, {}, task, 12, 0), tmp_path / "teacher/model", 12)
    (tmp_path / "teacher/result.json").write_text('{"padding": ""}')
    teacher = Artifact(tmp_path / "teacher", "teacher", StageCost("", 0.0, Figure(0.0, "J", "estimated", "")))
    monkeypatch.setattr(signal, "TOGETHER", 10)
    kept: list[str] = []

    def counted(file: Path, units: Any) -> None:
        save_units(file, units)
        kept.append(file.name)
        if len(kept) == 2:
            raise KeyboardInterrupt

    def write(artifacts: Artifacts) -> Artifact:
        read = Tokens(part, artifacts.get(ReadTexts(own, task, part)))
        return artifacts.get(WriteTexts(teacher, own, task, read))

    whole = write(artifacts_in(tmp_path / "whole"))
    monkeypatch.setattr(signal, "save_units_aside", counted)
    artifacts = artifacts_in(tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        write(artifacts)
    found = write(artifacts)
    assert kept == ["000000000.npz", "000000010.npz", "000000020.npz"]
    for file in ("logits.npy", "keys.npy", "offsets.npy"):
        assert (found.directory / "store" / file).read_bytes() == (whole.directory / "store" / file).read_bytes()
    assert sorted(path.name for path in found.directory.iterdir()) == ["done.json", "store"]


def test_a_vocabulary_is_told_by_its_pieces(reading: Reading, tmp_path: Path) -> None:
    """As of texts that were spliced together: what a student learnt with the same pieces holds."""
    halves, artifacts = ["the cast is", "dull and dreary"], artifacts_in(tmp_path)

    def pieces_of(*texts: str) -> Artifact:
        part = Dataset(tuple(map(Example, texts)), (), (), (), (), {}, "", "", ()).part("train")
        return artifacts.get(MakeVocabulary(Vocabulary(trim=True), reading, part, None))

    first, spliced, other = pieces_of(*halves), pieces_of(*halves, "the cast is dreary"), pieces_of(halves[0])
    assert first.directory != spliced.directory
    assert first.identity == spliced.identity != other.identity
    assert pieces_of(*halves) == dataclasses.replace(first, cost=dataclasses.replace(first.cost, cached=True))
    folder = spliced.directory / "reading"
    before = digest_of(folder)
    assert before == digest_of(first.directory / "reading") != digest_of(other.directory / "reading")
    largest = max(folder.iterdir(), key=lambda file: file.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])
    assert digest_of(folder) != before
