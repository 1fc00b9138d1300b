"""An output layer that is tied to the embedding, against the same graph with both written out."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tiny_writers import tiny_writer

from distill.config.schema import ExportConfig
from distill.export.onnx_export import export_graphs
from distill.export.quantize import VARIANTS, Files
from distill.export.tied import tie, untie
from distill.models.graphs import graphs_of

V, D = 300, 64
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(V, D)).astype(np.float32)
IDS = RNG.integers(0, V, (3, 7))


def graph(matrix_DV: NDArray[np.float32]) -> onnx.ModelProto:
    """Looks rows up, mixes them, and multiplies by the matrix: a decoder without its layers."""
    mix = RNG.normal(size=(D, D)).astype(np.float32) / np.float32(D**0.5)
    tensors = {"rows": ROWS, "mix": mix, "matrix": matrix_DV}
    nodes = [
        helper.make_node("Gather", ["rows", "ids"], ["looked_up"]),
        helper.make_node("MatMul", ["looked_up", "mix"], ["mixed"]),
        helper.make_node("MatMul", ["mixed", "matrix"], ["logits"]),
    ]
    return helper.make_model(
        helper.make_graph(
            nodes,
            "writer",
            [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "length", V])],
            [numpy_helper.from_array(array, name) for name, array in tensors.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )


def logits(model: onnx.ModelProto | Path) -> NDArray[np.float32]:
    given = str(model) if isinstance(model, Path) else model.SerializeToString()
    found: NDArray[np.float32] = onnxruntime.InferenceSession(given, providers=["CPUExecutionProvider"]).run(
        None, {"ids": IDS}
    )[0]
    return found


def arrays(model: onnx.ModelProto) -> dict[str, NDArray[np.generic]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_the_transpose_of_an_embedding_is_stored_once_and_nothing_else_changes() -> None:
    whole = graph(np.ascontiguousarray(ROWS.T))
    once = onnx.ModelProto()
    once.CopyFrom(whole)
    tie(once)
    assert list(arrays(once)) == ["rows", "mix"]
    np.testing.assert_array_equal(logits(once), logits(whole))
    assert untie(once) == {"matrix": "rows"}
    before, after = arrays(whole), arrays(once)
    assert before.keys() == after.keys()
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)
    assert [node.op_type for node in once.graph.node] == [node.op_type for node in whole.graph.node]


def test_a_matrix_of_its_own_stays() -> None:
    other = np.ascontiguousarray(ROWS.T)
    other[3, 5] += np.float32(1e-6) * abs(other[3, 5])
    model = graph(other)
    tie(model)
    assert list(arrays(model)) == ["rows", "mix", "matrix"]
    assert untie(model) == {}


@pytest.mark.parametrize("variant", ["int8", "int8_vnni"])
def test_in_int8_the_rows_are_the_columns_of_the_matrix(tmp_path: Path, variant: str) -> None:
    model = graph(np.ascontiguousarray(ROWS.T))
    tie(model)
    onnx.save(model, tmp_path / "fp32.onnx")
    VARIANTS[variant]({"decoder": Files(tmp_path / "fp32.onnx", tmp_path / "small.onnx")}, ())
    stored = arrays(onnx.load(tmp_path / "small.onnx"))
    levels = 64 if variant == "int8" else 127
    large = {name: array for name, array in stored.items() if array.size == V * D}
    assert [(name, array.dtype, array.shape) for name, array in large.items()] == [("rows_rows", np.int8, (V, D))]
    rows, scales = stored["rows_rows"], stored["rows_scales"]
    np.testing.assert_allclose(scales, np.abs(ROWS).max(axis=1, keepdims=True) / levels, rtol=1e-5)
    assert np.abs(rows * scales - ROWS).max() <= 0.51 * scales.max()
    if variant == "int8":  # which is right on every processor
        expected = (rows * scales)[IDS] @ arrays(model)["mix"] @ (rows * scales).T
        found = logits(tmp_path / "small.onnx")
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("variant", ["int4", "int8_weights", "fp16"])
def test_other_variants_are_those_of_both_matrices(tmp_path: Path, variant: str) -> None:
    whole = graph(np.ascontiguousarray(ROWS.T))
    onnx.save(whole, tmp_path / "whole.onnx")
    tie(whole)
    onnx.save(whole, tmp_path / "once.onnx")
    made = {name: tmp_path / f"{name}_small.onnx" for name in ("whole", "once")}
    for name, target in made.items():
        VARIANTS[variant]({"decoder": Files(tmp_path / f"{name}.onnx", target)}, ())
    np.testing.assert_array_equal(logits(made["once"]), logits(made["whole"]))
    assert sum(array.size > V * D // 4 for array in arrays(onnx.load(made["once"])).values()) == 1


@pytest.mark.parametrize("family", ["decoder", "GPT2", "Marian", "T5", "encoder-decoder"])
def test_exported_decoders_hold_their_embedding_once(tmp_path: Path, family: str) -> None:
    model = tiny_writer(family)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    embedding = model.get_input_embeddings().weight.detach().numpy()
    decoder = arrays(onnx.load(export_graphs(graphs_of(model), tmp_path, ExportConfig())["decoder"]))
    assert sum(array.size == embedding.size for array in decoder.values()) == 1
    assert any(np.array_equal(array, embedding) for array in decoder.values())
