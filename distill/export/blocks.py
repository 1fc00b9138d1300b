"""Weights in 4 bits, in blocks of 32 with a scale and a zero point each: onnxruntime's ``MatMulNBits`` multiplies by
them, its ``GatherBlockQuantized`` looks rows up in them."""

import hashlib
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

BLOCK = 32
TOP = 15
"""The largest level of 4 bits."""
MICROSOFT = "com.microsoft"
"""Domain of both operators."""
FP32_ACCUMULATION = 1
"""``accuracy_level`` of ``MatMulNBits``. At 4 it quantizes activations, too, which changes the most likely token
(onnxruntime#29849)."""


def quantize_blocks(model: onnx.ModelProto, smallest_embedding: int) -> None:
    """Puts every constant fp32 matrix that is multiplied by (``MatMul``, ``Gemm``) or that rows are looked up in
    (``Gather``) into 4 bits a weight, in place.

    Activations, sums and biases stay in fp32, so that an answer does not depend on the texts beside it. A matrix that
    is the transpose of another, such as the output layer that is tied to the embedding, is stored once for both.

    Embeddings of fewer weights than ``smallest_embedding`` stay, and so does a matrix that something else reads, too.
    """
    nodes = list(model.graph.node)
    quantizer = _BlockQuantizer(model.graph, smallest_embedding)
    del model.graph.node[:]
    for node in nodes:
        quantizer.add(node)
    read = {name for node in model.graph.node for name in node.input}
    for name in quantizer.quantized - read:
        model.graph.initializer.remove(quantizer.matrices[name])
    if quantizer.quantized and all(opset.domain != MICROSOFT for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))


class Blocks(NamedTuple):
    """A matrix [N, K] in B blocks a row, the last of them filled with zeros: weight = scale · (level - zero point)."""

    levels: NDArray[np.uint8]
    """[N, B, 32], from 0 to 15."""
    scales: NDArray[np.float32]
    """[N, B]"""
    zero_points: NDArray[np.uint8]
    """[N, B]"""


def in_blocks(matrix_NK: NDArray[np.float32]) -> Blocks:
    """Each block from its smallest to its largest weight in equal steps, of which one is 0; as onnxruntime's own
    quantizer does, whose module changes the logging of the whole program when it is imported."""
    rows, width = matrix_NK.shape
    blocks = np.pad(matrix_NK, ((0, 0), (0, -width % BLOCK))).reshape(rows, -1, BLOCK)
    low = np.minimum(blocks.min(axis=-1, keepdims=True), 0)
    high = np.maximum(blocks.max(axis=-1, keepdims=True), 0)
    scales = (high - low) / np.float32(TOP)
    steps = np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)
    zero_points = np.clip(np.rint(-low * steps), 0, TOP)
    levels = np.clip(np.rint(blocks * steps + zero_points), 0, TOP)
    return Blocks(levels.astype(np.uint8), scales[..., 0], zero_points[..., 0].astype(np.uint8))


def packed(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two neighbours on the last axis in one byte, the first of them in its lower half."""
    even = np.pad(levels, [(0, 0)] * (levels.ndim - 1) + [(0, levels.shape[-1] % 2)])
    return (even[..., ::2] + 16 * even[..., 1::2]).astype(np.uint8)


class _BlockQuantizer:
    """Adds nodes to a graph, with quantized ones in the place of products and look-ups."""

    def __init__(self, graph: onnx.GraphProto, smallest_embedding: int) -> None:
        self.graph, self.smallest = graph, smallest_embedding
        matrices = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 2}
        self.matrices = matrices
        """Those that products and look-ups alone read."""
        self.quantized: set[str] = set()
        self.stored: dict[tuple[bytes, int], list[str]] = {}
        """Names of levels, scales and zero points, by content and number of blocks."""
        for name in [output.name for output in graph.output]:
            matrices.pop(name, None)
        for node in graph.node:
            own = self._matrix_of(node)
            for name in [*(name for name in node.input if name != own), *_read_inside(node)]:
                matrices.pop(name, None)

    def add(self, node: onnx.NodeProto) -> None:
        """The node, or what does the same with a quantized matrix."""
        name = self._matrix_of(node)
        if name is None:
            self.graph.node.append(node)
            return
        self.quantized.add(name)
        matrix = numpy_helper.to_array(self.matrices[name])
        if node.op_type == "Gather":
            self._look_up(node, matrix)
        else:
            self._multiply(node, matrix if _attributes(node).get("transB") else matrix.T)

    def _matrix_of(self, node: onnx.NodeProto) -> str | None:
        """The matrix that is quantized in the node; None where there is none."""
        said = _attributes(node)
        plain = node.domain in ("", "ai.onnx")
        if plain and node.op_type == "Gather" and said.get("axis", 0) == 0:
            tensor = self.matrices.get(node.input[0])
            return tensor.name if tensor is not None and np.prod(tensor.dims) >= self.smallest else None
        unscaled = said.get("alpha", 1) == said.get("beta", 1) == 1 and not said.get("transA")
        if plain and (node.op_type == "MatMul" or (node.op_type == "Gemm" and unscaled)):
            return node.input[1] if node.input[1] in self.matrices else None
        return None

    def _store(self, name: str, matrix_NK: NDArray[np.float32], blocks: int) -> list[str]:
        """Names of what the matrix became: levels [N, B, bytes], scales and zero points."""
        matrix = np.ascontiguousarray(np.pad(matrix_NK, ((0, 0), (0, blocks * BLOCK - matrix_NK.shape[1]))))
        key = hashlib.sha256(matrix.tobytes()).digest(), blocks
        if key not in self.stored:
            levels, scales, zero_points = in_blocks(matrix)
            name = f"{name}.{len(self.stored)}"
            tensors = {
                f"{name}.levels": packed(levels),
                f"{name}.scales": scales,
                f"{name}.zero_points": packed(zero_points),
            }
            self.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in tensors.items())
            self.stored[key] = list(tensors)
        return self.stored[key]

    def _multiply(self, node: onnx.NodeProto, matrix_NK: NDArray[np.float32]) -> None:
        rows, width = matrix_NK.shape
        names = self._store(node.input[1], matrix_NK, -(-width // BLOCK))
        bias, out = node.input[2:], node.output[0]
        size = {"K": width, "N": rows, "bits": 4, "block_size": BLOCK}
        inputs, product = [node.input[0], *names], f"{out}_product" if bias else out
        self._node("MatMulNBits", inputs, product, domain=MICROSOFT, accuracy_level=FP32_ACCUMULATION, **size)
        if bias:
            self._node("Add", [product, *bias], out)

    def _look_up(self, node: onnx.NodeProto, matrix_NK: NDArray[np.float32]) -> None:
        """With an even number of blocks: of an odd one onnxruntime 1.23 misreads the zero points in 4 bits."""
        rows, width = matrix_NK.shape
        blocks = 2 * -(-width // (2 * BLOCK))
        levels, *names = self._store(node.input[0], matrix_NK, blocks)
        out = node.output[0]
        flat, filled = f"{out}_levels", f"{out}_filled"
        self._node("Reshape", [levels, self._ids(f"{flat}_shape", [rows, -1])], flat)
        axes = {"gather_axis": 0, "quantize_axis": 1, "bits": 4, "block_size": BLOCK}
        whole = width == blocks * BLOCK
        inputs = [flat, node.input[1], *names]
        self._node("GatherBlockQuantized", inputs, out if whole else filled, domain=MICROSOFT, **axes)
        if not whole:
            ends = [self._ids(f"{filled}_{what}", [at]) for what, at in (("first", 0), ("last", width), ("axis", -1))]
            self._node("Slice", [filled, *ends], out)

    def _ids(self, name: str, values: list[int]) -> str:
        self.graph.initializer.append(numpy_helper.from_array(np.array(values, dtype=np.int64), name))
        return name

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: int | str) -> None:
        self.graph.node.append(helper.make_node(kind, inputs, [output], **attributes))


def _attributes(node: onnx.NodeProto) -> dict[str, int | float]:
    """Those that are numbers."""
    return {a.name: a.f if a.type == onnx.AttributeProto.FLOAT else a.i for a in node.attribute}


def _read_inside(node: onnx.NodeProto) -> list[str]:
    """What the graphs inside of a node, such as the branches of an ``If``, read."""
    graphs = [graph for a in node.attribute for graph in ([a.g] if a.HasField("g") else a.graphs)]
    inner = [node for graph in graphs for node in graph.node]
    outputs = [output.name for graph in graphs for output in graph.output]
    return [*outputs, *(name for node in inner for name in [*node.input, *_read_inside(node)])]
