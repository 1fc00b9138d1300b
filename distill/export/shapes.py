"""Shapes that a graph computes anew in each run, made constants: of a decoder a fifth of its nodes and more."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir
from onnx import numpy_helper
from onnx_ir.passes.common import RemoveUnusedNodesPass


def fix_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with what is known of its shapes as constants, and without the nodes that computed it: what each
    ``Reshape`` and ``Expand`` asks for, and sizes that are the same in each run.

    Which axes stay as they are is what onnxruntime's symbolic inference finds from the names of the inputs' axes. A
    graph that it cannot follow is given back as it is.
    """
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    try:
        inferred = SymbolicShapeInference.infer_shapes(model, auto_merge=True).graph
    except Exception:  # what it raises itself, beside assertions, where it cannot follow; the graph is right as it is
        return model
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.input, *inferred.output)
    }
    of_shape = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Shape"}
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    values |= {n.output[0]: n.attribute[0].t for n in model.graph.node if n.op_type == "Constant"}

    def constant(name: str, value: Any) -> str:
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, dtype=np.int64), name))
        return name

    for node in model.graph.node:
        before, after = (shapes.get(name) for name in (node.input[0] if node.input else "", node.output[0]))
        if node.op_type in ("Reshape", "Expand") and before is not None and after is not None:
            asked = (reshape if node.op_type == "Reshape" else expand)(before, after)
            if asked is not None:
                node.input[1] = constant(f"{node.output[0]}.shape", asked)
                del node.attribute[:]  # ``allowzero``, with which 0 would be a size
        elif node.op_type == "Gather" and node.input[0] in of_shape and node.input[1] in values:
            places, whole = numpy_helper.to_array(values[node.input[1]]), shapes.get(of_shape[node.input[0]])
            if whole is not None and places.ndim == 0 and isinstance(whole[places], int):
                size = constant(f"{node.output[0]}.size", whole[places])
                node.CopyFrom(onnx.helper.make_node("Identity", [size], list(node.output)))
    result: onnx.ModelProto = onnx_ir.to_proto(RemoveUnusedNodesPass()(onnx_ir.from_proto(model)).model)
    return result


def reshape(before: Sequence[Any], after: Sequence[Any]) -> list[int] | None:
    """What ``Reshape`` takes to make a tensor of axes ``before`` one of axes ``after``, each a number or a name: 0 for
    an axis that stays in its place, -1 for one that is to be computed; None where there are several."""
    asked = [
        axis if isinstance(axis, int) else 0 if [axis] == before[i : i + 1] else -1 for i, axis in enumerate(after)
    ]
    return asked if asked.count(-1) <= 1 else None


def expand(before: Sequence[Any], after: Sequence[Any]) -> list[int] | None:
    """The same of ``Expand``, which leaves an axis as it is where it is asked for 1; None where it would grow by a size
    that is not known."""
    aligned = [1] * (len(after) - len(before)) + list(before)
    asked = [1 if axis == old else axis for axis, old in zip(after, aligned, strict=True)]
    return asked if all(isinstance(axis, int) for axis in asked) else None
