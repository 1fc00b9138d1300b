"""Time per token over sequence length, recurrent networks against attention: `python benchmarks/sequence_length.py`.

Training: forward and backward of a text classifier in torch, batches of ``TOKENS`` tokens.
Inference: one text in onnxruntime. One thread, fp32, lengths and networks interleaved, the median over rounds with
quartiles. Writes `benchmarks/results/sequence_length/` (figures and a plot).
"""

import json
import statistics
import tempfile
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.ticker import NullLocator
from torch import nn

from distill import tasks
from distill.config import ExportConfig
from distill.export.onnx_export import export_onnx
from distill.models.graphs import graphs_of
from distill.models.recurrent import RecurrentConfig, RecurrentForSequenceClassification
from distill.models.transformer import EncoderConfig, EncoderForSequenceClassification
from distill.runtime import Graphs

TASK = tasks.build("text-classification", ("bad", "good"))
LENGTHS = (16, 32, 64, 128, 256, 512, 1024)
TOKENS, TRAINING_ROUNDS, INFERENCE_ROUNDS, VOCABULARY = 2048, 5, 15, 8000
RESULTS = Path(__file__).parent / "results" / "sequence_length"


def networks() -> dict[str, nn.Module]:
    """The recipes' students (128 wide), and an encoder as large as MiniLM."""
    small = {"vocab_size": VOCABULARY, "max_position_embeddings": max(LENGTHS), "dropout": 0.0}
    return {
        "RNN, 1 x 128": RecurrentForSequenceClassification(
            RecurrentConfig(cell="rnn", vocab_size=VOCABULARY, bidirectional=False, dropout=0.0)
        ),
        "LSTM, 1 x 2 x 128": RecurrentForSequenceClassification(
            RecurrentConfig(cell="lstm", vocab_size=VOCABULARY, dropout=0.0)
        ),
        "attention, 2 x 128": EncoderForSequenceClassification(EncoderConfig(**small)),
        "attention, 6 x 384": EncoderForSequenceClassification(
            EncoderConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, **small)
        ),
    }


def batch(length: int, texts: int) -> dict[str, np.ndarray]:
    shape = (texts, length)
    return {
        "input_ids": np.random.default_rng(length).integers(1, VOCABULARY, shape),
        "attention_mask": np.ones(shape, dtype=np.int64),
        "token_type_ids": np.zeros(shape, dtype=np.int64),
    }


def train(model: nn.Module, length: int) -> float:
    """Seconds of one forward and backward over ``TOKENS`` tokens."""
    inputs = {name: torch.from_numpy(array) for name, array in batch(length, TOKENS // length).items()}
    model.zero_grad()
    start = time.perf_counter()
    model(**inputs).logits.square().mean().backward()
    return time.perf_counter() - start


def infer(graphs: Graphs, length: int) -> float:
    """Seconds of one text."""
    inputs = batch(length, 1)
    start = time.perf_counter()
    graphs.run("model", inputs)
    return time.perf_counter() - start


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    models = networks()
    keys = [(name, length) for name in models for length in LENGTHS]
    micros: dict[str, dict[tuple[str, int], list[float]]] = {
        "training": {key: [] for key in keys},
        "inference": {key: [] for key in keys},
    }
    with tempfile.TemporaryDirectory() as folder:
        graphs = {}
        for index, (name, model) in enumerate(models.items()):
            path = Path(folder) / f"{index}.onnx"
            export_onnx(*graphs_of(model, TASK), path, ExportConfig())
            graphs[name] = Graphs({"model": path}, threads=1)
        for rounds, which in ((TRAINING_ROUNDS, "training"), (INFERENCE_ROUNDS, "inference")):
            for number in range(rounds + 1):
                for name, length in keys:
                    if which == "training":
                        each = train(models[name], length) / TOKENS
                    else:
                        each = infer(graphs[name], length) / length
                    if number:  # the first round warms up
                        micros[which][name, length].append(1e6 * each)

    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained", sharex=True)
    for axis, (which, times) in zip(axes, micros.items(), strict=True):
        print(f"{which}, microseconds a token, median (quartiles), one thread, torch {torch.__version__}")
        for name in models:
            medians = [statistics.median(times[name, length]) for length in LENGTHS]
            low, high = (np.array([np.percentile(times[name, n], q) for n in LENGTHS]) for q in (25, 75))
            axis.plot(LENGTHS, medians, marker="o", label=name)
            axis.fill_between(LENGTHS, low, high, alpha=0.2)
            cells = (f"{n}: {m:.3g} ({a:.3g}, {b:.3g})" for n, m, a, b in zip(LENGTHS, medians, low, high, strict=True))
            print(f"  {name:20} {'  '.join(cells)}")
        axis.set(xscale="log", yscale="log", title=which, xlabel="tokens in a text", ylabel="microseconds a token")
        axis.set_xticks(LENGTHS, [str(length) for length in LENGTHS])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.grid(alpha=0.3)
    axes[0].legend(loc=(0.04, 0.5))  # between the curves
    RESULTS.mkdir(parents=True, exist_ok=True)
    figure.savefig(RESULTS / "sequence_length.png", dpi=150)
    figures = {
        which: {name: {str(n): times[name, n] for n in LENGTHS} for name in models} for which, times in micros.items()
    }
    (RESULTS / "figures.json").write_text(json.dumps(figures | {"torch": torch.__version__}, indent=1) + "\n")


if __name__ == "__main__":
    main()
