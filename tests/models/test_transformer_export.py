"""Every kind of encoder as an ONNX graph, at another shape than it was traced with."""

import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from distill.models.transformer import (
    EncoderConfig,
    EncoderForMaskedLM,
    EncoderForQuestionAnswering,
    EncoderForSequenceClassification,
    EncoderForTokenClassification,
    EncoderModel,
)

SIZES: dict[str, Any] = {
    "vocab_size": 30,
    "num_hidden_layers": 2,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 24,
}
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
COMBINATIONS = list(itertools.product(("pre", "post"), ("learned", "sinusoidal", "rotary"), ("gelu", "relu", "swiglu")))


class _Tensors(nn.Module):
    """The model's tensors without the names that a graph does not know."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model(input_ids, attention_mask, token_type_ids).values())


def _model(kind: Any, **settings: Any) -> _Tensors:
    """Weights far from their start."""
    random = torch.Generator().manual_seed(1)
    model = _Tensors(kind(EncoderConfig(**SIZES, **settings))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=random))
    return model


def _batch(lengths: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(1, 30, tuple(mask.shape), generator=random)
    return ids * mask, mask, (torch.arange(max(lengths))[None] > 2).long() * mask


def _export(model: _Tensors, path: Path, dynamo: bool) -> None:
    example = _batch([5, 3])
    axes = {name: {0: "batch", 1: "sequence"} for name in INPUTS}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        if dynamo:
            torch.onnx.export(
                model,
                example,
                str(path),
                input_names=list(INPUTS),
                opset_version=20,
                dynamo=True,
                dynamic_shapes=tuple(axes.values()),
                external_data=False,
                verbose=False,
            )
        else:
            torch.onnx.export(
                model,
                example,
                str(path),
                input_names=list(INPUTS),
                opset_version=20,
                dynamo=False,
                dynamic_axes=axes,
            )


def _assert_same(model: _Tensors, path: Path) -> None:
    """At batches and lengths that the exporter did not see: longer, shorter, one text, one token."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for lengths in ([17, 1, 9], [24], [2, 2], [1]):
        batch = _batch(lengths)
        found = session.run(None, {name: tensor.numpy() for name, tensor in zip(INPUTS, batch, strict=True)})
        with torch.no_grad():
            expected = model(*batch)
        assert len(found) == len(expected)
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine, theirs.numpy(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("norm", "positions", "activation"), COMBINATIONS)
def test_the_traced_graph_computes_what_torch_does(norm: str, positions: str, activation: str, tmp_path: Path) -> None:
    model = _model(EncoderModel, norm=norm, positions=positions, activation=activation)
    _export(model, tmp_path / "model.onnx", dynamo=False)
    _assert_same(model, tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "kind",
    [
        EncoderForSequenceClassification,
        EncoderForTokenClassification,
        EncoderForQuestionAnswering,
        EncoderForMaskedLM,
    ],
)
def test_the_traced_graph_of_each_head_computes_what_torch_does(kind: Any, tmp_path: Path) -> None:
    model = _model(kind, positions="rotary", activation="swiglu")
    _export(model, tmp_path / "model.onnx", dynamo=False)
    _assert_same(model, tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("norm", "positions", "activation"), [("pre", "rotary", "swiglu"), ("post", "sinusoidal", "relu")]
)
@pytest.mark.parametrize("kind", [EncoderModel, EncoderForQuestionAnswering])
def test_the_graph_of_dynamo_computes_what_torch_does(
    kind: Any, norm: str, positions: str, activation: str, tmp_path: Path
) -> None:
    model = _model(kind, norm=norm, positions=positions, activation=activation)
    _export(model, tmp_path / "model.onnx", dynamo=True)
    _assert_same(model, tmp_path / "model.onnx")
