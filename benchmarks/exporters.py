"""The two exporters on a BERT of 6 layers x 384 from random weights, interleaved: `python benchmarks/exporters.py`."""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification

from distill import tasks
from distill.config import ExportConfig
from distill.export.onnx_export import export_onnx
from distill.models.graphs import graphs_of
from distill.runtime import Graphs

ROUNDS, RUNS, TOKENS = 3, 60, 64

model = BertForSequenceClassification(
    BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
)
task = tasks.build("text-classification", ("bad", "good"))
batch = {
    "input_ids": np.random.default_rng(0).integers(1000, 30000, (1, TOKENS)),
    "attention_mask": np.ones((1, TOKENS), dtype=np.int64),
    "token_type_ids": np.zeros((1, TOKENS), dtype=np.int64),
}
exports: dict[str, list[float]] = {"legacy": [], "dynamo": []}
latencies: dict[str, list[float]] = {"legacy": [], "dynamo": []}
with tempfile.TemporaryDirectory() as folder:
    for _ in range(ROUNDS):
        for name, seconds in exports.items():
            start = time.perf_counter()
            (spec,) = graphs_of(model, task)
            export_onnx(spec, Path(folder) / f"{name}.onnx", ExportConfig(exporter=name))
            seconds.append(time.perf_counter() - start)
    graphs = {name: Graphs({"model": Path(folder) / f"{name}.onnx"}, threads=1) for name in exports}
    for _ in range(RUNS):
        for name, graph in graphs.items():
            start = time.perf_counter()
            graph.run("model", batch)
            latencies[name].append(1000 * (time.perf_counter() - start))
for name in exports:
    seconds, ms = exports[name], latencies[name][10:]
    print(
        f"{name}: export {statistics.median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f}), "
        f"1 x {TOKENS} tokens {statistics.median(ms):.2f} ms (quartiles {np.percentile(ms, 25):.2f} to "
        f"{np.percentile(ms, 75):.2f}), one thread, torch {torch.__version__}"
    )
