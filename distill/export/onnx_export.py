"""The graphs of a torch model as ONNX files."""

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import onnx
import torch
from torch import nn

from distill.config.schema import ExportConfig
from distill.export.shapes import fix_shapes
from distill.export.tied import tie
from distill.models.graph_spec import GraphSpec
from distill.runtime import graph_file, weights_file

PROTOBUF_LIMIT = 1_900_000_000
"""Bytes of weights above which they stand in a second file, ``NAME_data``: a protobuf ends at 2 GiB."""


def export_graphs(specs: Sequence[GraphSpec], directory: Path, config: ExportConfig) -> dict[str, Path]:
    """Writes each graph under ``directory``, where it stands in a bundle; gives the file of each role."""
    files = {spec.role: directory / graph_file(spec.role) for spec in specs}
    for spec in specs:
        export_onnx(spec, files[spec.role], config)
    return files


def export_onnx(spec: GraphSpec, path: Path, config: ExportConfig) -> None:
    """Writes one graph to ``path`` in fp32.

    The file carries no stack traces, so no paths of this machine. It is written as :func:`save_graph` does.

    The tracing exporter, ``legacy``, is the quicker one; the graphs run equally fast (``benchmarks/exporters.py``).
    A model with a recurrent layer is always traced: the second such export by dynamo in one process fails. So is one
    that reads pairs apart, whose inner length depends on the values of its inputs, and one that writes, whose cache is
    any number of tensors.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    large = sum(tensor.numel() * tensor.element_size() for tensor in spec.module.state_dict().values()) > PROTOBUF_LIMIT
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        with torch.no_grad(), _quiet():
            _export(spec, aside / "exported.onnx", config, large)
        graph = onnx.load(aside / "exported.onnx")
    finally:
        shutil.rmtree(aside)
    graph = graph if large else fix_shapes(graph)
    tie(graph)
    strip_annotations(graph)
    save_graph(graph, path)


def save_graph(model: onnx.ModelProto, path: Path) -> None:
    """Writes a graph aside and puts it in place by a rename. Weights above the limit go to ``NAME_data`` beside it."""
    large = is_large(model)
    weights = path.with_name(weights_file(path.name))
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        onnx.save(model, aside / path.name, save_as_external_data=large, location=weights.name if large else None)
        if large:
            os.replace(aside / weights.name, weights)
        else:
            weights.unlink(missing_ok=True)  # of a larger graph that stood here
        os.replace(aside / path.name, path)
    finally:
        shutil.rmtree(aside)


def is_large(model: onnx.ModelProto) -> bool:
    """Whether the weights must stand beside the graph."""
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer) > PROTOBUF_LIMIT


def _export(spec: GraphSpec, path: Path, config: ExportConfig, large: bool) -> None:
    example = tuple(spec.example.values())
    names: dict[str, Any] = {
        "input_names": list(spec.inputs),
        "output_names": list(spec.outputs),
        "opset_version": config.opset,
    }
    if config.exporter == "dynamo" and not _must_be_traced(spec):
        shapes = tuple(spec.axes[name] for name in spec.inputs)
        torch.onnx.export(
            spec.module,
            example,
            path,
            dynamo=True,
            dynamic_shapes=shapes,
            external_data=large,
            verbose=False,
            **names,
        )
    else:
        torch.onnx.export(spec.module, example, str(path), dynamo=False, dynamic_axes=spec.axes, **names)


def _must_be_traced(spec: GraphSpec) -> bool:
    """Whether it has a recurrent layer, reads pairs apart, or writes."""
    return spec.role != "model" or any(
        isinstance(part, nn.RNNBase) or getattr(getattr(part, "config", None), "pairs", None) == "apart"
        for part in spec.module.modules()
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
    # where an operator has no counterpart, torch prints the whole graph
    unlogged = mock.patch.object(torch._C, "_jit_onnx_log")
    try:
        with warnings.catch_warnings(), unlogged:
            ignore = warnings.filterwarnings
            ignore("ignore", message=".*legacy TorchScript-based ONNX export", category=DeprecationWarning)
            ignore("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
            ignore("ignore", message=".*LeafSpec", category=FutureWarning)
            ignore("ignore", module=r"torch\.onnx\..*")
            yield
    finally:
        registration.setLevel(level)
