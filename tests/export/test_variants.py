"""Every variant of every family, against numpy that runs the file node by node (onnx's reference evaluator)."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from distill import tasks
from distill.config.rules import VARIANT_NAMES
from distill.config.schema import ExportConfig, needs
from distill.export import calibration, onnx_export, quantize
from distill.export.calibration import with_static_ranges
from distill.export.half import store_in_half
from distill.export.onnx_export import export_graphs
from distill.export.quantize import VARIANTS, Files, quantize_int8, quantize_int8_weights
from distill.models.graphs import graphs_of
from distill.models.recurrent import RecurrentConfig, RecurrentForSequenceClassification
from distill.models.recurrent_decoder import RecurrentDecoderConfig, RecurrentForCausalLM
from distill.models.transformer import (
    DecoderConfig,
    DecoderForCausalLM,
    EncoderConfig,
    EncoderForSequenceClassification,
)
from distill.runtime import Graphs
from distill.runtime.processor import runs_here
from distill.text import Encoded
from distill.text.encoding import EMPTY

SIZES: dict[str, Any] = {"vocab_size": 80, "hidden_size": 40}  # a whole block and a part of one
HEADS: dict[str, Any] = {**SIZES, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 72}
CLASSIFIERS = ("bert", "distilbert", "encoder", "lstm", "gru")
WRITERS = ("decoder", "lstm decoder")
ALONE = ("fp16", "int8_weights", "int8_static")
"""Variants of which an answer does not depend on the texts beside it."""


def model_of(family: str) -> nn.Module:
    recurrent = {**SIZES, "embedding_size": SIZES["hidden_size"] - 4}
    models: dict[str, Any] = {
        "bert": lambda: BertForSequenceClassification(BertConfig(**HEADS)),
        "distilbert": lambda: DistilBertForSequenceClassification(
            DistilBertConfig(
                vocab_size=SIZES["vocab_size"], dim=SIZES["hidden_size"], n_layers=2, n_heads=2, hidden_dim=72
            )
        ),
        "encoder": lambda: EncoderForSequenceClassification(EncoderConfig(**HEADS)),
        "lstm": lambda: RecurrentForSequenceClassification(RecurrentConfig(**recurrent)),
        "gru": lambda: RecurrentForSequenceClassification(RecurrentConfig(**recurrent, cell="gru")),
        "decoder": lambda: DecoderForCausalLM(DecoderConfig(**HEADS)),
        "lstm decoder": lambda: RecurrentForCausalLM(RecurrentDecoderConfig(**recurrent)),
    }
    torch.manual_seed(0)
    model: nn.Module = models[family]().eval()
    for name, parameter in model.named_parameters():
        parameter.data *= 1 if "norm" in name.lower() else 4  # else the logits are so small that any graph would agree
    return model


def exported(family: str, folder: Path) -> Path:
    specs = graphs_of(model_of(family), tasks.build("text-classification", ("a", "b")))
    (path,) = export_graphs(specs, folder, ExportConfig()).values()
    return path


def texts(count: int, seed: int = 1) -> list[Encoded]:
    generator = np.random.default_rng(seed)
    ids = [generator.integers(3, 80, size=generator.integers(3, 12)) for _ in range(count)]
    return [Encoded(row, np.zeros_like(row), EMPTY, False) for row in ids]


def made(variant: str, source: Path) -> Path:
    target = source.with_name(f"{variant}.onnx")
    VARIANTS[variant]({"model": Files(source, target)}, texts(30))
    return target


def batch(path: Path, rows: int = 3, seed: int = 0) -> dict[str, NDArray[Any]]:
    """What the graph takes: ids of one length; of a decoder an empty cache."""
    ids = np.random.default_rng(seed).integers(3, 80, size=(rows, 9))
    given: dict[str, NDArray[Any]] = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": 0 * ids}
    taken = onnxruntime.InferenceSession(str(path)).get_inputs()
    if any(i.name.startswith("past.") for i in taken):
        given |= Graphs({"decoder": path}, 1).empty_cache(rows)
    return {i.name: given[i.name] for i in taken}


def run(path: Path, given: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    logits: NDArray[np.float32] = onnxruntime.InferenceSession(str(path)).run(["logits"], given)[0]
    return logits


class GatherBlockQuantized(OpRun):  # type: ignore[misc]
    """Rows of 8 bits in blocks of 32, in numpy."""

    op_domain = "com.microsoft"

    def _run(self, levels: Any, ids: Any, scales: Any, zeros: Any, **settings: Any) -> tuple[NDArray[np.float32]]:
        assert settings["bits"] == 8
        blocks = levels.reshape(*scales.shape, 32).astype(np.float32)
        rows = (blocks - zeros[..., None].astype(np.float32)) * scales[..., None]
        return (rows.reshape(len(levels), -1)[ids].astype(np.float32),)


def by_numpy(path: Path, given: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    logits: NDArray[np.float32] = ReferenceEvaluator(onnx.load(path), new_ops=[GatherBlockQuantized]).run(
        ["logits"], given
    )[0]
    return logits


@pytest.mark.parametrize("variant", ["fp16", "int8_weights", "int8_static", "int8_vnni"])
@pytest.mark.parametrize("family", [*CLASSIFIERS, *WRITERS])
def test_the_graph_computes_what_numpy_makes_of_its_bytes(
    family: str, variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "SMALLEST_EMBEDDING", 0)
    source = exported(family, tmp_path)
    if family in WRITERS and variant == "int8_static":
        with pytest.raises(ValueError, match=r"reads whole texts; this one takes \['past\."):
            made(variant, source)
        return
    target = made(variant, source)
    given = batch(source)
    runs = runs_here(needs(variant))  # where it does not, onnxruntime's answers are wrong: the runtime refuses it
    found, fp32 = (run if runs else by_numpy)(target, given), run(source, given)
    assert 0 < np.abs(found - fp32).max() < (0.05 if variant in ("fp16", "int8_weights") else 0.2) * np.abs(fp32).max()
    if "DynamicQuantizeLSTM" in {node.op_type for node in onnx.load(target).graph.node}:
        return  # onnxruntime's own, which the reference does not know
    rounding = 1e-4 if variant in ("fp16", "int8_weights") else 0.02  # an activation between two levels goes to either
    np.testing.assert_allclose(found, by_numpy(target, given), atol=rounding * np.abs(fp32).max())


def halves(array: NDArray[np.float32]) -> NDArray[np.float32]:
    return array.astype(np.float16).astype(np.float32)


@pytest.mark.parametrize("family", [*CLASSIFIERS, *WRITERS])
def test_fp16_is_fp32_with_the_weights_that_float16_holds_to_the_bit(family: str, tmp_path: Path) -> None:
    source = exported(family, tmp_path)
    target, rounded = made("fp16", source), onnx.load(source)
    for tensor in rounded.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.ndim > 1 and array.size >= quantize.SMALLEST_EMBEDDING:
            tensor.CopyFrom(numpy_helper.from_array(halves(array), tensor.name))
    onnx.save(rounded, tmp_path / "rounded.onnx")
    given = batch(source)
    np.testing.assert_array_equal(run(target, given), run(tmp_path / "rounded.onnx", given))
    assert (run(target, given) != run(source, given)).any()


def test_a_number_that_float16_does_not_hold_stays_in_fp32() -> None:
    mask = np.triu(np.full((8, 8), np.finfo(np.float32).min, dtype=np.float32), 1)
    weight = np.full((8, 8), 1 / 3, dtype=np.float32)
    nodes = [helper.make_node("MatMul", ["x", "weight"], ["y"]), helper.make_node("Add", ["y", "mask"], ["z"])]
    model = graph_of(nodes, {"weight": weight, "mask": mask}, 8, "z")
    before = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": np.eye(8, dtype=np.float32)})[0]
    store_in_half(model, 0)
    kinds = {t.name: t.data_type for t in model.graph.initializer}
    assert kinds == {"mask": TensorProto.FLOAT, "weight_half": TensorProto.FLOAT16}
    after = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": np.eye(8, dtype=np.float32)})[0]
    np.testing.assert_allclose(after, before, rtol=2**-11)
    assert np.isfinite(after).all()


def graph_of(
    nodes: list[onnx.NodeProto], constants: dict[str, NDArray[Any]], width: int, output: str
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("shape", [(32, 5), (70, 33), (3, 1)])
def test_a_weight_of_8_bits_is_off_by_half_a_step_of_its_block_at_most(shape: tuple[int, int], tmp_path: Path) -> None:
    """Read out of the graph by multiplying by the unit vectors."""
    weight = np.random.default_rng(0).normal(size=shape).astype(np.float32) * np.logspace(-2, 2, shape[0])[:, None]
    weight = weight.astype(np.float32)
    model = graph_of([helper.make_node("MatMul", ["x", "weight"], ["y"])], {"weight": weight}, shape[0], "y")
    onnx.save(model, tmp_path / "fp32.onnx")
    quantize_int8_weights(tmp_path / "fp32.onnx", tmp_path / "int8.onnx")
    found = onnxruntime.InferenceSession(tmp_path / "int8.onnx").run(None, {"x": np.eye(shape[0], dtype=np.float32)})[0]
    for start in range(0, shape[0], 32):
        block = weight[start : start + 32]
        step = (np.maximum(block.max(0), 0) - np.minimum(block.min(0), 0)) / 255
        assert (np.abs(found[start : start + 32] - block) <= step * 1.001).all()  # zero is a level: half a step more
        assert np.abs(found[start : start + 32] - block).mean() < 0.33 * step.mean()


@pytest.mark.parametrize("family", ["bert", "encoder", "lstm"])
def test_an_answer_does_not_depend_on_the_texts_beside_it(family: str, tmp_path: Path) -> None:
    source = exported(family, tmp_path)
    off: dict[str, float] = {}
    for variant in (*ALONE, "int8"):
        target, given = made(variant, source), batch(source, rows=8)
        alone = [run(target, {name: array[row : row + 1] for name, array in given.items()})[0] for row in range(8)]
        off[variant] = float(np.abs(run(target, given) - alone).max())
    lstm = {"int8_static"} if family == "lstm" else set()  # whose LSTM is as in int8
    assert all(off[variant] < 1e-5 for variant in ALONE if variant not in lstm), off
    assert off["int8"] > 1e-4


@pytest.mark.parametrize("family", ["bert", "distilbert", "encoder", "lstm", "decoder"])
def test_sizes_of_the_files_are_as_said(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "vocab_size", 3000)
    monkeypatch.setitem(HEADS, "vocab_size", 3000)
    monkeypatch.setitem(SIZES, "hidden_size", 64)
    monkeypatch.setitem(HEADS, "hidden_size", 64)
    source = exported(family, tmp_path)
    size = {v: made(v, source).stat().st_size for v in VARIANT_NAMES if (family, v) != ("decoder", "int8_static")}
    assert 0.48 < size["fp16"] / size["fp32"] < 0.56
    tied = family == "decoder"  # whose output layer is stored once with its embedding
    assert (0.15 if tied else 0.25) < size["int8_weights"] / size["fp32"] < 0.36
    assert size["int8_vnni"] == pytest.approx(size["int8"], rel=0.01)


# --- eight bits, seven bits, and processors without VNNI


def vpmaddubsw(activations: NDArray[np.uint8], weights: NDArray[np.int8]) -> NDArray[np.int64]:
    """A product [M, K] x [K, N] as processors without VNNI make it: two neighbouring products of an unsigned and a
    signed byte are added in 16 bits, cut off at -32768 and 32767 (Intel SDM, PMADDUBSW), and these sums in 32 bits."""
    one, other = (
        activations[:, half::2, None].astype(np.int64) * weights[None, half::2].astype(np.int64) for half in (0, 1)
    )
    return np.clip(one + other, -(2**15), 2**15 - 1).sum(axis=1)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(("seven_bits", "largest", "exact"), [(True, 64, True), (False, 127, False)])
def test_weights_of_7_bits_are_exact_without_vnni_and_those_of_8_bits_are_cut_off(
    seven_bits: bool, largest: int, exact: bool, sign: int, tmp_path: Path
) -> None:
    """The worst case: all activations 255, all weights the largest."""
    weight = np.full((64, 16), sign * 0.5, dtype=np.float32)
    model = graph_of([helper.make_node("MatMul", ["x", "weight"], ["y"])], {"weight": weight}, 64, "y")
    onnx.save(model, tmp_path / "fp32.onnx")
    quantize_int8(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", seven_bits)
    arrays = [numpy_helper.to_array(t) for t in onnx.load(tmp_path / "int8.onnx").graph.initializer]
    (bytes_KN,) = (a for a in arrays if a.dtype == np.int8 and a.shape == (64, 16))
    assert set(bytes_KN.ravel().tolist()) == {sign * largest}
    activations = np.full((3, 64), 255, dtype=np.uint8)
    right = activations.astype(np.int64) @ bytes_KN.astype(np.int64)
    assert (vpmaddubsw(activations, bytes_KN) == right).all() == exact


@pytest.mark.parametrize("family", ["bert", "distilbert", "encoder", "lstm"])
@pytest.mark.parametrize("variant", ["int8", "int8_static"])
def test_no_weight_of_a_product_with_activations_of_8_bits_has_more_than_7(
    family: str, variant: str, tmp_path: Path
) -> None:
    graph = onnx.load(made(variant, exported(family, tmp_path))).graph
    arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    scaled = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    slots = {"MatMulInteger": (1,), "MatMul": (1,), "DynamicQuantizeLSTM": (1, 2)}
    read = [scaled.get(node.input[i], node.input[i]) for node in graph.node for i in slots.get(node.op_type, ())]
    weights = [arrays[name] for name in read if name in arrays and arrays[name].dtype == np.int8]
    further = 0 if variant == "int8_static" else {"lstm": 1, "encoder": 1}.get(family, 2)  # of pooling and classifier
    assert len(weights) == further + {"lstm": 4}.get(family, 12)
    assert {int(np.abs(w.astype(int)).max()) for w in weights} == {64}


# --- static ranges


def test_a_range_is_from_the_smallest_to_the_largest_that_the_texts_showed(tmp_path: Path) -> None:
    """Also where texts have several windows, and without what padding would show."""
    table = np.linspace(-3, 5, 80 * 4, dtype=np.float32).reshape(80, 4)
    weight = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["x"]),
        helper.make_node("MatMul", ["x", "weight"], ["y"]),
        helper.make_node("MatMul", ["y", "y"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "lookup",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    rows = [np.array([11, 20, 30, 40]), np.array([12, 13, 14, 60])]
    first, second = (Encoded(row, 0 * row, EMPTY, False) for row in rows)
    made_of = with_static_ranges(model, [first.followed_by(second)], tmp_path / "static.onnx")
    (quantizer,) = (n for n in made_of.graph.node if n.op_type == "QuantizeLinear")
    arrays = {t.name: numpy_helper.to_array(t) for t in made_of.graph.initializer}
    scale, zero = (float(arrays[name]) for name in quantizer.input[1:])
    low, high = table[11].min(), table[60].max()  # token 0, with which texts would be padded, is lower
    assert low < 0 < high
    assert scale == pytest.approx((high - low) / 255, rel=1e-3)
    assert zero == round(-low / scale)
    assert [n.op_type for n in made_of.graph.node].count("DequantizeLinear") == 2  # of the product with a constant
    assert not list(tmp_path.iterdir())


def test_without_a_text_there_are_no_ranges(tmp_path: Path) -> None:
    source = exported("bert", tmp_path)
    with pytest.raises(ValueError, match="no training text"):
        VARIANTS["int8_static"]({"model": Files(source, tmp_path / "static.onnx")}, ())
    assert calibration.CALIBRATION_TEXTS > 0


def test_other_texts_give_other_ranges_and_the_same_texts_the_same_file(tmp_path: Path) -> None:
    source = exported("bert", tmp_path)
    files = []
    for number, seed in enumerate((1, 1, 2)):
        target = tmp_path / f"{number}.onnx"
        VARIANTS["int8_static"]({"model": Files(source, target)}, texts(3, seed))
        files.append(target.read_bytes())
    assert files[0] == files[1] != files[2]


@pytest.mark.parametrize("variant", VARIANT_NAMES)
def test_a_graph_too_large_for_its_weights_gives_the_same(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = exported("bert", tmp_path)
    given = batch(source)
    expected = run(made(variant, source), given)
    monkeypatch.setattr(onnx_export, "PROTOBUF_LIMIT", 5_000)
    large = made(variant, exported("bert", tmp_path / "large"))
    assert large.with_name(f"{large.name}_data").stat().st_size > 5_000
    np.testing.assert_allclose(run(large, given), expected, atol=1e-6)
    graphs = (large.name, "model.onnx")
    assert {path.name for path in large.parent.iterdir()} == {*graphs, *(f"{name}_data" for name in graphs)}
