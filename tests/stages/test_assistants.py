"""Assistants: who teaches whom, on which texts, and in what an arm with them differs from the one without."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import SmallRun, config_of, run, teacher_in

from distill.config import Config
from distill.models import load_model
from distill.stages.artifacts import Artifact, load_units
from distill.stages.comparison import AnswerLearnt
from distill.stages.context import Assistant
from distill.stages.students import TrainStudent
from distill.text import Example, Reading

ARMS = {"soft+assistant": "soft", "soft+transfer+assistant": "soft+transfer"}
"""Each arm with assistants, and its control."""


def recipe(reviews: Path, encoder: Path, folder: Path, test: str) -> Config:
    """The teacher's two layers, then an LSTM, then one layer."""
    trim = {"vocabulary": {"trim": True}}
    small = {"embedding_size": 16, "hidden_size": 16}
    return config_of(
        reviews,
        folder,
        test,
        teacher={**teacher_in(encoder), "tries": 1},
        student={"name": "layers", "layers": [1], **trim},
        assistant=[
            {"name": "layers", "count": 2, **trim},
            {"name": "recurrent", "architecture": small},
        ],
        arms=["linear", "hard", "soft", "soft+assistant", "soft+transfer", "soft+transfer+assistant"],
        export={"variants": ["fp32"]},
        measure={"enabled": False},
    )


@pytest.fixture(scope="module")
def runs(reviews: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallRun, SmallRun]:
    """With one test file, and with another."""
    folder = tmp_path_factory.mktemp("assistants")
    one, other = (run(recipe(reviews, encoder, folder, f"test {test}")) for test in "AB")
    return one, other


@pytest.fixture
def now(runs: tuple[SmallRun, SmallRun]) -> SmallRun:
    """The first of them."""
    return runs[0]


def said(model: Artifact, reading: Reading, task: Any, texts: Sequence[Example]) -> Any:
    """[N, C], one text after the other, without padding."""
    network = load_model(model.directory / "model", task).model.eval()
    rows = []
    for text in texts:
        ids = torch.tensor([reading.tokenizer.encode(str(text.text)).ids])
        with torch.no_grad():
            rows.append(network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].numpy())
    return np.stack(rows)


def stored(artifact: Artifact, texts: Sequence[Example]) -> Any:
    """[N, C] of a soft-label store, by the place of its keys."""
    folder = artifact.directory / "store"
    keys = [key.tobytes() for key in np.load(folder / "keys.npy")]
    return np.stack([np.load(folder / "logits.npy")[keys.index(e.key)] for e in texts])


def chain(run: SmallRun, arm: str) -> tuple[Assistant, ...]:
    found: tuple[Assistant, ...] = run.values["train_assistants"][arm]
    return found


@pytest.mark.parametrize("arm", ARMS)
def test_the_teacher_teaches_the_first_each_the_next_and_the_last_the_arm(now: SmallRun, arm: str) -> None:
    dataset, task = now.values["read_data"], now.values["read_texts"].task
    learnt = (*dataset.train, *(dataset.transfer if "transfer" in arm else ()))
    teacher = now.values["ask_teacher"].answers
    for number, (one, config) in enumerate(zip(chain(now, arm), now.config.assistant, strict=True), start=1):
        name = f"assistant {number} {ARMS[arm]}"
        trained = [stage for stage, _ in now.of(TrainStudent) if stage.who == name]
        assert [stage.rate for stage in trained] == list(now.config.train.learning_rates)
        for stage in trained:
            assert (stage.arm, stage.student, stage.seed) == (ARMS[arm], config, 0)
            assert stage.signal == teacher
            assert stage.texts.examples == learnt
            assert stage.reading.identity == one.texts.reading.identity
            assert stage.budget.steps == now.config.train.steps
            assert stage.what == f"{name}, seed 0, learning rate {stage.rate:g}"
        best = max(trained, key=lambda stage: float(_made(now, stage).read("result.json")["validation"]))
        assert one.arm.models == (_made(now, best),)
        again = said(one.arm.models[0], one.texts.reading, task, learnt)
        assert np.abs(np.diff(again, axis=0)).max() > 1e-4  # so a shifted row would show
        np.testing.assert_allclose(stored(one.answers, learnt), again, atol=1e-5)
        teacher = one.answers
    assert {stage.signal for stage, _ in now.of(TrainStudent) if stage.arm == arm} == {teacher}


def _made(run: SmallRun, stage: TrainStudent) -> Artifact:
    """What a stage left."""
    return next(artifact for own, artifact in run.asked if own is stage)


@pytest.mark.parametrize("arm", ARMS)
def test_the_arm_differs_from_its_control_in_whose_soft_labels_it_learns_from_alone(now: SmallRun, arm: str) -> None:
    own, control = (
        [stage for stage, _ in now.of(TrainStudent) if stage.arm == name and not stage.who] for name in (arm, ARMS[arm])
    )
    assert {stage.seed for stage in own} == {0, 1}
    starts = {(stage.rate, stage.seed): stage for stage in control}
    pairs = [(stage, starts[stage.rate, stage.seed]) for stage in own if (stage.rate, stage.seed) in starts]
    assert len(pairs) >= 2
    for stage, other in pairs:
        assert dataclasses.replace(stage, arm=other.arm, signal=other.signal) == other
        assert stage.start == now.values["prepare_teacher"].model
        assert stage.signal != other.signal


def test_the_report_has_a_row_for_each_assistant_and_compares_the_arm_with_its_control(now: SmallRun) -> None:
    assert now.outcome is not None
    report, test = now.outcome.report, now.values["read_data"].test
    task = now.values["read_texts"].task
    rows = {arm.name: arm for arm in report.arms}
    names = [f"assistant {i} {base}" for base in ARMS.values() for i in (1, 2)]
    assert list(rows) == ["linear", "teacher", *names, *(arm for arm in now.config.arms if arm != "linear")]
    for arm, base in ARMS.items():
        for number, one in enumerate(chain(now, arm), start=1):
            row, model = rows[f"assistant {number} {base}"], one.arm.models[0]
            logits = said(model, one.texts.reading, task, test)
            right = np.mean([task.labels[own.argmax()] == e.label for own, e in zip(logits, test, strict=True)])
            assert [seed.test for seed in row.seeds] == [pytest.approx(right)]
            assert row.parameters == model.read("result.json")["parameters"]
            assert row.budget == now.config.train.steps
            assert row.agreement is not None
        assert rows[f"assistant 2 {base}"].differs_in.endswith(f"of assistant 1; teaches {arm}")
        assert rows[f"assistant 1 {base}"].differs_in.endswith("of the teacher; teaches assistant 2")
        assert (arm, base) in {(one.arm, one.against) for one in report.contrasts}
        assert (arm, "hard") in {(one.arm, one.against) for one in report.contrasts if one.primary}
    assert report.exported_arm in now.config.arms
    costs = [cost.stage for cost in report.costs]
    assert [cost for cost in costs if "assistant" in cost and not cost.startswith("student")] == [
        cost for name in names for cost in (f"{name}: 2 trainings", f"soft labels of the {name}")
    ]


@pytest.mark.parametrize("arm", ARMS)
def test_agreement_on_what_was_learnt_is_with_the_assistant_that_taught(now: SmallRun, arm: str) -> None:
    assert now.outcome is not None
    trained = next(one for one in now.values["train_arms"] if one.name == arm)
    own, learnt = now.values["prepare_student"], trained.part.examples
    taught = stored(chain(now, arm)[-1].answers, learnt).argmax(1)
    answers = [said(model, own.reading, own.task, learnt).argmax(1) for model in trained.models]
    assert [row.agreement_learnt for row in now.outcome.report.arms if row.name == arm] == [
        pytest.approx(np.mean([(one == taught).mean() for one in answers]))
    ]


def test_students_are_asked_about_the_texts_that_they_learnt_from(now: SmallRun) -> None:
    asked = now.of(AnswerLearnt)
    assert {stage.who.partition(",")[0] for stage, _ in asked} == {name for pair in ARMS.items() for name in pair}
    for stage, artifact in asked:
        texts = [stage.texts.examples[place] for place in stage.places]
        logits = said(stage.model, stage.reading, stage.task, texts)
        assert np.abs(np.diff(logits, axis=0)).max() > 1e-4  # so a shifted row would show
        found = np.concatenate(load_units(artifact.directory / "answers.npz"))
        np.testing.assert_allclose(found, logits, atol=1e-5)


def test_no_assistant_depends_on_test(runs: tuple[SmallRun, SmallRun]) -> None:
    one, other = runs
    assert one.values["read_data"].test != other.values["read_data"].test
    for arm in ARMS:
        for own, same in zip(chain(one, arm), chain(other, arm), strict=True):
            assert own.arm.models[0].identity == same.arm.models[0].identity
            assert own.answers.identity == same.answers.identity
