"""Weights in 4 or 8 bits, in blocks of 32 with a scale and a zero point each: onnxruntime's ``GatherBlockQuantized``
looks rows up in them; its ``MatMulNBits`` multiplies by those of 4 bits, those of 8 are put back into fp32 when a graph
is loaded."""

import hashlib
from typing import Literal, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

BLOCK = 32
MICROSOFT = "com.microsoft"
"""Domain of both operators."""
FP32_ACCUMULATION = 1
"""``accuracy_level`` of ``MatMulNBits``. At 4 it quantizes activations, too, which changes the most likely token
(onnxruntime#29849)."""
Bits = Literal[4, 8]
RECURRENT = ("LSTM", "GRU", "RNN")
"""Operators whose second and third input are weights [directions, N, K]."""


def quantize_blocks(model: onnx.ModelProto, smallest_embedding: int, bits: Bits) -> None:
    """Puts every constant fp32 matrix that is multiplied by (``MatMul``, ``Gemm``) or that rows are looked up in
    (``Gather``) into so many bits a weight, in place; in 8 bits those of recurrent layers, too.

    Activations, sums and biases stay in fp32, so that an answer does not depend on the texts beside it. A matrix that
    is the transpose of another, such as the output layer that is tied to the embedding, is stored once for both.

    Embeddings of fewer weights than ``smallest_embedding`` stay, and so does a matrix that something else reads, too.
    """
    nodes = list(model.graph.node)
    quantizer = _BlockQuantizer(model.graph, smallest_embedding, bits)
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
    """[N, B, 32], from 0 to 2^bits - 1."""
    scales: NDArray[np.float32]
    """[N, B]"""
    zero_points: NDArray[np.uint8]
    """[N, B]"""


def in_blocks(matrix_NK: NDArray[np.float32], bits: Bits) -> Blocks:
    """Each block from its smallest to its largest weight in equal steps, of which one is 0; as onnxruntime's own
    quantizer does, whose module changes the logging of the whole program when it is imported."""
    top, (rows, width) = 2**bits - 1, matrix_NK.shape
    blocks = np.pad(matrix_NK, ((0, 0), (0, -width % BLOCK))).reshape(rows, -1, BLOCK)
    low = np.minimum(blocks.min(axis=-1, keepdims=True), 0)
    high = np.maximum(blocks.max(axis=-1, keepdims=True), 0)
    scales = (high - low) / np.float32(top)
    steps = np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)
    zero_points = np.clip(np.rint(-low * steps), 0, top)
    levels = np.clip(np.rint(blocks * steps + zero_points), 0, top)
    return Blocks(levels.astype(np.uint8), scales[..., 0], zero_points[..., 0].astype(np.uint8))


def packed(levels: NDArray[np.uint8], bits: Bits) -> NDArray[np.uint8]:
    """In 4 bits two neighbours on the last axis in one byte, the first of them in its lower half."""
    if bits == 8:
        return levels
    even = np.pad(levels, [(0, 0)] * (levels.ndim - 1) + [(0, levels.shape[-1] % 2)])
    return (even[..., ::2] + 16 * even[..., 1::2]).astype(np.uint8)


class _BlockQuantizer:
    """Adds nodes to a graph, with quantized ones in the place of products and look-ups."""

    def __init__(self, graph: onnx.GraphProto, smallest_embedding: int, bits: Bits) -> None:
        self.graph, self.smallest, self.bits = graph, smallest_embedding, bits
        matrices = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) in (2, 3)}
        self.matrices = matrices
        """Those that products and look-ups alone read."""
        self.quantized: set[str] = set()
        self.stored: dict[tuple[bytes, int], list[str]] = {}
        """Names of levels, scales and zero points, by content and number of blocks."""
        for name in [output.name for output in graph.output]:
            matrices.pop(name, None)
        for node in graph.node:
            own = [self._matrix_of(node), *self._recurrent_of(node)]
            for name in [*(name for name in node.input if name not in own), *_read_inside(node)]:
                matrices.pop(name, None)

    def add(self, node: onnx.NodeProto) -> None:
        """The node, or what does the same with a quantized matrix."""
        for weights in self._recurrent_of(node):
            self._unpack_recurrent(node, weights)
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

    def _recurrent_of(self, node: onnx.NodeProto) -> list[str]:
        """The weights of a recurrent layer that are quantized in the node."""
        if self.bits == 4 or node.op_type not in RECURRENT:
            return []
        return [name for name in node.input[1:3] if name in self.matrices and len(self.matrices[name].dims) == 3]

    def _matrix_of(self, node: onnx.NodeProto) -> str | None:
        """The matrix that is quantized in the node; None where there is none."""
        said = _attributes(node)
        plain = node.domain in ("", "ai.onnx")
        if plain and node.op_type == "Gather" and said.get("axis", 0) == 0:
            tensor = self.matrices.get(node.input[0])
            large = tensor is not None and len(tensor.dims) == 2 and np.prod(tensor.dims) >= self.smallest
            return node.input[0] if large else None
        unscaled = said.get("alpha", 1) == said.get("beta", 1) == 1 and not said.get("transA")
        if plain and (node.op_type == "MatMul" or (node.op_type == "Gemm" and unscaled)):
            tensor = self.matrices.get(node.input[1])
            return node.input[1] if tensor is not None and len(tensor.dims) == 2 else None
        return None

    def _store(self, name: str, matrix_NK: NDArray[np.float32], blocks: int) -> list[str]:
        """Names of what the matrix became: levels [N, B, bytes], scales and zero points."""
        matrix = np.ascontiguousarray(np.pad(matrix_NK, ((0, 0), (0, blocks * BLOCK - matrix_NK.shape[1]))))
        key = hashlib.sha256(matrix.tobytes()).digest(), blocks
        if key not in self.stored:
            levels, scales, zero_points = in_blocks(matrix, self.bits)
            name = f"{name}.{len(self.stored)}"
            tensors = {
                f"{name}.levels": packed(levels, self.bits),
                f"{name}.scales": scales,
                f"{name}.zero_points": packed(zero_points, self.bits),
            }
            self.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in tensors.items())
            self.stored[key] = list(tensors)
        return self.stored[key]

    def _multiply(self, node: onnx.NodeProto, matrix_NK: NDArray[np.float32]) -> None:
        rows, width = matrix_NK.shape
        names = self._store(node.input[1], matrix_NK, -(-width // BLOCK))
        bias, out = node.input[2:], node.output[0]
        product = f"{out}_product" if bias else out
        if self.bits == 8:  # with sums in fp32, MatMulNBits unpacks them at each run, which takes longer than fp32
            weights = self._unpacked(names, (rows, width), f"{out}_weights")
            self._node("Transpose", [weights], f"{out}_weights_KN", perm=[1, 0])
            self._node("MatMul", [node.input[0], f"{out}_weights_KN"], product)
        else:
            size = {"K": width, "N": rows, "bits": self.bits, "block_size": BLOCK}
            inputs = [node.input[0], *names]
            self._node("MatMulNBits", inputs, product, domain=MICROSOFT, accuracy_level=FP32_ACCUMULATION, **size)
        if bias:
            self._node("Add", [product, *bias], out)

    def _unpack_recurrent(self, node: onnx.NodeProto, name: str) -> None:
        """Puts weights [directions, N, K] in fp32 in the place of ``name``."""
        weights = numpy_helper.to_array(self.matrices[name])
        width, out = weights.shape[-1], f"{node.output[0] or node.output[1]}_{name}"
        self.quantized.add(name)
        names = self._store(name, weights.reshape(-1, width), -(-width // BLOCK))
        flat = self._unpacked(names, (weights.size // width, width), f"{out}_flat")
        self._node("Reshape", [flat, self._ids(f"{out}_shape", list(weights.shape))], out)
        node.input[:] = [out if given == name else given for given in node.input]

    def _unpacked(self, names: list[str], shape: tuple[int, int], out: str) -> str:
        """Weights [N, K] in fp32, of 8 bits. All that goes in is constant: onnxruntime computes them once, when it
        loads the graph, and what runs is what would run in fp32."""
        (levels, scales, zero_points), (rows, width) = names, shape
        self._node("Cast", [levels], f"{out}_levels", to=TensorProto.FLOAT)
        self._node("Cast", [zero_points], f"{out}_zeros_NB", to=TensorProto.FLOAT)
        last = self._ids(f"{out}_last", [-1])
        self._node("Unsqueeze", [f"{out}_zeros_NB", last], f"{out}_zeros")
        self._node("Unsqueeze", [scales, last], f"{out}_scales")
        self._node("Sub", [f"{out}_levels", f"{out}_zeros"], f"{out}_steps")
        self._node("Mul", [f"{out}_steps", f"{out}_scales"], f"{out}_blocks")
        self._node("Reshape", [f"{out}_blocks", self._ids(f"{out}_whole", [rows, -1])], f"{out}_filled")
        ends = [self._ids(f"{out}_{what}", [at]) for what, at in (("first", 0), ("end", width), ("axis", 1))]
        self._node("Slice", [f"{out}_filled", *ends], out)
        return out

    def _look_up(self, node: onnx.NodeProto, matrix_NK: NDArray[np.float32]) -> None:
        """In 4 bits with an even number of blocks: of an odd one onnxruntime 1.23 misreads the zero points."""
        rows, width = matrix_NK.shape
        together = BLOCK if self.bits == 8 else 2 * BLOCK
        blocks = -(-width // together) * together // BLOCK
        levels, *names = self._store(node.input[0], matrix_NK, blocks)
        out = node.output[0]
        flat, filled = f"{out}_levels", f"{out}_filled"
        self._node("Reshape", [levels, self._ids(f"{flat}_shape", [rows, -1])], flat)
        axes = {"gather_axis": 0, "quantize_axis": 1, "bits": self.bits, "block_size": BLOCK}
        whole = width == blocks * BLOCK
        inputs = [flat, node.input[1], *names]
        self._node("GatherBlockQuantized", inputs, out if whole else filled, domain=MICROSOFT, **axes)
        if not whole:
            ends = [self._ids(f"{filled}_{what}", [at]) for what, at in (("first", 0), ("last", width), ("axis", -1))]
            self._node("Slice", [filled, *ends], out)

    def _ids(self, name: str, values: list[int]) -> str:
        self.graph.initializer.append(numpy_helper.from_array(np.array(values, dtype=np.int64), name))
        return name

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: int | str | list[int]) -> None:
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
