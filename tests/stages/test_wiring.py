"""What stages compute with: small runs, whose every file is computed a second time by a few lines of plain code."""

import dataclasses
import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from small_runs import SmallRun
from stopped_training import problem_of
from tokenizers import Tokenizer

from distill.config import (
    HardTerm,
    HiddenTerm,
    KlTerm,
    LayersStudent,
    ObjectiveConfig,
    PretrainedTeacher,
    RelationsTerm,
)
from distill.errors import UserError
from distill.models import load_model
from distill.stages.artifacts import Artifact, load_units
from distill.stages.comparison import AnswerHeldOut
from distill.stages.context import Lesson, TrainedArm, open_run
from distill.stages.exporting import AnswerByGraph, ExportModel
from distill.stages.students import TrainStudent, training_of
from distill.stages.teacher import TrainTeacher
from distill.tasks import Task
from distill.text import Example, Reading
from distill.training import Problem

Pair = tuple[SmallRun, SmallRun]
Logits = NDArray[np.float32]


def by_torch(model: Artifact, task: Task, reading: Reading, texts: Sequence[Example]) -> Logits:
    """[N, C], one text after the other, without padding."""
    network = load_model(model.directory / "model", task).model.eval()
    network.to(torch.float32)
    rows = []
    for text in texts:
        ids = torch.tensor([reading.tokenizer.encode(str(text.text)).ids])
        with torch.no_grad():
            rows.append(network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].numpy())
    return np.stack(rows)


def by_graph(file: Path, token_ids: Sequence[Sequence[int]]) -> Logits:
    """[N, C], one text after the other."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    rows = []
    for ids in token_ids:
        whole = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), dtype=np.int64)}
        whole["token_type_ids"] = np.zeros_like(whole["input_ids"])
        rows.append(session.run(None, {one.name: whole[one.name] for one in session.get_inputs()})[0][0])
    return np.stack(rows)


def accuracy(logits: Logits, examples: Sequence[Example], task: Task) -> float:
    """Of a classifier."""
    return float(np.mean([task.labels[row.argmax()] == e.label for row, e in zip(logits, examples, strict=True)]))


def stored(artifact: Artifact, examples: Sequence[Example]) -> Logits:
    """[N, C] of a soft-label store, by the place of its keys."""
    folder = artifact.directory / "store"
    keys = [key.tobytes() for key in np.load(folder / "keys.npy")]
    logits = np.load(folder / "logits.npy")
    return np.stack([logits[keys.index(e.key)] for e in examples])


def arms_of(run: SmallRun) -> dict[str, TrainedArm]:
    """By name."""
    return {arm.name: arm for arm in run.values["train_arms"]}


def test_soft_labels_are_the_chosen_teachers_of_the_texts_they_are_kept_for(of_layers: Pair) -> None:
    now = of_layers[0]
    texts, signal = now.values["read_texts"], now.values["ask_teacher"]
    dataset, teacher = texts.dataset, now.values["prepare_teacher"].model
    for artifact, examples in (
        (signal.answers, (*dataset.train, *dataset.transfer)),
        (signal.on_validation, dataset.validation),
        (signal.on_held_out, dataset.test),
    ):
        again = by_torch(teacher, texts.task, texts.reading, examples)
        assert np.abs(np.diff(again, axis=0)).max() > 1e-3  # neighbours differ, so a shifted row would show
        np.testing.assert_allclose(stored(artifact, examples), again, atol=1e-5)
    assert signal.validation_score == accuracy(
        stored(signal.on_validation, dataset.validation), dataset.validation, texts.task
    )


@pytest.fixture(scope="session")
def problems(of_layers: Pair, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[TrainStudent, Problem]]:
    """The training of each arm's last seed, stopped before its first step."""
    found = {stage.arm: stage for stage, _ in of_layers[0].of(TrainStudent)}
    folder = tmp_path_factory.mktemp("problems")
    return {name: (stage, problem_of(stage, folder / name)) for name, stage in found.items()}


def test_each_arm_learns_from_its_labels_and_from_the_teachers_row_of_each_text(
    of_layers: Pair, problems: dict[str, tuple[TrainStudent, Problem]]
) -> None:
    now = of_layers[0]
    dataset, task = now.values["read_data"], now.values["read_texts"].task
    assert set(problems) == {"hard", "soft", "soft+transfer", "pseudo+transfer"}
    for name, (_, problem) in problems.items():
        examples = (*dataset.train, *dataset.transfer) if "transfer" in name else dataset.train
        assert problem.texts.examples == examples
        rows = np.arange(len(examples))[::-1]  # batches come in any order
        (batch,) = problem.texts.batches(rows, [np.arange(len(rows))], np.random.default_rng(0), problem.signal)
        wanted = [-100 if e.label is None else task.labels.index(e.label) for e in examples][::-1]
        assert batch.labels[:, 0].tolist() == wanted
        if name == "hard":
            assert problem.signal is None
            assert batch.teacher is None
        else:
            of_teacher = stored(now.values["ask_teacher"].answers, examples)[::-1]
            assert batch.teacher is not None
            np.testing.assert_array_equal(batch.teacher[:, 0].numpy(), of_teacher)


def test_each_arm_has_the_loss_that_its_name_says(problems: dict[str, tuple[TrainStudent, Problem]]) -> None:
    """Computed by the formulas, on logits that are drawn at random: 0.1 of the cross-entropy on labels and 0.9 of
    Hinton's divergence at T = 2, times 4, or of the cross-entropy on the teacher's answers."""
    from distill.objectives import Seen

    torch.manual_seed(0)
    for name, (_, problem) in problems.items():
        count = len(problem.texts.lengths)
        part = [np.arange(count)]
        (batch,) = problem.texts.batches(np.arange(count), part, np.random.default_rng(0), problem.signal)
        logits, labels = torch.randn(count, 1, 2), batch.labels[:, 0]
        totals = [float(total) for total in problem.objective.counts(batch)]
        seen = None if batch.teacher is None else Seen(batch.teacher)
        loss = float(problem.objective(Seen(logits), seen, batch, totals))
        logp, known = logits[:, 0].log_softmax(-1), labels >= 0
        hard = -logp[known, labels[known]].mean()
        wanted = {"hard": hard}
        if batch.teacher is not None:
            teacher = batch.teacher[:, 0]
            soft, softer = (teacher / 2).log_softmax(-1), (logits[:, 0] / 2).log_softmax(-1)
            kl = 4 * (soft.exp() * (soft - softer)).sum(-1).mean()
            pseudo = -logp[torch.arange(count), teacher.argmax(-1)].mean()
            mixed = 0.1 * hard + 0.9 * kl
            wanted |= {"soft": mixed, "soft+transfer": mixed, "pseudo+transfer": 0.1 * hard + 0.9 * pseudo}
        assert loss == pytest.approx(float(wanted[name]), abs=1e-5), name


def test_terms_that_look_inside_see_the_teacher_on_the_very_tokens_of_the_student(
    of_layers: Pair, tmp_path: Path
) -> None:
    now = of_layers[0]
    inside = ObjectiveConfig((KlTerm("kl"), HiddenTerm("hidden"), RelationsTerm("relations")))
    this = open_run(dataclasses.replace(now.config, objective=inside))
    lesson = Lesson(now.values["prepare_student"], now.values["ask_teacher"], None)
    assert training_of(this, lesson, "hard", 1e-3, 0).beside is None
    stage = training_of(this, lesson, "soft+transfer", 1e-3, 0)
    assert (stage.signal, stage.beside) == (lesson.signal.answers, now.values["prepare_teacher"].model)
    problem = problem_of(stage, tmp_path)
    count = len(problem.texts.lengths)
    (batch,) = problem.texts.batches(np.arange(count), [np.arange(count)], np.random.default_rng(0), problem.signal)
    assert problem.signal is not None
    seen = problem.signal.of(batch)
    texts = now.values["read_texts"]
    assert stage.beside is not None
    assert stage.signal is not None
    np.testing.assert_array_equal(seen.units[:, 0].numpy(), stored(stage.signal, problem.texts.examples))  # type: ignore[attr-defined]
    teacher = load_model(stage.beside.directory / "model", texts.task).model.eval()
    layers = teacher.base_model.encoder.layer
    for row, example in enumerate(problem.texts.examples[:9]):  # type: ignore[attr-defined]
        ids = torch.tensor([texts.reading.tokenizer.encode(str(example.text)).ids])
        with torch.no_grad():
            states = teacher(input_ids=ids, output_hidden_states=True).hidden_states
            queries = [layer.attention.self.query(x) for layer, x in zip(layers, states[:-1], strict=True)]
        for found, wanted in zip(seen.hidden, states, strict=True):
            torch.testing.assert_close(found[row, : ids.shape[1]], wanted[0], atol=1e-4, rtol=1e-4)
        for found, wanted in zip(seen.qkv, queries, strict=True):
            torch.testing.assert_close(found[0, row, : ids.shape[1]], wanted[0], atol=1e-4, rtol=1e-4)


def test_layers_are_replaced_while_the_student_learns_from_the_teacher(
    of_layers: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = of_layers[0]
    asked: list[Any] = []
    monkeypatch.setattr("distill.training.theseus.replacing", lambda *given: asked.append(given) or nullcontext())
    chances = ((0.0, 0.3), (0.7, 1.0))
    this = open_run(dataclasses.replace(now.config, objective=ObjectiveConfig((HardTerm("hard"),), replacing=chances)))
    lesson = Lesson(now.values["prepare_student"], now.values["ask_teacher"], None)
    problem_of(training_of(this, lesson, "hard", 1e-3, 0), tmp_path / "hard")
    assert not asked
    stage = training_of(this, lesson, "soft", 1e-3, 0)
    problem = problem_of(stage, tmp_path / "soft")
    ((student, teacher, objective, given),) = asked
    assert (student, objective, given) == (problem.model, problem.objective, chances)
    expected = load_model(now.values["prepare_teacher"].model.directory / "model", stage.task).model.state_dict()
    assert all(torch.equal(teacher.state_dict()[name], weight) for name, weight in expected.items())


def test_terms_that_do_not_fit_are_refused_before_the_teacher_is_trained(of_layers: Pair, tmp_path: Path) -> None:
    stage, _ = of_layers[0].of(TrainTeacher)[0]
    asked = ObjectiveConfig((KlTerm("kl"), HiddenTerm("hidden", layers=((1, 99),))))
    with pytest.raises(UserError, match=r"layers has \[1, 99\], but the student has 1 layers and the teacher"):
        problem_of(dataclasses.replace(stage, objective=asked), tmp_path)


def test_every_training_has_the_same_steps_and_looks_at_validation(
    of_layers: Pair, problems: dict[str, tuple[TrainStudent, Problem]]
) -> None:
    now = of_layers[0]
    for stage, problem in problems.values():
        assert problem.budget == dataclasses.replace(now.config.train, learning_rates=(stage.rate,))
        assert (problem.rate, problem.seed) == (stage.rate, stage.seed)
        assert problem.validation is not None
        assert problem.validation.examples == now.values["read_data"].validation
    steps = {artifact.read("result.json")["steps"] for _, artifact in now.of(TrainStudent)}
    assert steps == {now.config.train.steps}


def test_students_read_with_their_own_reading(
    of_layers: Pair, problems: dict[str, tuple[TrainStudent, Problem]]
) -> None:
    own = Tokenizer.from_file(
        str(of_layers[0].values["prepare_student"].vocabulary.directory / "reading" / "tokenizer.json")
    )
    assert own.get_vocab_size() < of_layers[0].values["read_texts"].reading.vocabulary_size
    for _, problem in problems.values():
        for rows in (problem.texts, problem.validation):
            assert rows is not None
            for encoded, example in zip(rows.encoded, rows.examples, strict=True):
                assert encoded.input_ids.tolist() == own.encode(str(example.text)).ids


@pytest.mark.parametrize("start", ["teacher", "checkpoint"])
def test_a_student_starts_from_the_layers_that_were_chosen(
    start: str, of_layers: Pair, encoder: Path, tmp_path: Path
) -> None:
    now = of_layers[0]
    stage = now.of(TrainStudent)[0][0]
    assert isinstance(stage.student, LayersStudent)
    teacher = load_file(now.values["prepare_teacher"].model.directory / "model" / "model.safetensors")
    checkpoint = {f"bert.{name}": one for name, one in load_file(encoder / "model.safetensors").items()}
    if start == "checkpoint":
        given: Any = PretrainedTeacher("pretrained", stage_source(now), tries=1)
        stage = dataclasses.replace(stage, start=given)
    weights = problem_of(stage, tmp_path).model.state_dict()
    wanted, other = (teacher, checkpoint) if start == "teacher" else (checkpoint, teacher)
    layer = [name for name in wanted if ".layer.1." in name and "query.weight" not in name]
    assert len(layer) > 10
    assert not any(".layer.1." in name for name in weights)
    for name in layer:
        assert torch.equal(weights[name.replace(".layer.1.", ".layer.0.")], wanted[name])
    name = "bert.encoder.layer.{}.attention.self.query.weight"
    mine = weights[name.format(0)]
    assert torch.equal(mine, wanted[name.format(1)])
    assert not torch.equal(mine, wanted[name.format(0)])
    assert not torch.equal(mine, other[name.format(1)])
    kept = np.load(now.values["prepare_student"].vocabulary.directory / "kept.npy")
    embeddings = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(weights[embeddings], wanted[embeddings][torch.from_numpy(kept)])


def stage_source(run: SmallRun) -> Any:
    """Where the teacher of a run comes from."""
    return getattr(run.config.teacher, "source", None)


def test_the_teachers_later_tries_start_with_a_new_pooler(of_layers: Pair, encoder: Path, tmp_path: Path) -> None:
    checkpoint = load_file(encoder / "model.safetensors")
    stages = [stage for stage, _ in of_layers[0].of(TrainTeacher)]
    assert [stage.new_pooler for stage in stages] == [False, False, True]
    for stage in stages:
        problem = problem_of(stage, tmp_path / stage.what)
        weights = problem.model.state_dict()
        for name, one in checkpoint.items():
            same = torch.equal(weights[f"bert.{name}"], one)
            assert same != (stage.new_pooler and name == "pooler.dense.weight"), name
        assert problem.texts.examples == of_layers[0].values["read_data"].train
        assert problem.signal is None
        assert problem.validation is not None
        assert problem.validation.examples == of_layers[0].values["read_data"].validation
        (term,) = problem.objective.parts
        assert term.reads_labels


def test_teacher_is_the_training_that_was_best_on_validation(of_layers: Pair) -> None:
    now = of_layers[0]
    texts = now.values["read_texts"]
    scores = []
    for _, artifact in now.of(TrainTeacher):
        again = by_torch(artifact, texts.task, texts.reading, texts.dataset.validation)
        scores.append(accuracy(again, texts.dataset.validation, texts.task))
        assert artifact.read("result.json")["validation"] == scores[-1]
    assert now.values["prepare_teacher"].model == now.of(TrainTeacher)[int(np.argmax(scores))][1]


@pytest.mark.parametrize("name", ["of_layers", "of_trained_tokenizer"])
def test_each_student_is_scored_on_validation_while_training_and_on_test_at_the_end(
    name: str, request: pytest.FixtureRequest
) -> None:
    now: SmallRun = request.getfixturevalue(name)[0]
    own, task = now.values["prepare_student"], now.values["read_texts"].task
    dataset = own.dataset
    assert now.outcome is not None
    reported = {arm.name: arm for arm in now.outcome.report.arms}
    answered = {(stage.who, stage.model.identity): artifact for stage, artifact in now.of(AnswerHeldOut)}
    for arm in arms_of(now).values():
        for i, (model, result) in enumerate(zip(arm.models, arm.results, strict=True)):
            on_validation = by_torch(model, task, own.reading, dataset.validation)
            assert result["validation"] == accuracy(on_validation, dataset.validation, task)
            on_test = by_torch(model, task, own.reading, dataset.test)
            kept = load_units(answered[f"{arm.name}, seed {i}", model.identity].directory / "test.npz")
            np.testing.assert_allclose(np.concatenate(kept), on_test, atol=1e-5)
            said = reported[arm.name].seeds[i]
            assert (said.seed, said.validation, said.test) == (
                i,
                result["validation"],
                pytest.approx(accuracy(on_test, dataset.test, task)),
            )


@pytest.mark.parametrize("name", ["of_layers", "of_trained_tokenizer"])
def test_each_variant_is_the_graph_of_its_model(name: str, request: pytest.FixtureRequest) -> None:
    now: SmallRun = request.getfixturevalue(name)[0]
    task, dataset = now.values["read_texts"].task, now.values["read_data"]
    models = {"teacher": now.values["prepare_teacher"].model, "student": now.values["choose"].model}
    readings = {
        who: now.values[step].reading for who, step in (("teacher", "read_texts"), ("student", "prepare_student"))
    }
    answered = {(stage.who, stage.variant): (stage, artifact) for stage, artifact in now.of(AnswerByGraph)}
    exported = {stage.who: artifact for stage, artifact in now.of(ExportModel)}
    measured = iter(now.measured)
    assert len(now.measured) == len(answered) == len(now.values["variant_results"])
    for result in now.values["variant_results"]:
        reading = readings[result.model]
        ids = {
            split: [reading.tokenizer.encode(str(e.text)).ids for e in getattr(dataset, split)]
            for split in ("validation", "test")
        }
        suffix = "" if result.variant == "fp32" else f"_{result.variant}"
        file = exported[result.model].directory / "onnx" / f"model{suffix}.onnx"
        again = by_graph(file, ids["test"])
        if result.variant == "fp32":
            of_model = by_torch(models[result.model], task, reading, dataset.test)
            np.testing.assert_allclose(again, of_model, atol=1e-4)
        _, artifact = answered[result.model, result.variant]
        np.testing.assert_allclose(np.concatenate(load_units(artifact.directory / "test.npz")), again, atol=1e-5)
        assert result.score is not None
        assert result.score.value == pytest.approx(accuracy(again, dataset.test, task))
        specification = next(measured)
        assert [list(one) for one in specification.token_ids] == ids["test"]
        np.testing.assert_allclose(by_graph(Path(specification.model), ids["test"]), again, atol=1e-5)
        if result.gate is not None:
            whole = file.with_name("model.onnx")
            both = [accuracy(by_graph(one, ids["validation"]), dataset.validation, task) for one in (whole, file)]
            assert result.gate.drop.value == pytest.approx(both[0] - both[1])


def micro_f1(logits: Logits, thresholds: Sequence[float], examples: Sequence[Example], task: Task) -> float:
    """Of multi-label classification, by counting."""
    said = logits > np.array(thresholds)
    gold = np.array([[label in (e.label or ()) for label in task.labels] for e in examples])  # type: ignore[operator]
    return 2 * float((said & gold).sum()) / float(said.sum() + gold.sum())


def test_each_model_answers_with_the_thresholds_that_it_chose_on_validation(of_labels: Pair) -> None:
    now = of_labels[0]
    own, task = now.values["prepare_student"], now.values["read_texts"].task
    dataset = own.dataset
    assert now.outcome is not None
    reported = {arm.name: arm for arm in now.outcome.report.arms}
    chosen = set()
    for arm in arms_of(now).values():
        for i, (model, result) in enumerate(zip(arm.models, arm.results, strict=True)):
            on_validation = by_torch(model, task, own.reading, dataset.validation)
            assert result["validation"] == pytest.approx(
                micro_f1(on_validation, result["thresholds"], dataset.validation, task)
            )
            on_test = by_torch(model, task, own.reading, dataset.test)
            wanted = micro_f1(on_test, result["thresholds"], dataset.test, task)
            assert reported[arm.name].seeds[i].test == pytest.approx(wanted)
            chosen.add(tuple(result["thresholds"]))
    assert len(chosen) == 2 * len(arms_of(now))  # each has its own
    signal, texts = now.values["ask_teacher"], now.values["read_texts"]
    on_validation = by_torch(signal.teacher.model, task, texts.reading, dataset.validation)
    fitted = task.fit([row[None] for row in on_validation], dataset.validation)
    np.testing.assert_allclose(signal.task.thresholds, fitted.thresholds, atol=1e-5)
    on_test = stored(signal.on_held_out, dataset.test)
    assert reported["teacher"].seeds[0].test == pytest.approx(micro_f1(on_test, fitted.thresholds, dataset.test, task))
    assert {stage.thresholds for stage, _ in now.of(TrainStudent) if stage.arm == "pseudo+transfer"} == {
        signal.task.thresholds
    }


def test_the_bundle_has_the_thresholds_and_weights_of_the_training_that_was_chosen(of_labels: Pair) -> None:
    now = of_labels[0]
    assert now.outcome is not None
    assert now.outcome.bundle is not None
    arms = arms_of(now).values()
    best = max(arms, key=lambda arm: np.mean([result["validation"] for result in arm.results]))
    index = int(np.argmax([result["validation"] for result in best.results]))
    manifest = json.loads((now.outcome.bundle / "bundle.json").read_text(encoding="utf-8"))
    assert manifest["task"]["thresholds"] == best.results[index]["thresholds"]
    report = now.outcome.report
    assert (report.exported_arm, report.exported_seed) == (best.name, now.config.seeds[index])
    student = load_file(now.outcome.directory / "student" / "model.safetensors")
    weights = load_file(best.models[index].directory / "model" / "model.safetensors")
    assert all(torch.equal(student[name], one) for name, one in weights.items())
    task, reading = now.values["read_texts"].task, now.values["prepare_student"].reading
    test = now.values["read_data"].test
    ids = [reading.tokenizer.encode(str(e.text)).ids for e in test]
    again = by_torch(best.models[index], task, reading, test)
    np.testing.assert_allclose(by_graph(now.outcome.bundle / "onnx" / "model.onnx", ids), again, atol=1e-4)
    assert list(report.labels) == manifest["task"]["labels"]
