"""An output layer that is tied to the embedding (Press and Wolf 2017), stored once.

An exporter writes an embedding [V, D] and, once more, its transpose [D, V] that the last states are multiplied by. Here
the file holds the embedding alone, and a ``Transpose`` makes the other of it: of constants, so that onnxruntime
computes it once, when it loads the graph, and what runs is what would run without.
"""

import onnx
from onnx import TensorProto, helper, numpy_helper


def tie(model: onnx.ModelProto) -> None:
    """Takes every constant fp32 matrix out, in place, that is the transpose of one that rows are looked up in."""
    graph = model.graph
    matrices = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 2}
    embeddings = [matrices[name] for name in _looked_up(graph) if name in matrices]
    for embedding in embeddings:
        rows = numpy_helper.to_array(embedding)
        for matrix in [m for m in matrices.values() if m is not embedding and [*m.dims] == [*embedding.dims][::-1]]:
            if (numpy_helper.to_array(matrix) == rows.T).all():
                del matrices[matrix.name]
                _transpose(graph, embedding.name, matrix)


def untie(model: onnx.ModelProto) -> dict[str, str]:
    """Undoes :func:`tie`, in place: both matrices are constants, as what makes variants of a graph expects them.

    Returns the embedding of each matrix, by name.
    """
    graph = model.graph
    matrices = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 2}
    found: dict[str, str] = {}
    for node in [node for node in graph.node if node.op_type == "Transpose" and node.input[0] in matrices]:
        found[node.output[0]] = node.input[0]
        transposed = numpy_helper.to_array(matrices[node.input[0]]).T.copy()
        graph.initializer.append(numpy_helper.from_array(transposed, node.output[0]))
        graph.node.remove(node)
    return found


def tie_int8(model: onnx.ModelProto, pairs: dict[str, str]) -> None:
    """Of the ``pairs`` of :func:`untie`, in int8: the embedding's rows are the columns of the matrix, with their bits
    and scales, in place."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for name, embedding in pairs.items():
        matrix, scale = constants.get(f"{name}_quantized"), constants.get(f"{name}_scale")
        rows, scales = constants.get(f"{embedding}_rows"), constants.get(f"{embedding}_scales")
        if matrix is None or scale is None or rows is None or scales is None:
            continue
        rows.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(matrix).T.copy(), rows.name))
        scales.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale)[:, None], scales.name))
        _transpose(graph, rows.name, matrix)


def _looked_up(graph: onnx.GraphProto) -> list[str]:
    """The names of what rows are looked up in, each once."""
    return [
        *dict.fromkeys(n.input[0] for n in graph.node if n.op_type == "Gather" and not any(a.i for a in n.attribute))
    ]


def _transpose(graph: onnx.GraphProto, rows: str, matrix: onnx.TensorProto) -> None:
    """Puts the transpose of ``rows`` in the place of a constant."""
    graph.node.insert(0, helper.make_node("Transpose", [rows], [matrix.name], perm=[1, 0]))
    graph.initializer.remove(matrix)
