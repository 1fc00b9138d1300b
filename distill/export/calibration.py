"""Ranges of activations that training texts tell."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from distill.export.onnx_export import is_large
from distill.text import Encoded, pad, rows_of

CALIBRATION_TEXTS = 128
"""Training texts that ranges are learnt from."""


def with_static_ranges(model: onnx.ModelProto, texts: Sequence[Encoded], target: Path) -> onnx.ModelProto:
    """Products (``MatMul``) with a constant matrix in int8: weights with a scale a column in 7 bits, activations with
    the one range that they have over all ``texts``, read one at a time; made beside ``target``.

    The range is from the smallest to the largest value. A percentile would cut off what a few dimensions of a
    transformer hold at every token, which the others are read against.

    ``Gemm``, which pooling and classifier are, stays in fp32: it took longer with a dequantization before it.

    Raises ValueError where there is no text, or where the graph takes what no text gives, such as a cache.
    """
    if not texts:
        raise ValueError("there is no training text that ranges could be learnt from")
    taken, given = [i.name for i in model.graph.input], pad(rows_of(texts[:1])[:1], 0)
    if missing := set(taken) - set(given):
        raise ValueError(f"ranges are learnt of a model that reads whole texts; this one takes {sorted(missing)}")
    constant = {tensor.name for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in constant]
    if not products:
        return model
    for number, node in enumerate(products):
        node.name = node.name or f"product_{number}"
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        add_pre_process_metadata(model)
        quantize_static(
            model,
            aside / "quantized.onnx",
            _Reader(texts, taken),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul"],
            nodes_to_quantize=[node.name for node in products],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            use_external_data_format=is_large(model),
            extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul"]},  # sums stay in fp32, as in dynamic int8
        )
        return onnx.load(aside / "quantized.onnx")
    finally:
        shutil.rmtree(aside)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Each window of each text, alone in its batch, so that no padding counts."""

    def __init__(self, texts: Sequence[Encoded], names: Sequence[str]) -> None:
        batches = (pad([row], 0) for row in rows_of(texts))
        self.batches: Iterator[dict[str, Any]] = ({name: batch[name] for name in names} for batch in batches)

    def get_next(self) -> dict[str, Any] | None:
        """The next batch; None behind the last."""
        return next(self.batches, None)
