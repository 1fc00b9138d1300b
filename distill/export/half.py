"""Weights that are kept in half precision."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def store_in_half(model: onnx.ModelProto, smallest: int) -> None:
    """Keeps every constant fp32 array of two or more axes in float16 (IEEE 754's binary16, 11 bits of mantissa), in
    place.

    Each is cast to fp32 in the graph: onnxruntime does that once, when it loads it, and what runs is what would run in
    fp32. Of one that rows are looked up in (``Gather``), the rows are cast as they are looked up.

    Arrays of fewer numbers than ``smallest`` stay, and so does one with a number that float16 does not hold (above
    65,504), such as that of a mask.
    """
    graph, halves = model.graph, dict[str, str]()
    for tensor in [t for t in graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) > 1]:
        weights = numpy_helper.to_array(tensor)
        if weights.size < smallest or not np.abs(weights).max(initial=0) <= np.finfo(np.float16).max:
            continue
        halves[tensor.name] = f"{tensor.name}_half"
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(weights.astype(np.float16), halves[tensor.name]))
    nodes = [_cast(half, name) for name, half in halves.items()]
    for node in graph.node:
        if node.op_type != "Gather" or node.input[0] not in halves:
            nodes.append(node)
            continue
        out = node.output[0]
        node.input[0], node.output[0] = halves[node.input[0]], f"{out}_half"
        nodes += [node, _cast(f"{out}_half", out)]
    del graph.node[:]
    graph.node.extend(nodes)


def _cast(half: str, out: str) -> onnx.NodeProto:
    return helper.make_node("Cast", [half], [out], to=TensorProto.FLOAT)
