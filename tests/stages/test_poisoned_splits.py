"""Nothing that is trained, trimmed or chosen depends on test: with another test file all of it is the same to the bit.

Validation and test are poisoned: their texts hold characters that occur nowhere else, and each is longer than any that
is trained on. The labels of test file B are the other ones than those of A, so that what is best on A is worst on B.
"""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import LETTERS, SmallRun, words_of
from tokenizers import Tokenizer

from distill.config import LayersStudent, PretrainedTeacher, PretrainingConfig, Source
from distill.stages.artifacts import Artifact, Artifacts
from distill.stages.context import Run
from distill.stages.exporting import ExportModel
from distill.stages.floor import FitLinear
from distill.stages.pretraining import pretrain_student
from distill.stages.signal import LabelTexts
from distill.stages.stage import Stage
from distill.stages.students import TrainStudent
from distill.stages.teacher import TrainTeacher
from distill.stages.texts import MakeReading, MakeVocabulary
from distill.stages.tokens import ReadTexts
from distill.text import Reading
from distill.training.devices import Machine

Pair = tuple[SmallRun, SmallRun]
POISON = set("".join(LETTERS.values()))
BEFORE_TEST = (MakeReading, MakeVocabulary, ReadTexts, TrainTeacher, LabelTexts, TrainStudent, FitLinear, ExportModel)
"""Stages whose results hang on nothing in test, but for answers to it."""


def left_before_test(run: SmallRun) -> list[tuple[str, Stage, Artifact]]:
    """Every stage that is to be the same, with a name that tells it from the others of the run."""
    found = []
    for number, (stage, artifact) in enumerate(run.asked):
        if isinstance(stage, BEFORE_TEST) and "test" not in getattr(getattr(stage, "texts", None), "splits", ()):
            found.append((f"{number} {stage.what}", stage, artifact))
    return found


def files_of(artifact: Artifact) -> dict[str, Any]:
    """What an artifact holds, without what tells the time, and without the floor's answers on test."""
    found: dict[str, Any] = {}
    for path in sorted(artifact.directory.rglob("*")):
        name = path.relative_to(artifact.directory).as_posix()
        if path.name == "result.json":
            result = json.loads(path.read_text(encoding="utf-8"))
            found[name] = {key: value for key, value in result.items() if key != "seconds"}
        elif path.is_file() and name not in ("done.json", "test.npz"):
            found[name] = path.read_bytes()
    return found


def test_every_file_before_test_is_the_same_with_another_test_file(both: Pair) -> None:
    a, b = (left_before_test(run) for run in both)
    assert [name for name, *_ in a] == [name for name, *_ in b]
    assert {type(stage) for _, stage, _ in a} == set(BEFORE_TEST)
    for (name, stage, of_a), (_, _, of_b) in zip(a, b, strict=True):
        assert of_a.directory != of_b.directory
        if not isinstance(stage, FitLinear):  # which answers test, too
            assert of_a.identity == of_b.identity, name
        files_a, files_b = files_of(of_a), files_of(of_b)
        assert files_a.keys() == files_b.keys(), name
        assert [file for file in files_a if files_a[file] != files_b[file]] == [], name


def test_files_that_matter_are_among_those_compared(both: Pair) -> None:
    compared = {Path(name).name for _, _, artifact in left_before_test(both[0]) for name in files_of(artifact)}
    wanted = {"model.safetensors", "tokenizer.json", "reading.json", "logits.npy", "keys.npy", "result.json"}
    assert compared >= wanted | {"model.onnx", "exported.json"}
    if "int8_static" in both[0].config.export.variants:  # whose ranges are learnt from texts
        assert "model_int8_static.onnx" in compared


def test_choices_are_the_same_with_another_test_file(both: Pair) -> None:
    a, b = (choices_of(run) for run in both)
    assert a == b


def choices_of(run: SmallRun) -> dict[str, Any]:
    """Rates, steps, thresholds, and what is exported and shipped."""
    chosen, signal = run.values["choose"], run.values["ask_teacher"]
    return {
        "teacher": (signal.task.section(), signal.validation_score, signal.teacher.candidates),
        "arms": [
            (arm.name, arm.learning_rate, arm.candidates, [{**result, "seconds": 0} for result in arm.results])
            for arm in run.values["train_arms"]
        ],
        "exported": (chosen.arm.name, chosen.index, chosen.thresholds),
        "shipped": [(v.model, v.variant, v.shipped, v.gate) for v in run.values["variant_results"]],
    }


def test_the_test_files_told_the_models_apart(both: Pair) -> None:
    """Else the tests above would not see what is chosen by test."""
    scores = [
        [one.test for arm in run.outcome.report.arms for one in arm.seeds] for run in both if run.outcome is not None
    ]
    assert len(set(scores[0])) > 1
    assert scores[0] != scores[1]


def test_no_character_of_validation_or_test_is_in_a_vocabulary_that_was_trained(
    of_trained_tokenizer: Pair, of_labels: Pair
) -> None:
    for run in (*of_trained_tokenizer, *of_labels):
        pieces = vocabulary(run.values["prepare_student"].reading.tokenizer)
        assert "film" in pieces
        assert not [piece for piece in pieces if POISON & set(piece)]


def test_no_word_of_validation_or_test_outlives_trimming(of_layers: Pair) -> None:
    for run in of_layers:
        before = vocabulary(run.values["read_texts"].reading.tokenizer)
        after = vocabulary(run.values["prepare_student"].reading.tokenizer)
        assert {word for letters in LETTERS.values() for word in words_of(letters)} <= set(before)
        assert "film" in after
        # single characters are kept, so that any word can be spelt
        assert not [piece for piece in after if POISON & set(piece) and len(piece.removeprefix("##")) > 1]


def vocabulary(tokenizer: Tokenizer) -> list[str]:
    """All pieces."""
    return list(tokenizer.get_vocab(with_added_tokens=True))


def test_signal_that_students_learn_from_has_the_training_texts_alone(both: Pair) -> None:
    for run in both:
        dataset, signal = run.values["read_data"], run.values["ask_teacher"]
        keys = np.load(signal.answers.directory / "store" / "keys.npy")
        assert {key.tobytes() for key in keys} == {e.key for e in (*dataset.train, *dataset.transfer)}
        assert not any(POISON & set(e.text) for e in (*dataset.train, *dataset.transfer))


def test_maximum_length_is_that_of_the_training_texts(both: Pair) -> None:
    run = both[0]
    dataset = run.values["read_data"]
    for stage, artifact in run.of(MakeReading):
        reading = Reading.load(artifact.directory / "reading")
        free = Tokenizer.from_str(reading.tokenizer.to_str())
        free.no_truncation()
        lengths = sorted(len(free.encode(e.text).ids) for e in (*dataset.train, *dataset.transfer))
        assert lengths[-1] < min(len(free.encode(e.text).ids) for e in (*dataset.validation, *dataset.test))
        assert reading.max_length == max(16, math.ceil(np.percentile(lengths, 99))), stage.what


def test_pretraining_is_the_same_with_another_test_file(of_layers: Pair, tmp_path: Path) -> None:
    """Texts of validation and test are not learnt on even where the corpus holds them, and change nothing else."""
    settings = PretrainingConfig(epochs=1, teacher_epochs=1, batch_size=64, max_length=16)
    left = []
    for letter, run in zip("AB", of_layers, strict=True):
        assert isinstance(run.config.teacher, PretrainedTeacher)
        student = LayersStudent("layers", (1,), pretraining=settings)
        this = Run(
            dataclasses.replace(
                run.config, student=student, arms=("hard", "pretrained"), outputs=str(tmp_path / letter)
            ),
            Machine("cpu", "fp32", "as asked for", 1),
        )
        artifact = pretrain_student(this, run.values["read_texts"])
        assert artifact is not None
        left.append(files_of(artifact))
    assert left[0] == left[1]
    assert any(name.endswith("model.safetensors") for name in left[0])


def test_pretraining_leaves_out_held_out_texts_of_the_corpus(
    of_layers: Pair, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = of_layers[0]
    corpora = tuple(Source(path=str(reviews / f"{split}.jsonl")) for split in ("train", "validation", "test A"))
    student = LayersStudent("layers", (1,), pretraining=PretrainingConfig(corpora))
    config = dataclasses.replace(run.config, student=student, arms=("hard", "pretrained"))
    asked: list[Any] = []
    monkeypatch.setattr(Artifacts, "get", lambda self, stage: asked.append(stage))
    pretrain_student(Run(config, Machine("cpu", "fp32", "", 1)), run.values["read_texts"])
    (stage,) = asked
    found: list[Any] = []

    def stop(problem: Any, *others: Any) -> None:
        found.append(problem)
        raise StopIteration

    monkeypatch.setattr("distill.training.train", stop)
    with pytest.raises(StopIteration):
        stage.compute(tmp_path, Machine("cpu", "fp32", "", 1))
    of_teacher = run.values["read_texts"].reading.tokenizer
    poison = {of_teacher.token_to_id(word) for letters in LETTERS.values() for word in words_of(letters)}
    ids = {int(i) for encoded in found[0].texts.encoded for i in encoded.input_ids}
    assert len(found[0].texts.encoded) > 50
    assert not poison & ids
