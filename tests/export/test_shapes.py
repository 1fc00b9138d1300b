"""A graph whose shapes are constants answers as the one that computed them, at sizes that were never seen."""

from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_writers import tiny_writer

from distill.config.schema import ExportConfig
from distill.export import onnx_export
from distill.export.onnx_export import export_graphs
from distill.export.shapes import expand, fix_shapes, reshape
from distill.models.graphs import graphs_of
from distill.runtime import Graphs


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (["batch", "length", 64], ["batch", "length", 4, 16], [0, 0, 4, 16]),
        (["batch", "length", 4, 16], ["batch", "length", 64], [0, 0, 64]),
        (["batch", "length", 64], ["batch*length", 64], [-1, 64]),
        (["batch*length", 64], ["batch", "length", 64], None),
        (["batch", 4, "length"], ["batch", "length", 4], [0, -1, 4]),
    ],
)
def test_reshape_keeps_what_stays_in_its_place(before: list[object], after: list[object], expected: object) -> None:
    assert reshape(before, after) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (["batch", 2, 1, "length", 8], ["batch", 2, 3, "length", 8], [1, 1, 3, 1, 1]),
        ([1, "length"], ["batch", 1, "length"], None),
        (["length"], [7, "length"], [7, 1]),
    ],
)
def test_expand_grows_by_sizes_that_are_known(before: list[object], after: list[object], expected: object) -> None:
    assert expand(before, after) == expected


@pytest.mark.parametrize("family", ["decoder", "encoder-decoder", "Llama", "Marian"])
def test_the_decoder_computes_hardly_any_shapes(family: str, tmp_path: Path) -> None:
    specs = graphs_of(tiny_writer(family))
    with mock.patch.object(onnx_export, "fix_shapes", lambda model: model):
        before = export_graphs(specs, tmp_path / "before", ExportConfig())["decoder"]
    after = export_graphs(specs, tmp_path / "after", ExportConfig())["decoder"]
    nodes = onnx.load(after).graph.node
    computed = {o for node in nodes for o in node.output} - {n.output[0] for n in nodes if n.op_type == "Constant"}
    shaped = [n for n in nodes if n.op_type in ("Reshape", "Expand")]
    assert len([n for n in shaped if n.input[1] in computed]) <= 1  # of transformers' masks
    assert len(nodes) < 0.8 * len(onnx.load(before).graph.node)


def graph_of(nodes: list[onnx.NodeProto], *constants: tuple[str, list[int]]) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length", 6])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    tensors = [numpy_helper.from_array(np.array(value, dtype=np.int64), name) for name, value in constants]
    graph = helper.make_graph(nodes, "graph", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_sizes_that_are_always_the_same_are_constants() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "last"], ["size"]),
        helper.make_node("Cast", ["size"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["x", "number"], ["y"]),
    ]
    model = graph_of(nodes, ("last", 2))  # type: ignore[arg-type]
    fixed = fix_shapes(onnx.ModelProto.FromString(model.SerializeToString()))
    assert {node.op_type for node in fixed.graph.node} == {"Identity", "Cast", "Div"}
    x = np.random.default_rng(0).normal(size=(3, 5, 6)).astype(np.float32)
    for one in (model, fixed):
        session = onnxruntime.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"])
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], x / 6)


def test_zero_is_an_axis_that_stays_even_where_the_exporter_meant_a_size() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["first"], start=0, end=1),
        helper.make_node("Shape", ["x"], ["second"], start=1, end=2),
        helper.make_node("Concat", ["first", "second", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["y"], allowzero=1),
    ]
    fixed = fix_shapes(graph_of(nodes, ("rest", [2, 3])))
    assert [node.op_type for node in fixed.graph.node] == ["Reshape"]
    session = onnxruntime.InferenceSession(fixed.SerializeToString(), providers=["CPUExecutionProvider"])
    for shape in ((1, 1, 6), (4, 7, 6)):
        assert session.run(None, {"x": np.zeros(shape, dtype=np.float32)})[0].shape == (*shape[:2], 2, 3)


def test_a_graph_that_inference_does_not_follow_stays_as_it_is(tmp_path: Path) -> None:
    model = graph_of([helper.make_node("Unheard", ["x"], ["y"], domain="of.no.one")])
    before = model.SerializeToString()
    assert fix_shapes(model).SerializeToString() == before


def test_a_cache_of_any_length_and_a_batch_of_one_are_read(tmp_path: Path) -> None:
    graphs = Graphs(export_graphs(graphs_of(tiny_writer("Llama")), tmp_path, ExportConfig()), 1)
    ids = np.random.default_rng(0).integers(3, 60, (1, 9))
    whole = graphs.run("decoder", {"input_ids": ids, "attention_mask": np.ones_like(ids), **graphs.empty_cache(1)})[0]
    cache = graphs.empty_cache(1)
    for place in range(9):
        given = {"input_ids": ids[:, place : place + 1], "attention_mask": np.ones((1, place + 1), dtype=np.int64)}
        logits, *tensors = graphs.run("decoder", {**given, **cache})
        np.testing.assert_allclose(logits[:, 0], whole[:, place], atol=1e-4)
        cache = dict(zip(cache, tensors, strict=True))
