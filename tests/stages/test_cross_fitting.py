"""Cross-fitting: which texts each teacher learnt, and from whom students learn which text."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stopped_training import CPU
from task_worlds import write_world

from distill import training
from distill.config import AugmentConfig, Config, MaskStep, build_config
from distill.errors import UserError
from distill.models import load_model
from distill.stages.artifacts import Artifact, Artifacts
from distill.stages.augmentation import augment_texts
from distill.stages.context import Lesson, Run, Signal, Texts, open_run, open_store
from distill.stages.cross_fitting import cross_fit, unknown_labels
from distill.stages.signal import LabelTexts, ask_teacher
from distill.stages.students import training_of
from distill.stages.teacher import TrainTeacher, prepare_teacher
from distill.stages.texts import prepare_student, read_data, read_texts
from distill.tasks.task import Task, sigmoid, softmax
from distill.text import Example
from distill.training import Problem, predict, state

COLUMNS: dict[str, dict[str, str]] = {
    "text-classification": {},
    "multi-label-classification": {"label": "labels"},
    "regression": {"text": "first", "pair": "second", "label": "score"},
    "token-classification": {"text": "words", "label": "tags"},
    "question-answering": {"text": "question", "pair": "context", "label": "answers"},
}
ARMS = {"question-answering": ["hard", "soft"], "regression": ["linear", "soft"]}
SMALL = {"layers": 1, "hidden_size": 16, "heads": 2, "intermediate_size": 32}


def recipe(folder: Path, task: str, folds: int, **data: Any) -> Config:
    """A teacher from nothing, a few steps old, on 40 labelled texts and 20 without labels."""
    if not (folder / "train.jsonl").exists():
        write_world(folder, task, 100)
    train = {"steps": 4, "batch_size": 8, "evaluations": 2, "learning_rates": [1e-2, 3e-2]}
    return build_config(
        {
            "name": "small",
            "recipe": "small",
            "data": {"train": {"path": str(folder)}, "labelled": 40, "max_length": 24, **COLUMNS[task], **data},
            "task": {"name": task},
            "tokenizer": {"name": "trained", "vocabulary_size": 200},
            "teacher": {"name": "transformer", "architecture": SMALL, "train": train, "tries": 2, "folds": folds},
            "student": {"name": "transformer", "architecture": SMALL},
            "objective": {"terms": [{"name": "mse"}]},
            "train": train,
            "arms": ARMS.get(task, ["linear", "soft", "pseudo+transfer"]),
            "seeds": [0],
            "teacher_floor": False,
            "device": "cpu",
            "precision": "fp32",
            "outputs": str(folder / "outputs"),
        }
    )


@dataclasses.dataclass
class Crossed:
    """A run up to its signal, with every training of a teacher and every stage that was asked for."""

    this: Run
    texts: Texts
    before: Signal
    signal: Signal
    trained: list[Problem]
    asked: list[tuple[Any, Artifact]]

    @property
    def folds(self) -> list[tuple[TrainTeacher, Artifact]]:
        """The trainings that left a fold out."""
        return [(one, made) for one, made in self.asked if isinstance(one, TrainTeacher) and one.without]


def crossed(config: Config) -> Crossed:
    """Runs it, and records."""
    trained: list[Problem] = []
    asked: list[tuple[Any, Artifact]] = []
    train, get = training.train, Artifacts.get

    def recorded(problem: Problem, *given: Any) -> Any:
        trained.append(problem)
        return train(problem, *given)

    def remembered(self: Artifacts, stage: Any) -> Artifact:
        artifact = get(self, stage)
        asked.append((stage, artifact))
        return artifact

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "train", recorded)
        patch.setattr(Artifacts, "get", remembered)
        this = open_run(config)
        texts = read_texts(this, read_data(this))
        teacher = prepare_teacher(this, texts)
        texts = augment_texts(this, texts, teacher)
        before = ask_teacher(this, texts, teacher)
        return Crossed(this, texts, before, cross_fit(this, texts, before), trained, asked)


def alone(model: Artifact, texts: Texts, examples: Sequence[Example]) -> list[Any]:
    """What a teacher says of some texts, asked about them and nothing else."""
    return predict(load_model(model.directory / "model", texts.task).model, texts.reading, texts.task, examples, CPU)


def probabilities(task: Task, logits: Any) -> Any:
    """Of one text; of a number the number."""
    if task.kind == "number":
        return logits
    return sigmoid(logits) if task.kind == "bernoulli" else softmax(logits, axis=0 if task.kind == "span" else -1)


@pytest.mark.parametrize(
    "task",
    [task if task == "text-classification" else pytest.param(task, marks=pytest.mark.slow) for task in COLUMNS],
)
def test_each_text_is_labelled_by_the_teacher_that_did_not_learn_it_and_others_by_the_mean(
    task: str, tmp_path: Path
) -> None:
    found = crossed(recipe(tmp_path, task, 3))
    train, transfer = found.texts.dataset.train, found.texts.dataset.transfer
    assert (len(train), len(transfer)) == (40, 20)
    *search, first, second, third = found.trained
    assert [list(problem.texts.examples) for problem in search] == [list(train)] * 3  # two rates, two tries
    chosen = next(p for p in search if (p.rate, p.seed) == _chosen(found))
    held = []
    for problem, (_, model) in zip((first, second, third), found.folds, strict=True):
        assert (problem.rate, problem.seed, problem.budget) == (chosen.rate, chosen.seed, chosen.budget)
        assert list(problem.validation.examples) == list(found.texts.dataset.validation)
        learnt = list(problem.texts.examples)
        left_out = [e for e in train if e not in learnt]
        assert len(learnt) + len(left_out) == 40
        assert 12 <= len(left_out) <= 15
        held.append((left_out, model))
    assert sorted(e.key for left_out, _ in held for e in left_out) == sorted(e.key for e in train)

    store = open_store(found.signal.answers)
    assert len(store) == 60
    for left_out, model in held:
        for e, expected in zip(left_out, alone(model, found.texts, left_out), strict=True):
            np.testing.assert_allclose(store[e], expected, atol=1e-6)
    of_each = [alone(model, found.texts, transfer) for _, model in held]
    for i, e in enumerate(transfer):
        mean = np.mean([probabilities(found.texts.task, said[i]) for said in of_each], axis=0)
        np.testing.assert_allclose(probabilities(found.texts.task, store[e]), mean, atol=1e-6)


def test_texts_that_were_made_are_labelled_by_the_mean(tmp_path: Path) -> None:
    made = AugmentConfig((MaskStep("mask"),))
    found = crossed(dataclasses.replace(recipe(tmp_path, "text-classification", 2), augment=made))
    augmented = found.texts.dataset.augmented
    assert len(augmented) > 10
    said = [softmax(np.array(alone(model, found.texts, augmented))) for _, model in found.folds]
    assert found.signal.answers is not None
    store = open_store(found.signal.answers)
    np.testing.assert_allclose(softmax(np.array([store[e] for e in augmented])), np.mean(said, axis=0), atol=1e-5)


def _chosen(found: Crossed) -> tuple[float, int]:
    stage = found.before.teacher.training
    assert isinstance(stage, TrainTeacher)
    return stage.rate, stage.seed


def test_the_teacher_itself_stays_the_one_trained_on_all_texts(tmp_path: Path) -> None:
    without = crossed(recipe(tmp_path, "text-classification", 1))
    assert without.signal is without.before
    assert without.signal.folds is None
    found = crossed(recipe(tmp_path, "text-classification", 3))
    assert len(found.trained) == 3  # the folds': the search is shared with the run without them
    assert found.signal.teacher.model == dataclasses.replace(without.signal.teacher.model, cost=_cost(found))
    for name in ("on_validation", "on_held_out", "validation_score", "task"):
        one, other = getattr(found.signal, name), getattr(without.signal, name)
        assert getattr(one, "identity", one) is not None
        if isinstance(one, Artifact):
            assert one.identity == other.identity
    assert found.signal.validation_score == without.signal.validation_score
    assert found.signal.answers.identity != without.signal.answers.identity


def _cost(found: Crossed) -> Any:
    assert found.signal.teacher.model is not None
    return found.signal.teacher.model.cost


def test_scores_are_those_of_the_labels_in_fold_and_out_of_fold(tmp_path: Path) -> None:
    found = crossed(recipe(tmp_path, "text-classification", 3))
    train, validation, task = found.texts.dataset.train, found.texts.dataset.validation, found.texts.task
    assert found.signal.folds is not None
    scores, answers = found.signal.folds.scores, open_store(found.signal.answers)
    teacher = found.signal.teacher.model
    assert teacher is not None

    def accuracy(units: Sequence[Any], examples: Sequence[Example]) -> float:
        return float(np.mean([task.labels[u[0].argmax()] == e.label for u, e in zip(units, examples, strict=True)]))

    mean = np.mean([[softmax(u) for u in alone(model, found.texts, validation)] for _, model in found.folds], axis=0)
    assert scores.folds == 3
    assert scores.out_of_fold == pytest.approx(accuracy([answers[e] for e in train], train))
    assert scores.in_fold == pytest.approx(accuracy(alone(teacher, found.texts, train), train))
    assert scores.validation == pytest.approx(accuracy(mean, validation))
    assert scores.teacher_validation == found.signal.validation_score
    named = [cost.stage for cost in found.signal.costs]
    rate, seed = _chosen(found)
    for fold in (1, 2, 3):
        assert f"teacher without fold {fold} of 3, seed {seed}, learning rate {rate:g}" in " ".join(named)
    asked = [stage for stage, _ in found.asked if isinstance(stage, LabelTexts)]
    assert sum(cost.stage.startswith("soft labels") for cost in found.signal.costs) == 2  # of each fold, and their mean
    assert len(asked) == 3 + 2 * 3  # the teacher on train, validation and test, and each fold's


def test_thresholds_of_pseudo_labels_are_those_of_the_mean_on_validation(tmp_path: Path) -> None:
    found = crossed(recipe(tmp_path, "multi-label-classification", 2))
    validation, task = found.texts.dataset.validation, found.texts.task
    of_each = [alone(model, found.texts, validation) for _, model in found.folds]
    mean = [np.mean([sigmoid(said[i]) for said in of_each], axis=0) for i in range(len(validation))]
    fitted = task.fit([np.log(p / (1 - p)).astype(np.float32) for p in mean], validation)
    assert found.signal.thresholds == pytest.approx(fitted.thresholds, abs=1e-5)
    assert found.signal.thresholds != found.signal.task.thresholds
    lesson = Lesson(prepare_student(found.this, found.texts, None), found.signal, None, None)
    for arm, thresholds in (("pseudo+transfer", found.signal.thresholds), ("soft", ())):
        stage = training_of(found.this, lesson, arm, 1e-2, 0)
        assert stage.thresholds == thresholds
        assert stage.signal == found.signal.answers


def test_groups_are_kept_together(tmp_path: Path) -> None:
    write_world(tmp_path, "text-classification", 100)
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    (tmp_path / "train.jsonl").write_text(
        "".join(json.dumps({**row, "film": f"film {i % 9}"}) + "\n" for i, row in enumerate(rows))
    )
    found = crossed(recipe(tmp_path, "text-classification", 3, group="film"))
    films = {e.group for e in found.texts.dataset.train}
    learnt = [{e.group for e in problem.texts.examples} for problem in found.trained[-3:]]
    assert all(one < films for one in learnt)
    held = [films - one for one in learnt]
    assert sorted(film for one in held for film in one) == sorted(films)


def test_folds_that_were_stopped_go_on_with_the_one_that_was_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
    expected = crossed(recipe(whole, "text-classification", 3))
    saves: list[int] = []
    save = state.State.save

    def killed(self: state.State, parts: Any) -> None:
        save(self, parts)
        saves.append(self.step)
        if len(saves) == 3 * 4 + 4 + 2:  # the search's trainings, the first fold's, and half of the second's
            raise KeyboardInterrupt

    config = recipe(stopped, "text-classification", 3)
    train = dataclasses.replace(config.teacher.train, checkpoint_seconds=-1)  # type: ignore[union-attr]
    config = dataclasses.replace(config, teacher=dataclasses.replace(config.teacher, train=train))
    with monkeypatch.context() as patch:
        patch.setattr(state.State, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            crossed(config)
        saves.clear()
        found = crossed(config)
    assert saves == [3, 4, 1, 2, 3, 4]
    for file in ("logits.npy", "keys.npy", "offsets.npy"):
        one, other = (
            (run.signal.answers.directory / "store" / file).read_bytes()  # type: ignore[union-attr]
            for run in (found, expected)
        )
        assert one == other


def test_too_few_texts_are_told_before_the_first_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"teacher\.folds is 41, but the labelled training texts are 40 texts"):
        read_data(open_run(recipe(tmp_path, "text-classification", 41)))


@pytest.mark.slow
def test_as_many_folds_as_texts_leave_one_out(tmp_path: Path) -> None:
    found = crossed(recipe(tmp_path, "text-classification", 8, labelled=8))
    assert [len(problem.texts.lengths) for problem in found.trained[-8:]] == [7] * 8


def test_a_label_that_no_other_fold_has_is_told() -> None:
    held, rest = [Example("a", label=("x", "y")), Example("b", label=("z",))], [Example("c", label=("x",))]
    assert unknown_labels(held, [*rest, *held], "fold 1 of 2") == []
    (warning,) = unknown_labels(held, rest, "fold 1 of 2")
    assert warning.startswith("no text outside of fold 1 of 2 has the label 'y', 'z': its teacher does not know it")
