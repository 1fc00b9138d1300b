"""A bundle's files in OpenVINO against this runtime: `python benchmarks/openvino_runtime.py BUNDLE [--turns 7]`.

Needs `pip install openvino`. One thread each, one process, in turns: at each length a text of random ids alone, and 32
together. Files are the bundle's fp32 and int8; OpenVINO computes fp32 files in fp32, and where the processor has it in
bf16, too, which it chooses itself. A figure is onnxruntime's time over OpenVINO's, the median over the turns with the
smallest and largest beside it: above 1 OpenVINO is faster. `off by`: the largest difference of an output, at any
length.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from runs import table

from distill.runtime import Bundle, Graphs, load

LENGTHS, BATCHES, MOST = (8, 16, 32, 64, 128, 256, 512), (1, 32), 4096
"""Tokens of a text; texts of a batch; tokens of a batch at most."""
RUNS = 5
"""In a turn."""

Arrays = dict[str, Any]


def openvino_of(file: Path, precision: str) -> Callable[[Arrays], Any]:
    """A file at work, one request at a time."""
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(file), "CPU", settings)
    taken = {name for port in compiled.inputs for name in port.get_names()}
    request = compiled.create_infer_request()
    return lambda arrays: request.infer({name: a for name, a in arrays.items() if name in taken})[0]


def pairs() -> list[tuple[str, str, str]]:
    """(file here, file there, precision there) that are held against one another."""
    import openvino

    known = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    bf16 = [("fp32", "fp32", "bf16"), ("int8", "fp32", "bf16")] if "BF16" in known else []
    return [("fp32", "fp32", "f32"), ("int8", "int8", "f32"), *bf16]


def onnxruntime_of(file: Path) -> Callable[[Arrays], Any]:
    """The same here."""
    graphs = Graphs({"model": file}, threads=1)
    return lambda arrays: graphs.run("model", arrays)[0]


def texts(bundle: Bundle, rows: int, length: int) -> Arrays:
    """Random ids [R, L]."""
    ids_RL = np.random.default_rng(length).integers(5, bundle.reading.vocabulary_size, (rows, length))
    return {"input_ids": ids_RL, "attention_mask": np.ones_like(ids_RL), "token_type_ids": np.zeros_like(ids_RL)}


def seconds(run: Callable[[Arrays], Any], arrays: Arrays) -> float:
    """Of a run, the median."""
    taken = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run(arrays)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    bundle = load(options.bundle, "fp32", threads=1)
    files = {v: bundle.directory / graphs["model"] for v, graphs in bundle.manifest.graphs.items()}
    ours = {v: onnxruntime_of(files[v]) for v in ("fp32", "int8")}
    theirs = {pair: openvino_of(files[pair[1]], pair[2]) for pair in pairs()}
    head = ["batch", "tokens", *(f"{own} over {file} in {precision}" for own, file, precision in theirs)]
    off, rows = dict.fromkeys(theirs, 0.0), []
    longest = json.loads((bundle.directory / "config.json").read_text()).get("max_position_embeddings", MOST)
    for batch in BATCHES:
        for length in LENGTHS:
            if length > longest or batch * length > MOST:
                continue
            arrays = texts(bundle, batch, length)
            for pair, run in theirs.items():
                off[pair] = max(off[pair], float(np.abs(run(arrays) - ours[pair[0]](arrays)).max()))
            ratios: dict[tuple[str, str, str], list[float]] = {pair: [] for pair in theirs}
            for _ in range(options.turns):
                own = {v: seconds(run, arrays) for v, run in ours.items()}
                for pair, run in theirs.items():
                    ratios[pair].append(own[pair[0]] / seconds(run, arrays))
            cells = (f"{statistics.median(r):.2f} [{min(r):.2f}, {max(r):.2f}]" for r in ratios.values())
            rows.append([str(batch), str(length), *cells])
    rows.append(["off by", "", *(f"{off[pair]:.4f}" for pair in theirs)])
    print(table(head, rows))


if __name__ == "__main__":
    main()
