from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from distill import tasks
from distill.config.rules import VARIANT_NAMES
from distill.config.schema import ExportConfig
from distill.export import quantize
from distill.export.onnx_export import export_graphs, export_onnx
from distill.export.quantize import VARIANTS, Files, quantize_embeddings, quantize_int8
from distill.models.graphs import graphs_of
from distill.models.recurrent import RecurrentConfig, RecurrentForSequenceClassification
from distill.models.recurrent_decoder import RecurrentDecoderConfig, RecurrentForCausalLM
from distill.models.transformer import DecoderConfig, DecoderForCausalLM
from distill.runtime import GenerationSettings, Graphs, generate
from distill.text import Encoded
from distill.text.encoding import EMPTY


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``bert.onnx`` and ``lstm.onnx`` with weights of a size that trained ones have."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("graphs")
    bert = BertForSequenceClassification(
        BertConfig(
            vocab_size=500,
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=128,
            num_labels=4,
        )
    )
    lstm = RecurrentForSequenceClassification(
        RecurrentConfig(vocab_size=500, embedding_size=64, hidden_size=64, num_labels=4)
    )
    models: dict[str, nn.Module] = {"bert": bert, "lstm": lstm}
    for name, model in models.items():
        for parameter in model.parameters():
            parameter.data *= 4
        (spec,) = graphs_of(model, tasks.build("text-classification", ("a", "b", "c", "d")))
        export_onnx(spec, path / f"{name}.onnx", ExportConfig(exporter="legacy"))
    return path


def logits(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path))
    generator = np.random.default_rng(0)
    rows = []
    for _ in range(100):
        ids = generator.integers(500, size=(1, 12))
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        rows.append(session.run(["logits"], {i.name: feed[i.name] for i in session.get_inputs()})[0][0])
    return np.array(rows)


@pytest.mark.parametrize("name", ["bert", "lstm"])
def test_int8_graph_follows_fp32_and_is_a_fraction_of_it(name: str, folder: Path, tmp_path: Path) -> None:
    quantize_int8(folder / f"{name}.onnx", tmp_path / "int8.onnx")
    expected, found = logits(folder / f"{name}.onnx"), logits(tmp_path / "int8.onnx")
    assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > 0.99
    weights = [numpy_helper.to_array(t) for t in onnx.load(tmp_path / "int8.onnx").graph.initializer]
    assert max(w.size for w in weights if w.dtype == np.float32) <= 512  # scales, biases and norms only
    assert [p.name for p in tmp_path.iterdir()] == ["int8.onnx"]


def test_lstm_is_quantized_itself(folder: Path, tmp_path: Path) -> None:
    quantize_int8(folder / "lstm.onnx", tmp_path / "int8.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node]
    assert kinds.count("DynamicQuantizeLSTM") == 2
    assert "LSTM" not in kinds


def test_weights_of_products_cannot_overflow_sixteen_bits(folder: Path, tmp_path: Path) -> None:
    """vpmaddubsw adds two products of an activation (at most 255) and a weight in a signed 16-bit number."""
    quantize_int8(folder / "bert.onnx", tmp_path / "int8.onnx")
    graph = onnx.load(tmp_path / "int8.onnx").graph
    weights = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    products = [weights[node.input[1]] for node in graph.node if node.op_type == "MatMulInteger"]
    assert len(products) >= 12
    assert max(2 * 255 * int(np.abs(w.astype(int)).max()) for w in products) <= 32767
    assert max(int(np.abs(w.astype(int)).max()) for w in products) == 64


def test_int8_file_carries_no_metadata_and_no_paths(folder: Path, tmp_path: Path) -> None:
    quantize_int8(folder / "bert.onnx", tmp_path / "int8.onnx")
    model = onnx.load(tmp_path / "int8.onnx")
    assert not model.metadata_props
    assert str(tmp_path).encode() not in model.SerializeToString()


def test_fp32_variant_is_the_file_itself(folder: Path, tmp_path: Path) -> None:
    assert tuple(VARIANTS) == VARIANT_NAMES
    VARIANTS["fp32"]({"model": Files(folder / "bert.onnx", tmp_path / "model.onnx")}, ())
    assert (tmp_path / "model.onnx").read_bytes() == (folder / "bert.onnx").read_bytes()


@pytest.mark.parametrize("variant", VARIANT_NAMES)
def test_a_variant_is_made_of_every_role(variant: str, folder: Path, tmp_path: Path) -> None:
    files = {role: Files(folder / f"{name}.onnx", tmp_path / f"{role}.onnx") for role, name in ROLES.items()}
    VARIANTS[variant](files, TEXTS)
    for role, name in ROLES.items():
        expected, found = logits(folder / f"{name}.onnx"), logits(tmp_path / f"{role}.onnx")
        assert np.corrcoef(expected.ravel(), found.ravel())[0, 1] > (0.8 if variant == "int4" else 0.99)


ROLES = {"encoder": "bert", "decoder": "lstm"}


def texts(count: int = 20) -> list[Encoded]:
    """Of random ids, of random lengths."""
    generator = np.random.default_rng(1)
    ids = [generator.integers(500, size=generator.integers(3, 20)) for _ in range(count)]
    return [Encoded(row, np.zeros_like(row), EMPTY, False) for row in ids]


TEXTS = texts()


def lookup(extra: list[onnx.NodeProto], axis: int = 0) -> tuple[onnx.ModelProto, np.ndarray]:
    weight = (
        np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
        * np.logspace(-3, 3, 50, dtype=np.float32)[:, None]
    )
    weight[7] = 0
    graph = helper.make_graph(
        [helper.make_node("Gather", ["weight", "ids"], ["rows"], axis=axis), *extra],
        "lookup",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [None])],
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), weight


def test_each_row_of_an_embedding_has_its_own_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantize, "SMALLEST_EMBEDDING", 0)
    model, weight = lookup([])
    quantize_embeddings(model)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    rows = session.run(None, {"ids": np.arange(50)})[0]
    largest = np.abs(weight).max(axis=1, keepdims=True)
    assert (np.abs(rows - weight) <= largest / 127 * 0.501).all()  # half a step of its own row, a row of zeros exactly
    assert {t.data_type for t in model.graph.initializer} == {TensorProto.INT8, TensorProto.FLOAT}


@pytest.mark.parametrize(
    ("extra", "axis"),
    [([], 1), ([helper.make_node("Identity", ["weight"], ["tied"])], 0)],
    ids=["columns are looked up", "something else reads the matrix"],
)
def test_a_matrix_that_is_no_plain_embedding_stays(
    extra: list[onnx.NodeProto], axis: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "SMALLEST_EMBEDDING", 0)
    model, _ = lookup(extra, axis)
    before = model.SerializeToString()
    quantize_embeddings(model)
    assert model.SerializeToString() == before


@pytest.mark.parametrize("family", ["decoder", "lstm"])
def test_int8_of_a_model_that_writes_is_smaller_and_writes(family: str, tmp_path: Path) -> None:
    own: dict[str, nn.Module] = {
        "decoder": DecoderForCausalLM(DecoderConfig(vocab_size=500, hidden_size=64, num_hidden_layers=2)),
        "lstm": RecurrentForCausalLM(RecurrentDecoderConfig(vocab_size=500, embedding_size=64, hidden_size=64)),
    }
    torch.manual_seed(0)
    for parameter in own[family].parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape)
    sources = export_graphs(graphs_of(own[family]), tmp_path, ExportConfig())
    target = tmp_path / "int8.onnx"
    quantize_int8(sources["decoder"], target)
    assert target.stat().st_size < 0.4 * sources["decoder"].stat().st_size
    kinds = {node.op_type for node in onnx.load(target).graph.node}
    assert kinds >= {"MatMulInteger"} | ({"DynamicQuantizeLSTM"} if family == "lstm" else set())
    ids = np.random.default_rng(0).integers(500, size=(4, 20))
    batch, task = {"input_ids": ids, "attention_mask": np.ones_like(ids)}, tasks.build("language-modelling", ())
    fp32, int8 = (Graphs({"decoder": path}, 1) for path in (sources["decoder"], target))
    one, other = (graphs.answer(task, batch, ("logits",))[0] for graphs in (fp32, int8))
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.99
    (written,) = generate(int8, [ids[0]], GenerationSettings(5))
    assert len(written.ids) == 5
