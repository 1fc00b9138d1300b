"""Weights in 4 bits, against what numpy makes of the same bytes, and against onnxruntime's own quantizer."""

import logging
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tiny_writers import tiny_writer
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from distill import tasks
from distill.config.schema import ExportConfig
from distill.export import quantize
from distill.export.blocks import in_blocks, packed, quantize_blocks
from distill.export.onnx_export import export_graphs
from distill.export.quantize import VARIANTS, Files
from distill.models.graphs import graphs_of
from distill.models.recurrent import RecurrentConfig, RecurrentForSequenceClassification
from distill.models.recurrent_decoder import RecurrentDecoderConfig, RecurrentForCausalLM
from distill.models.transformer import DecoderConfig, DecoderForCausalLM
from distill.runtime import Graphs, graph_file

FAMILIES = [
    "bert",
    "lstm classifier",
    "decoder",
    "gru",
    "GPT2",
    "Marian",
    "T5",
    "encoder-decoder",
    "lstm encoder-decoder",
]


def model_of(family: str) -> Any:
    sizes: dict[str, Any] = {"vocab_size": 60, "hidden_size": 36}  # a whole block and a part of one
    if family == "bert":
        config = BertConfig(**sizes, num_hidden_layers=1, num_attention_heads=2, intermediate_size=70)
        model: nn.Module = BertForSequenceClassification(config)
    elif family == "lstm classifier":
        model = RecurrentForSequenceClassification(RecurrentConfig(**sizes, embedding_size=33))
    else:
        return tiny_writer(family)
    for parameter in model.parameters():
        parameter.data *= 4  # else the logits are so small that any graph would agree
    return model.eval()


def written(family: str, folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """(files in fp32, files in int4), of each role."""
    torch.manual_seed(0)
    specs = graphs_of(model_of(family), tasks.build("text-classification", ("a", "b")))
    sources = export_graphs(specs, folder, ExportConfig())
    return sources, quantized(sources, folder)


def quantized(sources: dict[str, Path], folder: Path, variant: str = "int4") -> dict[str, Path]:
    files = {role: Files(path, folder / graph_file(role, variant)) for role, path in sources.items()}
    VARIANTS[variant](files, ())
    return {role: file.target for role, file in files.items()}


def fp32_again(path: Path) -> onnx.ModelProto:
    """The graph with plain products and look-ups, of weights that numpy reads out of the bytes."""
    model = onnx.load(path)
    arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    whole = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Reshape"}

    def weights(levels: str, scales: str, zero_points: str) -> NDArray[np.float32]:
        halves = [np.stack([arrays[n] & 15, arrays[n] >> 4], -1) for n in (whole.get(levels, levels), zero_points)]
        rows, blocks = arrays[scales].shape
        steps = halves[0].reshape(rows, blocks, 32).astype(np.float32)
        zeros = halves[1].reshape(rows, -1)[:, :blocks, None].astype(np.float32)
        found: NDArray[np.float32] = ((steps - zeros) * arrays[scales][..., None]).reshape(rows, -1)
        return found

    nodes = []
    for number, node in enumerate(model.graph.node):
        name = f"weights of {number}"
        if node.op_type == "MatMulNBits":
            inner = next(a.i for a in node.attribute if a.name == "K")
            matrix = weights(*node.input[1:4])[:, :inner].T
            node = helper.make_node("MatMul", [node.input[0], name], list(node.output))
        elif node.op_type == "GatherBlockQuantized":
            matrix = weights(node.input[0], *node.input[2:4])
            node = helper.make_node("Gather", [name, node.input[1]], list(node.output))
        else:
            nodes.append(node)
            continue
        nodes.append(node)
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(matrix), name))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def answers(graphs: Graphs, family: str) -> list[NDArray[Any]]:
    task = "text-to-text" if "encoder" in graphs.sessions else "language-modelling"
    if "model" in graphs.sessions:
        task = "text-classification"
    generator, found = np.random.default_rng(0), []
    for _ in range(3):
        ids = generator.integers(3, 60, size=(2, 9))
        batch = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": ids * 0, "target_ids": ids}
        found.append(graphs.answer(tasks.build(task, ("a", "b") if "class" in task else ()), batch, ("logits",))[0])
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_the_graph_computes_with_the_weights_that_its_bytes_hold(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "SMALLEST_EMBEDDING", 0)
    sources, files = written(family, tmp_path)
    by_numpy = {}
    for role, path in files.items():
        model = onnx.load(path)
        left = {node.op_type for node in model.graph.node for name in node.input if name in constant_matrices(model)}
        assert left <= {"LSTM", "GRU", "Add", "Identity"}, "every constant product and look-up is quantized"
        by_numpy[role] = tmp_path / f"{role} by numpy.onnx"
        onnx.save(fp32_again(path), by_numpy[role])
    expected, found, fp32 = (answers(Graphs(roles, 1), family) for roles in (by_numpy, files, sources))
    for one, other, unquantized in zip(expected, found, fp32, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-4, rtol=1e-4)
        assert np.abs(other - unquantized).max() > 1e-3


def constant_matrices(model: onnx.ModelProto) -> set[str]:
    return {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 2} - {
        name for node in model.graph.node if node.domain == "com.microsoft" for name in node.input
    }


@pytest.mark.parametrize("shape", [(50, 64), (7, 96), (5, 70), (3, 16), (1, 1)])
def test_weights_are_those_of_onnxruntimes_own_quantizer(shape: tuple[int, int]) -> None:
    with mock.patch.object(logging, "basicConfig"):
        from onnxruntime.quantization.matmul_nbits_quantizer import (
            DefaultWeightOnlyQuantConfig,
            DefaultWeightOnlyQuantizer,
        )
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    matrix[0] = 0
    matrix[1:2] = abs(matrix[1:2]) + 1  # of one sign
    blocks = in_blocks(matrix, 4)
    peer = DefaultWeightOnlyQuantizer(DefaultWeightOnlyQuantConfig(block_size=32, is_symmetric=False, bits=4))
    levels, scales, zero_points = peer.qbits_block_quant(np.ascontiguousarray(matrix.T))
    inside = (
        np.arange(blocks.levels.shape[1] * 32).reshape(-1, 32) < shape[1]
    )  # the peer leaves what fills a block open
    both = [np.stack([a & 15, a >> 4], -1).reshape(blocks.levels.shape) for a in (packed(blocks.levels, 4), levels)]
    np.testing.assert_array_equal(both[0][:, inside], both[1][:, inside])
    np.testing.assert_array_equal(blocks.scales, scales.reshape(blocks.scales.shape))
    count = blocks.zero_points.shape[1]
    theirs = np.stack([zero_points & 15, zero_points >> 4], -1).reshape(shape[0], -1)[:, :count]
    np.testing.assert_array_equal(blocks.zero_points, theirs)
    again = (blocks.levels.astype(float) - blocks.zero_points[..., None]) * blocks.scales[..., None]
    assert (
        abs(again.reshape(shape[0], -1)[:, : shape[1]] - matrix) <= blocks.scales.max(1, keepdims=True) * 1.01
    ).all()


@pytest.mark.parametrize("family", ["decoder", "GPT2", "T5"])
def test_tied_embeddings_are_stored_once(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantize, "SMALLEST_EMBEDDING", 0)
    monkeypatch.setattr("distill.export.blocks.BLOCK", 8)  # so that a row of 16 is an even number of blocks
    sources = export_graphs(graphs_of(tiny_writer(family)), tmp_path, ExportConfig())
    model = onnx.load(quantized(sources, tmp_path)["decoder"])
    whole = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Reshape"}
    looked_up = {whole[n.input[0]] for n in model.graph.node if n.op_type == "GatherBlockQuantized"}
    multiplied = {n.input[1] for n in model.graph.node if n.op_type == "MatMulNBits"}
    assert len(looked_up & multiplied) == 1


@pytest.mark.parametrize("family", ["bert", "classifier", "decoder", "lstm"])
def test_the_file_is_smaller_than_that_of_int8(family: str, tmp_path: Path) -> None:
    sizes = {"vocab_size": 900, "hidden_size": 64}
    models: dict[str, nn.Module] = {
        "bert": BertForSequenceClassification(
            BertConfig(**sizes, num_hidden_layers=2, num_attention_heads=2, intermediate_size=256)
        ),
        "classifier": RecurrentForSequenceClassification(RecurrentConfig(**sizes, embedding_size=64)),
        "decoder": DecoderForCausalLM(DecoderConfig(**sizes, num_hidden_layers=2)),
        "lstm": RecurrentForCausalLM(RecurrentDecoderConfig(**sizes, embedding_size=64)),
    }
    specs = graphs_of(models[family].eval(), tasks.build("text-classification", ("a", "b")))
    sources = export_graphs(specs, tmp_path, ExportConfig())
    int8, int4 = (quantized(sources, tmp_path, variant) for variant in ("int8", "int4"))
    size = [sum(path.stat().st_size for path in files.values()) for files in (int8, int4)]
    assert size[1] < 0.85 * size[0]


def test_an_answer_does_not_depend_on_the_texts_beside_it(tmp_path: Path) -> None:
    _, files = written("bert", tmp_path)
    graphs, ids = Graphs(files, 1), np.random.default_rng(0).integers(3, 60, size=(8, 9))
    batch = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": ids * 0}
    (together,) = graphs.run("model", batch)
    alone = [graphs.run("model", {name: a[row : row + 1] for name, a in batch.items()})[0][0] for row in range(8)]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def graph_with(nodes: list[onnx.NodeProto], outputs: list[str]) -> onnx.ModelProto:
    weight = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 64])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.array(True), "true")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def branch() -> onnx.NodeProto:
    """Reads the matrix inside of a branch."""
    info = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    inside = helper.make_graph([helper.make_node("Neg", ["weight"], ["inner"])], "inside", [], [info])
    return helper.make_node("If", ["true"], ["other"], then_branch=inside, else_branch=inside)


PRODUCT = helper.make_node("MatMul", ["x", "weight"], ["y"])


@pytest.mark.parametrize(
    "other",
    [
        helper.make_node("Neg", ["weight"], ["other"]),
        helper.make_node("Gemm", ["x", "x", "weight"], ["other"], transB=1),
        branch(),
    ],
    ids=["an operator", "as a bias", "a branch"],
)
def test_a_matrix_that_something_else_reads_stays(other: onnx.NodeProto) -> None:
    model = graph_with([PRODUCT, other], ["y", "other"])
    before = model.SerializeToString()
    quantize_blocks(model, 0, 4)
    assert model.SerializeToString() == before


@pytest.mark.parametrize("settings", [{"alpha": 0.5}, {"transA": 1}], ids=["scaled", "turned"])
def test_a_product_of_another_kind_stays(settings: dict[str, Any]) -> None:
    model = graph_with([helper.make_node("Gemm", ["x", "weight"], ["y"], **settings)], ["y"])
    before = model.SerializeToString()
    quantize_blocks(model, 0, 4)
    assert model.SerializeToString() == before


@pytest.mark.parametrize("turned", [0, 1])
def test_one_matrix_of_several_products_is_stored_once_for_each_way_it_is_read(turned: int) -> None:
    second = helper.make_node("Gemm", ["x", "weight"], ["other"], transB=turned)
    model = graph_with([PRODUCT, second], ["y", "other"])
    x = np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32)
    before = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    quantize_blocks(model, 0, 4)
    found = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    assert [t.name for t in model.graph.initializer].count("weight") == 0
    assert sum(t.name.endswith(".levels") for t in model.graph.initializer) == 1 + turned
    for one, other in zip(before, found, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.98
