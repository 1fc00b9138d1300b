"""Several teachers: each reads and learns for itself, and students learn from the mixture."""

import dataclasses
import json
import random
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from little_world import review, write_bert
from small_runs import SmallRun, config_of, run, teacher_in, texts_in
from stopped_training import problem_of

from distill.config import Config, PretrainedTeacher
from distill.errors import UserError
from distill.models import load_model
from distill.stages.artifacts import Artifact
from distill.stages.context import open_run
from distill.stages.ensemble import mix_teachers
from distill.stages.exporting import ExportModel
from distill.stages.students import TrainStudent
from distill.stages.teacher import TrainTeacher
from distill.stages.texts import read_data, read_texts
from distill.tasks.task import softmax
from distill.text import Example, Reading


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a tokenizer of other words, which cuts texts otherwise than the first one's."""
    generator = random.Random(3)
    texts = [review(generator)[0][::-1] for _ in range(50)]
    alphabet = " ".join("abcdefghijklmnopqrstuvwxyz0123456789,αβγδεζθλбджзцчщэբգդզթժլծ")
    return write_bert(tmp_path_factory.mktemp("second"), [*texts, alphabet], initializer_range=0.2)


def recipe(reviews: Path, folder: Path, teachers: Sequence[Path], **changes: Any) -> Config:
    """Teachers in these folders; students of a layer of the first."""
    train = {"steps": 6, "evaluations": 3, "batch_size": 16, "learning_rates": [2e-3]}
    first, *others = (teacher_in(one) | {"tries": 1, "train": train} for one in teachers)
    values = {
        "student": {"name": "layers", "layers": [1], "vocabulary": {"trim": True}},
        "arms": ["linear", "hard", "soft+transfer"],
        "ensemble": {"teachers": others, "weights": [1, 3]},
        "export": {"variants": ["fp32"]},
        "measure": {"enabled": False},
        "seeds": [0],
        "teacher": first,
    }
    return config_of(reviews, folder, "test A", **(values | changes))


@pytest.fixture(scope="module")
def now(reviews: Path, encoder: Path, second: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """A run with two teachers."""
    return run(recipe(reviews, tmp_path_factory.mktemp("ensemble"), [encoder, second]))


def said(model: Artifact, reading: Reading, task: Any, texts: Sequence[Example]) -> Any:
    """Probabilities [N, C], one text after the other, without padding, cut at the maximum length."""
    network = load_model(model.directory / "model", task).model.eval()
    rows = []
    for text in texts:
        ids = reading.tokenizer.encode(str(text.text)).ids
        if len(ids) > reading.max_length:
            ids = [*ids[: reading.max_length - 1], ids[-1]]
        with torch.no_grad():
            rows.append(network(input_ids=torch.tensor([ids])).logits[0].numpy())
    return softmax(np.stack(rows))


def stored(artifact: Artifact, texts: Sequence[Example]) -> Any:
    """Probabilities [N, C] of a soft-label store, by the place of its keys."""
    folder = artifact.directory / "store"
    keys = [key.tobytes() for key in np.load(folder / "keys.npy")]
    return softmax(np.stack([np.load(folder / "logits.npy")[keys.index(e.key)] for e in texts]))


def test_each_teacher_reads_with_its_own_tokenizer_and_learns_the_same_texts(now: SmallRun, second: Path) -> None:
    (one, _), (other, _) = now.of(TrainTeacher)
    assert isinstance(now.config.ensemble.teachers[0], type(other.model))
    assert other.model.source.path == str(second)  # type: ignore[union-attr]
    assert one.reading.identity != other.reading.identity
    assert other.texts.examples == one.texts.examples == now.values["read_data"].train
    assert other.validation.examples == now.values["read_data"].validation
    assert (len(one.students), other.students) == (1, ())
    assert other.reading.tokenizer.encode("a gorgeous film").ids != one.reading.tokenizer.encode("a gorgeous film").ids


def test_students_learn_from_the_weighted_mean_and_it_is_the_teacher_of_the_report(now: SmallRun) -> None:
    dataset, task = now.values["read_data"], now.values["read_texts"].task
    signal = now.values["mix_teachers"]
    (one, first), (other, second) = now.of(TrainTeacher)

    def mean(texts: Sequence[Example]) -> Any:
        told = [said(model, stage.reading, task, texts) for stage, model in ((one, first), (other, second))]
        assert np.abs(told[0] - told[1]).max() > 1e-2
        return (told[0] + 3 * told[1]) / 4

    def accuracy(probabilities: Any, texts: Sequence[Example]) -> float:
        return float(np.mean([task.labels[p.argmax()] == e.label for p, e in zip(probabilities, texts, strict=True)]))

    learnt = (*dataset.train, *dataset.transfer)
    for artifact, texts in (
        (signal.answers, learnt),
        (signal.on_validation, dataset.validation),
        (signal.on_held_out, dataset.test),
    ):
        np.testing.assert_allclose(stored(artifact, texts), mean(texts), atol=1e-5)
    soft = [stage for stage, _ in now.of(TrainStudent) if stage.arm == "soft+transfer"]
    assert {stage.signal for stage in soft} == {signal.answers}
    assert {stage.start for stage in soft} == {first}
    assert now.outcome is not None
    report = now.outcome.report
    row = next(arm for arm in report.arms if arm.name == "teacher")
    assert row.seeds[0].test == pytest.approx(accuracy(mean(dataset.test), dataset.test))
    assert row.seeds[0].validation == pytest.approx(accuracy(mean(dataset.validation), dataset.validation))
    sizes = [artifact.read("result.json")["parameters"] for artifact in (first, second)]
    assert row.parameters == sum(sizes)
    assert [tried.what.partition(":")[0] for tried in row.candidates] == ["teacher 1", "teacher 2"]


def test_a_training_that_diverges_names_the_settings_of_its_own_teacher(now: SmallRun, tmp_path: Path) -> None:
    problems = [problem_of(stage, tmp_path / str(i)) for i, (stage, _) in enumerate(now.of(TrainTeacher))]
    assert [(one.rate_key, one.clip_key) for one in problems] == [
        (f"{key}.train.learning_rates", f"{key}.train.clip") for key in ("teacher", "ensemble.teachers[0]")
    ]


def test_a_further_teacher_that_has_not_learnt_the_task_is_told_with_its_own_settings(now: SmallRun) -> None:
    this = open_run(dataclasses.replace(now.config, teacher_floor=True))
    asked = r"^teacher 2: the teacher is right on .*ensemble\.teachers\[0\]\.label_map\).*"
    with pytest.raises(UserError, match=asked) as refused:
        mix_teachers(this, now.values["read_texts"], now.values["ask_teacher"])
    assert "(ensemble.teachers[0].train.steps)" in str(refused.value)


def test_confidence_weighs_where_the_recipe_says_so(now: SmallRun) -> None:
    how = dataclasses.replace(now.config.ensemble, weights=(), by_confidence=True)
    this = open_run(dataclasses.replace(now.config, ensemble=how))
    texts = now.values["read_texts"]
    signal = mix_teachers(this, texts, now.values["ask_teacher"])
    validation = texts.dataset.validation
    told = np.stack([said(made, stage.reading, texts.task, validation) for stage, made in now.of(TrainTeacher)])
    sure = told.max(axis=-1, keepdims=True)
    wanted = (sure * told).sum(axis=0) / sure.sum(axis=0)
    np.testing.assert_allclose(stored(signal.on_validation, validation), wanted, atol=1e-5)
    assert np.abs(wanted - told.mean(axis=0)).max() > 1e-3
    assert signal.ensemble is not None
    assert (signal.ensemble.weights, signal.ensemble.by_confidence) == ((0.5, 0.5), True)


def test_the_report_says_who_is_mixed_and_measures_no_teacher(now: SmallRun, encoder: Path, second: Path) -> None:
    assert now.outcome is not None
    report = now.outcome.report
    found = report.ensemble
    assert found is not None
    assert (found.weights, found.by_confidence) == ((0.25, 0.75), False)
    for folder, source in zip((encoder, second), found.sources, strict=True):
        assert str(folder) in source
    assert list(found.scores) == [made.read("result.json")["validation"] for _, made in now.of(TrainTeacher)]
    assert str(encoder) in report.teacher_source
    assert str(second) in report.teacher_source
    assert {variant.model for variant in report.variants} == {"student"}
    assert [stage.who for stage, _ in now.of(ExportModel)] == ["teacher", "student"]  # whether its layers can be
    costs = [cost.stage for cost in report.costs]
    for number in (1, 2):
        own = [cost for cost in costs if cost.endswith(f"(teacher {number})")]
        assert [cost.partition(",")[0].partition(" of")[0] for cost in own] == ["teacher", "soft labels"]


def test_a_checkpoint_that_stands_there_twice_is_trained_from_other_seeds(
    reviews: Path, encoder: Path, second: Path, tmp_path: Path
) -> None:
    further = [teacher_in(folder) | {"tries": 1} for folder in (encoder, second, encoder)]
    augment = {"steps": [{"name": "masked_lm", "share": 0.4, "candidates": 15}]}
    config = recipe(reviews, tmp_path, [encoder], ensemble={"teachers": further}, augment=augment)
    assert config.augment.asks_masked_lm
    assert not any(other.augment.asks_masked_lm for other in config.others)  # the first teacher's checkpoint is asked
    assert isinstance(config.teacher, PretrainedTeacher)
    config = dataclasses.replace(config, teacher=dataclasses.replace(config.teacher, tries=2))
    assert [other.seeds for other in config.others] == [(2,), (0,), (3,)]
    assert tuple(other.teacher for other in config.others) == config.ensemble.teachers


def test_a_further_teacher_that_cannot_be_read_is_told_before_anything_is_trained(
    reviews: Path, encoder: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{}")
    this = open_run(recipe(reviews, tmp_path, [encoder, tmp_path / "broken"]))
    with pytest.raises(UserError, match="broken"):
        read_texts(this, read_data(this))


@pytest.mark.parametrize(
    ("labels", "changes", "labelled", "message"),
    [
        (("good", "bad"), {"fine_tune": "never"}, True, r"name them alike with ensemble\.teachers\[0\]\.label_map or"),
        (
            ("good", "bad"),
            {"label_map": {"god": "fresh"}},
            True,
            r"teachers\[0\]\.label_map names 'god', .*mean 'good'",
        ),
        (
            None,
            {"fine_tune": "never"},
            True,
            r"ensemble\.teachers\[0\]\.fine_tune is never, but .* has no head for text-",
        ),
        (None, {}, False, "the teacher is not fine-tuned and there are no labels to fine-tune it on; give"),
        ("weights", {}, True, r"lacks weights of Bert.*; ensemble\.teachers\[0\]\.fine_tune=always trains a new head"),
        (None, {}, True, None),
        (("rotten", "fresh"), {}, False, None),
        (("good", "bad"), {"label_map": {"good": "fresh", "bad": "rotten"}}, False, None),
    ],
)
def test_a_further_teacher_that_does_not_fit_the_task_is_told_with_its_own_key_before_anything_is_trained(
    reviews: Path, tmp_path: Path, labels: Any, changes: dict[str, Any], labelled: bool, message: str | None
) -> None:
    first = write_bert(tmp_path / "first", texts_in(reviews, "train"), ("fresh", "rotten"))
    other = write_bert(tmp_path / "other", texts_in(reviews, "train"), None if labels == "weights" else labels)
    if labels == "weights":  # an encoder whose configuration says that it is a classifier
        settings = json.loads((first / "config.json").read_text(encoding="utf-8"))
        (other / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    config = recipe(reviews, tmp_path, [first], ensemble={"teachers": [teacher_in(other) | changes]})
    if not labelled:
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, label=None))
    this = open_run(config)
    with nullcontext() if message is None else pytest.raises(UserError, match=f"^teacher 2: .*{message}"):
        read_texts(this, read_data(this))
