"""Variants of an exported graph: what is done to the fp32 file to make another one."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from distill.export.blocks import quantize_blocks
from distill.export.calibration import with_static_ranges
from distill.export.half import store_in_half
from distill.export.onnx_export import is_large, save_graph, strip_annotations
from distill.export.tied import tie_int8, untie
from distill.text import Encoded

SMALLEST_EMBEDDING = 4096
"""Weights in an embedding below which it stays in fp32: nothing is saved by quantizing it."""


def copy_fp32(source: Path, target: Path) -> None:
    """The exported graph as it is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    save_graph(onnx.load(source), target)


def quantize_int8(source: Path, target: Path, seven_bits: bool = True) -> None:
    """Embeddings in int8 row by row, matrix products and LSTMs in int8 with activations quantized as they come.

    Embeddings get one scale a row, so that a frequent piece does not pay for the largest value of a rare one; a row is
    put back into fp32 after it was looked up. It costs 4 bytes a row and no time against one scale for the matrix.

    Weights of matrix products have one scale a column and 7 bits (-64 to 64), on purpose: processors without VNNI add
    two products of an unsigned and a signed byte in 16 bits, where 8-bit weights overflow (2·255·127 > 32767) and 7-bit
    weights cannot (2·255·64 = 32640). So a graph computes the same with and without VNNI, and what the gate found here
    holds elsewhere. What int8 costs a model is measured by the gate.

    Rows of an embedding that an output layer is tied to are the columns of that layer, with its 7 bits.

    Activations have one scale a batch, so a text's logits depend a little on the texts beside it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    model = onnx.load(source)
    tied = untie(model)
    quantize_embeddings(model)
    quantized = _dynamically(model, ["MatMul", "LSTM"], target, seven_bits)
    tie_int8(quantized, tied)
    strip_annotations(quantized)
    save_graph(quantized, target)


def quantize_int4(source: Path, target: Path) -> None:
    """Embeddings and matrix products in 4 bits, with a scale and a zero point for each 32 weights: 5.1 bits a weight.

    Weights alone are quantized, activations stay in fp32 (:func:`quantize_blocks`), but for an LSTM, which is as in
    int8: no operator takes its weights in 4 bits. A GRU stays in fp32, as it does in int8.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    model = onnx.load(source)
    untie(model)
    if any(node.op_type == "LSTM" for node in model.graph.node):
        model = _dynamically(model, ["LSTM"], target)
    quantize_blocks(model, SMALLEST_EMBEDDING, 4)
    strip_annotations(model)
    save_graph(model, target)


def quantize_int8_weights(source: Path, target: Path) -> None:
    """Weights alone in 8 bits, with a scale and a zero point for each 32 of them (9.25 bits a weight): those of matrix
    products, of recurrent layers, and embeddings. Everything is computed in fp32.

    For a model that falls at the gate in int8: it loses a fraction of what int8 does, an answer does not depend on the
    texts beside it, and is the same on every processor. It saves room on the disk, not time nor memory: weights are put
    back into fp32 when the graph is loaded, but for embeddings, whose rows are as they are looked up.

    ``MatMulNBits`` has no kernel for 8 bits that sums in fp32, and unpacks the weights at each run; with
    ``accuracy_level`` 4 it has a quick one, which quantizes activations (see :mod:`distill.export.blocks`).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    model = onnx.load(source)
    untie(model)
    quantize_blocks(model, SMALLEST_EMBEDDING, 8)
    strip_annotations(model)
    save_graph(model, target)


def quantize_int8_vnni(source: Path, target: Path) -> None:
    """As in int8, with 8 bits a weight (-127 to 127) instead of 7: half the rounding error, the same size and time.

    For processors that add products of bytes in 32 bits alone (``config.schema.VNNI``). On others, sums of two products
    are cut off at 16 bits, and answers are wrong without a word: there the runtime refuses it, and it is never a
    bundle's default.
    """
    quantize_int8(source, target, seven_bits=False)


def store_fp16(source: Path, target: Path) -> None:
    """Weights kept in float16, half of fp32's size, and computed with in fp32: what float16 rounds (2^-11 of a weight)
    is all that changes, an answer does not depend on the texts beside it and is the same on every processor.

    For a model of which int8 takes too much. It saves room on the disk alone: weights are put back into fp32 when the
    graph is loaded, but for embeddings, whose rows are as they are looked up. A graph that computes in float16 took no
    less time on an x86 processor, where onnxruntime has hardly a kernel for it and casts before and behind each.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    model = onnx.load(source)
    store_in_half(model, SMALLEST_EMBEDDING)
    strip_annotations(model)
    save_graph(model, target)


def quantize_int8_static(source: Path, target: Path, calibration: Sequence[Encoded]) -> None:
    """As in int8, with activations in ranges that training texts told (QDQ) instead of those of each batch.

    An answer does not depend on the texts beside it, as one of int8 does, and it has the same size and takes about the
    same time. A text whose activations are outside of what the training texts showed is cut off there: more than
    others, this variant is for texts like those. Of a model that writes it is not made: what it reads while it writes
    is not what a text shows. No operator takes static ranges for an LSTM, which is as in int8, with a range a batch; a
    GRU stays in fp32, and so do pooling and classifier.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    model = onnx.load(source)
    quantize_embeddings(model)
    model = with_static_ranges(model, calibration, target)
    if any(node.op_type == "LSTM" for node in model.graph.node):
        model = _dynamically(model, ["LSTM"], target)
    strip_annotations(model)
    save_graph(model, target)


def _dynamically(model: onnx.ModelProto, kinds: list[str], target: Path, seven_bits: bool = True) -> onnx.ModelProto:
    """Weights of these kinds of nodes in int8, with activations quantized as they come; made beside ``target``."""
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        add_pre_process_metadata(model)  # else it advises a pre-processing that changed neither size, time nor fidelity
        quantize_dynamic(
            model,
            aside / "quantized.onnx",
            op_types_to_quantize=kinds,
            per_channel=True,
            reduce_range=seven_bits,
            weight_type=QuantType.QInt8,
            use_external_data_format=is_large(model),
        )
        return onnx.load(aside / "quantized.onnx")
    finally:
        shutil.rmtree(aside)


class Files(NamedTuple):
    """One graph, before and after."""

    fp32: Path
    """As it was exported."""
    target: Path
    """Where the variant's is written."""


Variant = Callable[[Mapping[str, Files], Sequence[Encoded]], None]
"""``make(graphs, calibration)``: writes the variant's graph of every role. ``calibration`` are training texts as the
model reads them, for variants that choose ranges by what they see; empty for those that do not."""


def _graph_by_graph(make: Callable[[Path, Path], None]) -> Variant:
    """A variant that looks at one graph at a time, and at no text."""

    def make_all(graphs: Mapping[str, Files], calibration: Sequence[Encoded]) -> None:
        for files in graphs.values():
            make(files.fp32, files.target)

    return make_all


def _with_texts(make: Callable[[Path, Path, Sequence[Encoded]], None]) -> Variant:
    """A variant that looks at one graph at a time, and at training texts."""

    def make_all(graphs: Mapping[str, Files], calibration: Sequence[Encoded]) -> None:
        for files in graphs.values():
            make(files.fp32, files.target, calibration)

    return make_all


VARIANTS: dict[str, Variant] = {
    "fp32": _graph_by_graph(copy_fp32),
    "int8": _graph_by_graph(quantize_int8),
    "int4": _graph_by_graph(quantize_int4),
    "int8_weights": _graph_by_graph(quantize_int8_weights),
    "fp16": _graph_by_graph(store_fp16),
    "int8_static": _with_texts(quantize_int8_static),
    "int8_vnni": _graph_by_graph(quantize_int8_vnni),
}


def quantize_embeddings(model: onnx.ModelProto) -> None:
    """Replaces every ``Gather`` of rows from a constant fp32 matrix [V, D], in place.

    The matrix becomes int8 [V, D] with a scale [V, 1] (largest absolute value of the row / 127); both are looked up and
    multiplied. A matrix that something else reads, too, stays.
    """
    graph = model.graph
    matrices = {
        tensor.name: tensor
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT
        and len(tensor.dims) == 2
        and np.prod(tensor.dims) >= SMALLEST_EMBEDDING
    }
    for node in graph.node:
        looked_up = node.input[0] if node.op_type == "Gather" and not any(a.i for a in node.attribute) else None
        for name in node.input:
            if name != looked_up:
                matrices.pop(name, None)
    for name, tensor in matrices.items():
        if not any(name in node.input for node in graph.node):
            continue
        weight = numpy_helper.to_array(tensor)
        scale = np.maximum(np.abs(weight).max(axis=1, keepdims=True), np.float32(1e-30)) / np.float32(127)
        rows = np.rint(weight / scale).astype(np.int8)
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(rows, f"{name}_rows"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scales"))
    nodes = []
    for node in graph.node:
        if node.op_type != "Gather" or node.input[0] not in matrices:
            nodes.append(node)
            continue
        (name, indices), out = node.input, node.output[0]
        nodes += [
            helper.make_node("Gather", [f"{name}_rows", indices], [f"{out}_row"]),
            helper.make_node("Gather", [f"{name}_scales", indices], [f"{out}_row_scale"]),
            helper.make_node("Cast", [f"{out}_row"], [f"{out}_unscaled"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{out}_unscaled", f"{out}_row_scale"], [out]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
