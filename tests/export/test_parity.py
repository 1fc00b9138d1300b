from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, BertForTokenClassification

from distill import tasks
from distill.config.schema import ExportConfig
from distill.export.onnx_export import export_onnx, graph_inputs
from distill.export.parity import check_parity
from distill.runtime import Graph
from distill.tasks import Task
from distill.text import Example, Reading, train_tokenizer

TEXTS = [
    "a gorgeous witty seductive movie",
    "not much of anything",
    "the film is a mess from start to end and nobody will miss a minute of it",
    "",
    "fine",
    "a mess",
    "witty from start to end",
]


@pytest.fixture(scope="module")
def reading() -> Reading:
    return Reading(train_tokenizer([Example(t) for t in TEXTS * 3], 300), 24)


def build(task: Task, reading: Reading) -> nn.Module:
    torch.manual_seed(0)
    head = BertForTokenClassification if task.words else BertForSequenceClassification
    config = BertConfig(
        vocab_size=reading.vocabulary_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=24,
        num_labels=len(task.labels),
    )
    model: nn.Module = head(config)
    for parameter in model.parameters():
        parameter.data *= 3
    return model


@pytest.fixture(params=["text-classification", "token-classification"])
def task(request: pytest.FixtureRequest) -> Task:
    return tasks.build(request.param, ("O", "bad", "good"))


def questions(task: Task) -> list[Example]:
    return [Example(tuple(t.split()) if task.words else t) for t in TEXTS if t or not task.words]


def test_an_exported_graph_passes_in_training_mode_too(task: Task, reading: Reading, tmp_path: Path) -> None:
    model = build(task, reading).train()
    export_onnx(model, tmp_path / "model.onnx", ExportConfig(exporter="legacy"), graph_inputs(model))
    examples = questions(task)
    parity = check_parity(
        model, Graph(tmp_path / "model.onnx", 1), reading, task, examples, reading.vocabulary_size, 1e-4
    )
    assert parity.passed
    assert parity.answers_equal
    assert 0 < parity.max_abs_difference < 1e-5
    assert parity.cases == 3 * 3 * 2 * 2 + len(examples)  # batches, lengths, padded or not, random or real; texts
    assert f"{len(examples)} of {len(examples)} answers equal" in parity.detail
    assert "length 2, 17, 24" in parity.detail
    assert model.training


def altered(source: Path, target: Path, size: float) -> None:
    """Adds to the classifier's bias of the first label."""
    model = onnx.load(source)
    bias = next(t for t in model.graph.initializer if t.name.endswith("classifier.bias"))
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32([size, 0, 0]), bias.name))
    onnx.save(model, target)


def test_a_graph_that_computes_something_else_has_not_passed(task: Task, reading: Reading, tmp_path: Path) -> None:
    model = build(task, reading)
    with torch.no_grad():
        model.classifier.bias[0] -= 10  # never its own answer
    export_onnx(model, tmp_path / "model.onnx", ExportConfig(exporter="legacy"), graph_inputs(model))
    altered(tmp_path / "model.onnx", tmp_path / "altered.onnx", 50.0)
    graph = Graph(tmp_path / "altered.onnx", 1)
    parity = check_parity(model, graph, reading, task, questions(task), reading.vocabulary_size, 1e-4)
    assert not parity.passed
    assert not parity.answers_equal
    assert parity.max_abs_difference == pytest.approx(50, abs=1e-3)


def test_an_answer_that_is_tied_within_the_tolerance_is_counted_not_failed(reading: Reading, tmp_path: Path) -> None:
    task = tasks.build("text-classification", ("O", "bad", "good"))
    model = build(task, reading)
    model.classifier.weight.data.zero_()  # all labels tied at 0
    model.classifier.bias.data = torch.tensor([0.0, 5e-5, 0.0])
    export_onnx(model, tmp_path / "model.onnx", ExportConfig(exporter="legacy"), graph_inputs(model))
    altered(tmp_path / "model.onnx", tmp_path / "altered.onnx", 9e-5)
    graph = Graph(tmp_path / "altered.onnx", 1)
    examples = questions(task)
    parity = check_parity(model, graph, reading, task, examples, reading.vocabulary_size, 1e-4)
    assert parity.passed
    assert f"{len(examples)} answers differ where logits are tied" in parity.detail
    assert not check_parity(model, graph, reading, task, examples, reading.vocabulary_size, 1e-5).answers_equal


def test_a_graph_with_fixed_axes_is_a_result_not_an_exception(reading: Reading, tmp_path: Path) -> None:
    task = tasks.build("text-classification", ("O", "bad", "good"))
    model = build(task, reading)
    export_onnx(model, tmp_path / "model.onnx", ExportConfig(exporter="legacy"), graph_inputs(model))
    fixed = onnx.load(tmp_path / "model.onnx")
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(fixed, tmp_path / "fixed.onnx")
    graph = Graph(tmp_path / "fixed.onnx", 1)
    parity = check_parity(model, graph, reading, task, questions(task), reading.vocabulary_size, 1e-4)
    assert not parity.passed
    assert parity.cases == 1
    assert "case 1 did not run" in parity.detail


def test_without_questions_random_ids_are_compared(reading: Reading, tmp_path: Path) -> None:
    task = tasks.build("text-classification", ("O", "bad", "good"))
    model = build(task, reading)
    export_onnx(model, tmp_path / "model.onnx", ExportConfig(exporter="legacy"), graph_inputs(model))
    parity = check_parity(model, Graph(tmp_path / "model.onnx", 1), reading, task, [], reading.vocabulary_size, 1e-4)
    assert parity.passed
    assert parity.cases == 18
