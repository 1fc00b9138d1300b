from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from distill.measure import Specification

VOCABULARY, CLASSES = 50, 3


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """logits [B, 3]: the embeddings (50 x 3) of the tokens that the mask keeps, summed."""
    table = np.random.default_rng(0).normal(size=(VOCABULARY, CLASSES)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["embedded"]),
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
            helper.make_node("Mul", ["embedded", "column"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "middle"], ["logits"], keepdims=0),
        ],
        "sum",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([2]), "last"),
            numpy_helper.from_array(np.array([1]), "middle"),
        ],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


@pytest.fixture
def specification(model: Path) -> Specification:
    lengths = np.random.default_rng(1).integers(2, 20, 40)
    return Specification(
        model=str(model),
        inputs=("input_ids", "attention_mask"),
        token_ids=tuple(tuple(range(1, int(n) + 1)) for n in lengths),
        pad_id=0,
        threads=1,
        seconds=0.05,
        watts_per_core=12.0,
        max_length=24,
    )
