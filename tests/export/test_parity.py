from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from tiny_writers import tiny_writer
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification, BertForTokenClassification, BertModel
from transformers.modeling_outputs import SequenceClassifierOutput

from distill import tasks
from distill.config.schema import ExportConfig
from distill.export.onnx_export import export_graphs, export_onnx
from distill.export.parity import check_parity
from distill.models.graphs import graphs_of
from distill.runtime import Graphs
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
    export_onnx(*graphs_of(model, task), tmp_path / "model.onnx", ExportConfig(exporter="legacy"))
    examples = questions(task)
    parity = check_parity(
        model, Graphs({"model": tmp_path / "model.onnx"}, 1), reading, task, examples, reading.vocabulary_size, 1e-4
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
    export_onnx(*graphs_of(model, task), tmp_path / "model.onnx", ExportConfig(exporter="legacy"))
    altered(tmp_path / "model.onnx", tmp_path / "altered.onnx", 50.0)
    graphs = Graphs({"model": tmp_path / "altered.onnx"}, 1)
    parity = check_parity(model, graphs, reading, task, questions(task), reading.vocabulary_size, 1e-4)
    assert not parity.passed
    assert not parity.answers_equal
    assert parity.max_abs_difference == pytest.approx(50, abs=1e-3)


def test_an_answer_that_is_tied_within_the_tolerance_is_counted_not_failed(reading: Reading, tmp_path: Path) -> None:
    task = tasks.build("text-classification", ("O", "bad", "good"))
    model = build(task, reading)
    model.classifier.weight.data.zero_()  # all labels tied at 0
    model.classifier.bias.data = torch.tensor([0.0, 5e-5, 0.0])
    export_onnx(*graphs_of(model, task), tmp_path / "model.onnx", ExportConfig(exporter="legacy"))
    altered(tmp_path / "model.onnx", tmp_path / "altered.onnx", 9e-5)
    graphs = Graphs({"model": tmp_path / "altered.onnx"}, 1)
    examples = questions(task)
    parity = check_parity(model, graphs, reading, task, examples, reading.vocabulary_size, 1e-4)
    assert parity.passed
    assert f"{len(examples)} answers differ where logits are tied" in parity.detail
    assert not check_parity(model, graphs, reading, task, examples, reading.vocabulary_size, 1e-5).answers_equal


def test_a_graph_with_fixed_axes_is_a_result_not_an_exception(reading: Reading, tmp_path: Path) -> None:
    task = tasks.build("text-classification", ("O", "bad", "good"))
    model = build(task, reading)
    export_onnx(*graphs_of(model, task), tmp_path / "model.onnx", ExportConfig(exporter="legacy"))
    fixed = onnx.load(tmp_path / "model.onnx")
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(fixed, tmp_path / "fixed.onnx")
    graphs = Graphs({"model": tmp_path / "fixed.onnx"}, 1)
    parity = check_parity(model, graphs, reading, task, questions(task), reading.vocabulary_size, 1e-4)
    assert not parity.passed
    assert parity.cases == 1
    assert "case 1 did not run" in parity.detail


def test_without_questions_random_ids_are_compared(reading: Reading, tmp_path: Path) -> None:
    task = tasks.build("text-classification", ("O", "bad", "good"))
    model = build(task, reading)
    export_onnx(*graphs_of(model, task), tmp_path / "model.onnx", ExportConfig(exporter="legacy"))
    graphs = Graphs({"model": tmp_path / "model.onnx"}, 1)
    parity = check_parity(model, graphs, reading, task, [], reading.vocabulary_size, 1e-4)
    assert parity.passed
    assert parity.cases == 18


def test_every_output_of_a_sentence_encoder_is_compared(reading: Reading, tmp_path: Path) -> None:
    task = tasks.build("sentence-embedding", ())
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    model = BertModel(BertConfig(vocab_size=reading.vocabulary_size, max_position_embeddings=24, **sizes))
    export_onnx(*graphs_of(model, task), tmp_path / "model.onnx", ExportConfig(exporter="legacy"))
    graph = onnx.load(tmp_path / "model.onnx")
    node = next(node for node in graph.graph.node if "last_hidden_state" in node.output)
    output = list(node.output).index("last_hidden_state")
    node.output[output] = "inside"  # what the vector is made of
    for later in graph.graph.node:
        later.input[:] = ["inside" if name == "last_hidden_state" else name for name in later.input]
    graph.graph.node.append(onnx.helper.make_node("Add", ["inside", "inside"], ["last_hidden_state"]))
    onnx.save(graph, tmp_path / "doubled.onnx")
    for name, passes in (("model", True), ("doubled", False)):
        graphs = Graphs({"model": tmp_path / f"{name}.onnx"}, 1)
        examples = [Example(text) for text in TEXTS]
        assert check_parity(model, graphs, reading, task, examples, reading.vocabulary_size, 1e-4).passed == passes


class LooksAtTheLastPlace(nn.Module):
    """Answers by the last token of the batch, which is padding where another text is longer."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.classifier = nn.Linear(3, 3)
        nn.init.normal_(self.classifier.weight)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SequenceClassifierOutput:
        ids = input_ids[:, -1:].repeat(1, 2)
        return SequenceClassifierOutput(logits=self.classifier(self.model(ids, torch.ones_like(ids)).logits))


def test_a_graph_whose_answers_depend_on_padding_has_not_passed(reading: Reading, tmp_path: Path) -> None:
    task = tasks.build("text-classification", ("O", "bad", "good"))
    model = LooksAtTheLastPlace(build(task, reading).eval())
    export_onnx(*graphs_of(model, task), tmp_path / "model.onnx", ExportConfig(exporter="legacy"))
    graphs = Graphs({"model": tmp_path / "model.onnx"}, 1)
    parity = check_parity(model, graphs, reading, task, questions(task), reading.vocabulary_size, 1e-4)
    assert not parity.passed
    assert "answered otherwise where it is padded" in parity.detail


WRITERS = ["GPT2", "Llama", "decoder", "lstm", "gru"]


@pytest.fixture(scope="module")
def prose() -> Reading:
    """A vocabulary that the tiny writers know."""
    tokenizer = train_tokenizer([Example(t) for t in TEXTS], 60)
    return Reading(tokenizer, 24, special_tokens={"sep_token": "[SEP]"})


@pytest.mark.parametrize("family", WRITERS)
def test_a_model_that_writes_passes_and_an_altered_one_does_not(family: str, prose: Reading, tmp_path: Path) -> None:
    task = tasks.build("language-modelling", ())
    examples = [Example(t) for t in TEXTS]
    model = tiny_writer(family)
    graphs = Graphs(export_graphs(graphs_of(model), tmp_path, ExportConfig()), 1)
    parity = check_parity(model, graphs, prose, task, examples, prose.vocabulary_size, 1e-4)
    assert parity.passed, parity.detail
    assert parity.cases == 3 * 3 * 2 * 2 + len(examples) + 3
    assert "7 of 7 answers equal from text to answer; 3 of 3 texts written alike" in parity.detail
    for parameter in model.parameters():
        parameter.data *= 1.01
    assert not check_parity(model, graphs, prose, task, examples, prose.vocabulary_size, 1e-4).passed


class Forgetful(Graphs):
    """Gives back another cache than it should."""

    def run(self, role: str, arrays: Any, read: Sequence[str] = ()) -> list[Any]:
        outputs = super().run(role, arrays, read)
        return [outputs[0], *(-tensor for tensor in outputs[1:])] if len(outputs) > 1 else outputs


@pytest.mark.parametrize("family", ["Llama", "lstm"])
def test_a_wrong_cache_does_not_pass(family: str, prose: Reading, tmp_path: Path) -> None:
    task = tasks.build("language-modelling", ())
    model = tiny_writer(family)
    graphs = Forgetful(export_graphs(graphs_of(model), tmp_path, ExportConfig()), 1)
    for examples in ([], [Example(TEXTS[0])]):
        parity = check_parity(model, graphs, prose, task, examples, prose.vocabulary_size, 1e-4)
        assert not parity.passed
        assert parity.answers_equal == (not examples)


def test_texts_that_part_where_two_tokens_are_tied_are_counted_not_failed(prose: Reading, tmp_path: Path) -> None:
    task = tasks.build("language-modelling", ())
    model = tiny_writer("lstm")
    model.lm_head.weight.data.zero_()
    model.lm_head.bias.data.zero_()[[5, 9]] = torch.tensor([1.0, 1.0 + 1e-6])
    graphs = Graphs(export_graphs(graphs_of(model), tmp_path, ExportConfig()), 1)
    model.lm_head.bias.data[5] += 1e-5
    parity = check_parity(model, graphs, prose, task, [Example("fine")], prose.vocabulary_size, 1e-4)
    assert parity.passed
    assert "1 texts differ where logits are tied" in parity.detail
