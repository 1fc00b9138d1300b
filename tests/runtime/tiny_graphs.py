"""Graphs of a few nodes, whose logits numpy computes in one line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

CORPUS = ["a gorgeous witty seductive movie", "not much of anything", "a mess from start to end", "fine"]
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def word_table(vocabulary_size: int, classes: int, scale: float = 1.0) -> NDArray[np.float32]:
    table = np.random.default_rng(0).normal(size=(vocabulary_size, classes))
    return (scale * table).astype(np.float32)


def write_graph(path: Path, table: NDArray[np.float32], by_token: bool, inputs: tuple[str, ...] = INPUTS) -> None:
    """Logits [B, C]: sum over real tokens of their row of ``table``, times 1 + segment; ``by_token``: not summed."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["embedded"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["embedded", "column"], ["kept"]),
    ]
    weighted = "kept"
    if "token_type_ids" in inputs:
        nodes += [
            helper.make_node("Cast", ["token_type_ids"], ["segment"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["segment", "one"], ["factor"]),
            helper.make_node("Unsqueeze", ["factor", "last"], ["factors"]),
            helper.make_node("Mul", ["kept", "factors"], ["weighted"]),
        ]
        weighted = "weighted"
    nodes.append(
        helper.make_node("Identity", [weighted], ["logits"])
        if by_token
        else helper.make_node("ReduceSum", [weighted, "middle"], ["logits"], keepdims=0)
    )
    shape = ["batch", "sequence", table.shape[1]] if by_token else ["batch", table.shape[1]]
    graph = helper.make_graph(
        nodes,
        "sum",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"]) for name in inputs],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([2]), "last"),
            numpy_helper.from_array(np.array([1]), "middle"),
            numpy_helper.from_array(np.array(1, dtype=np.float32), "one"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))


def write_decoder_graph(path: Path, table: NDArray[np.float32]) -> None:
    """A decoder whose cache holds what it read: logits [B, L, V] are the rows of ``table`` [V, V] of the ids, plus the
    ``present`` length."""
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["numbers", "axes"], ["column"]),
        helper.make_node("Concat", ["past.0.key", "column"], ["present.0.key"], axis=2),
        helper.make_node("ReduceSum", ["attention_mask"], ["read"], keepdims=0),
        helper.make_node("Cast", ["read"], ["length"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Add", ["rows", "length"], ["logits"]),
    ]
    ids, mask = (
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", length])
        for name, length in (("input_ids", "sequence"), ("attention_mask", "total"))
    )
    past, present = (
        helper.make_tensor_value_info(f"{name}.0.key", TensorProto.FLOAT, ["batch", 1, length, 1])
        for name, length in (("past", "past"), ("present", "total"))
    )
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "sequence", table.shape[1]])
    weights = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1, 3]), "axes")]
    graph = helper.make_graph(nodes, "writer", [ids, mask, past], [logits, present], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))


def with_positions(model: onnx.ModelProto, count: int) -> onnx.ModelProto:
    """The same graph, which looks up a row of zeros for each position, of which there are ``count``."""
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["without" if name == "embedded" else name for name in node.output]
    width = graph.initializer[0].dims[1]
    graph.initializer.append(numpy_helper.from_array(np.zeros((count, width), dtype=np.float32), "positions"))
    nodes = [
        helper.make_node("CumSum", ["attention_mask", "middle_axis"], ["ordinals"], exclusive=1),
        helper.make_node("Gather", ["positions", "ordinals"], ["of_positions"]),
        helper.make_node("Add", ["without", "of_positions"], ["embedded"]),
    ]
    graph.initializer.append(numpy_helper.from_array(np.array(1), "middle_axis"))
    nodes = [graph.node[0], *nodes, *graph.node[1:]]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


MakeBundle = Callable[..., Path]
