"""A torch model as one ONNX graph with free batch and sequence axes."""

import copy
import inspect
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from distill.config.schema import ExportConfig
from distill.models.answers import sentence_embedding

PER_TOKEN = ("start_logits", "end_logits")
"""Outputs [B, L]."""
PROTOBUF_LIMIT = 1_900_000_000
"""Bytes of weights above which they stand in a second file, ``NAME_data``: a protobuf ends at 2 GiB."""


class _Named(nn.Module):
    """The model with its output narrowed to the tensors named, its inputs by position."""

    def __init__(self, model: nn.Module, outputs: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.outputs = tuple(outputs)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        output = self.model(**inputs)
        return tuple(
            sentence_embedding(output.last_hidden_state, attention_mask)
            if name == "sentence_embedding"
            else getattr(output, name)
            for name in self.outputs
        )


def graph_inputs(model: nn.Module) -> tuple[str, ...]:
    """Names of the inputs that the graph of this model has.

    ``token_type_ids`` is one where the model's ``forward`` takes it and its configuration knows more than one type.
    """
    types = getattr(getattr(model, "config", None), "type_vocab_size", 0) or 0
    if types > 1 and "token_type_ids" in inspect.signature(model.forward).parameters:
        return ("input_ids", "attention_mask", "token_type_ids")
    return ("input_ids", "attention_mask")


def export_onnx(
    model: nn.Module, path: Path, config: ExportConfig, inputs: Sequence[str], outputs: Sequence[str] = ("logits",)
) -> None:
    """Writes ``model`` to ``path`` in fp32, with the graph inputs ``inputs`` (see :func:`graph_inputs`).

    The model is called as transformers' are, ``model(input_ids=…, attention_mask=…[, token_type_ids=…])``, with inputs
    [B, L] of int64. The graph's outputs are the attributes of what it returns that ``outputs`` names, and
    ``sentence_embedding``, which is made of ``last_hidden_state``; B and L are free in the graph.

    The model given is not changed: a copy of it is exported, in evaluation mode, on the CPU, with the
    attention that is written out in matrix products, which makes the smallest graph.

    The file carries no stack traces, so no paths of this machine. It is written aside and put in place by a rename.
    Weights above 2 GB go to ``NAME_data`` beside it.

    The tracing exporter, ``legacy``, is the quicker one; the graphs run equally fast (``benchmarks/exporters.py``).
    A model with a recurrent layer is always traced: the second such export by dynamo in one process fails. So is one
    that reads pairs apart, whose inner length depends on the values of its inputs.
    """
    exported = _Named(copy.deepcopy(model).to("cpu", torch.float32), outputs).eval()
    set_attention = getattr(exported.model, "set_attn_implementation", None)
    if set_attention is not None:
        set_attention("eager")
    path.parent.mkdir(parents=True, exist_ok=True)
    large = sum(tensor.numel() * tensor.element_size() for tensor in exported.state_dict().values()) > PROTOBUF_LIMIT
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        with torch.no_grad(), _quiet():
            _export(exported, aside / "exported.onnx", config, tuple(inputs), large)
        graph = onnx.load(aside / "exported.onnx")
        strip_annotations(graph)
        data = f"{path.name}_data"
        onnx.save(graph, aside / path.name, save_as_external_data=large, location=data if large else None)
        for name in [data, path.name] if large else [path.name]:
            os.replace(aside / name, path.with_name(name))
    finally:
        shutil.rmtree(aside)


def _export(model: _Named, path: Path, config: ExportConfig, inputs: tuple[str, ...], large: bool) -> None:
    batch, length = 2, 5
    ids = torch.full((batch, length), 2)
    mask = torch.ones_like(ids)
    mask[1, 3:] = 0  # a padded row: models may leave the mask out where it says nothing
    values = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    example = tuple(values[name] for name in inputs)
    axes = {name: {0: "batch", 1: "sequence"} for name in inputs}
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    apart = getattr(getattr(model.model, "config", None), "pairs", "together") == "apart"
    if config.exporter == "dynamo" and not (recurrent or apart):
        torch.onnx.export(
            model,
            example,
            path,
            input_names=list(inputs),
            output_names=list(model.outputs),
            opset_version=config.opset,
            dynamo=True,
            dynamic_shapes=tuple(axes.values()),
            external_data=large,
            verbose=False,
        )
    else:
        made = dict(zip(model.outputs, model(*example), strict=True))
        per_token = [name for name, tensor in made.items() if tensor.dim() == 3 or name in PER_TOKEN]
        free = {name: {0: "batch", 1: "sequence"} if name in per_token else {0: "batch"} for name in made}
        torch.onnx.export(
            model,
            example,
            str(path),
            input_names=list(inputs),
            output_names=list(model.outputs),
            opset_version=config.opset,
            dynamo=False,
            dynamic_axes={**axes, **free},
        )


def strip_annotations(model: onnx.ModelProto) -> None:
    """Removes doc strings, metadata (where exporters keep stack traces) and the shapes of inner values, in place.

    onnxruntime infers the shapes for itself. Where it finds them written down, it fuses each residual sum into
    ``SkipLayerNormalization``, whose kernel was slower than the two it replaces when this was written
    (onnxruntime 1.32).
    """
    del model.metadata_props[:]
    model.doc_string = ""
    graphs = [model.graph, *model.functions]
    while graphs:
        graph = graphs.pop()
        del graph.value_info[:]
        parts = [graph, *graph.node]
        if isinstance(graph, onnx.GraphProto):
            parts += [*graph.input, *graph.output, *graph.initializer]
        for part in parts:
            part.doc_string = ""
            del part.metadata_props[:]
        for attribute in (a for node in graph.node for a in node.attribute):
            graphs += [attribute.g] if attribute.HasField("g") else []
            graphs += attribute.graphs


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences what the exporters always say: parity is what tells whether the graph computes the same."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")  # "torchvision is not installed"
    level = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            ignore = warnings.filterwarnings
            ignore("ignore", message=".*legacy TorchScript-based ONNX export", category=DeprecationWarning)
            ignore("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
            ignore("ignore", message=".*LeafSpec", category=FutureWarning)
            ignore("ignore", module=r"torch\.onnx\..*")
            yield
    finally:
        registration.setLevel(level)
