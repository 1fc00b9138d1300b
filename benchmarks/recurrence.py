"""Why a recurrent network leaves a processor idle: `python benchmarks/recurrence.py [--device cuda] [--bf16]`.

A training step (forward and backward) of an LSTM layer and of a Transformer block of as many parameters, over length
and batch: the time it takes, the arithmetic that it needs by formula, the rate that follows, beside the rate of one
large matrix product, and how many products must wait for one another. On a CPU one thread; networks, lengths and
batches interleaved, the median over rounds. Writes `benchmarks/results/recurrence/` (figures and a plot), on a GPU
`recurrence-cuda/`.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from torch import Tensor, nn

from distill.models.transformer import TransformerBlock

LENGTHS, BATCHES, ROUNDS = (16, 64, 256, 1024), (1, 8, 32), 3
LSTM_SIZE, BLOCK_SIZE, HEADS = 312, 256, 4
"""Both have 0.79 million parameters."""
LARGE = 2048
"""Rows and columns of the large matrices."""
BACKWARD = 2
"""A backward pass has two products where the forward pass has one: for the gradient of what came in, and of weights."""
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Network:
    """What is timed, and what it costs by formula."""

    step: Callable[[Tensor], Tensor]
    """[B, L, size] to the same."""
    module: nn.Module
    size: int
    flops_a_token: Callable[[int], int]
    """Of the forward pass over a text of this length; a multiplication and an addition are two."""
    in_a_row: Callable[[int], int]
    """Matrix products of the forward pass that wait for one another."""


def networks() -> dict[str, Network]:
    """An LSTM layer and a pre-LN block, as wide as gives both as many parameters."""
    lstm = nn.LSTM(LSTM_SIZE, LSTM_SIZE, batch_first=True)
    block = TransformerBlock(BLOCK_SIZE, HEADS, 4 * BLOCK_SIZE, 0.0, "pre", "gelu")

    def attend(x_BLD: Tensor) -> Tensor:
        result: Tensor = block(x_BLD, torch.ones(1, 1, 1, x_BLD.shape[1], dtype=torch.bool, device=x_BLD.device))
        return result

    return {
        # four gates, each of the input and of the state before: all inputs at once, then one state after another
        "LSTM layer": Network(
            lambda x_BLD: lstm(x_BLD)[0], lstm, LSTM_SIZE, lambda length: 16 * LSTM_SIZE**2, lambda length: 1 + length
        ),
        # query, key, value and output, twice the fourfold width; of each token the scores, and the mix of the values
        "Transformer block": Network(
            attend,
            block,
            BLOCK_SIZE,
            lambda length: 24 * BLOCK_SIZE**2 + 4 * length * BLOCK_SIZE,
            lambda length: 6,
        ),
    }


def flops(network: Network, length: int, batch: int) -> int:
    """Of a training step."""
    return (1 + BACKWARD) * batch * length * network.flops_a_token(length)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """What a piece of work takes; a GPU is waited for at both ends."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def training_step(network: Network, x_BLD: Tensor) -> None:
    """Forward and backward, down to the input."""
    network.module.zero_grad()
    x_BLD.grad = None
    network.step(x_BLD).sum().backward()


Key = tuple[str, int, int]
"""Network, batch, length."""


def timed(
    which: dict[str, Network], device: torch.device, kind: torch.dtype, rounds: int = ROUNDS
) -> tuple[dict[Key, float], float]:
    """(median seconds of a training step, those of the large product)"""
    keys = [(name, batch, length) for name in which for batch in BATCHES for length in LENGTHS]
    large = torch.randn(LARGE, LARGE, device=device, dtype=kind)
    taken: dict[Key, list[float]] = {key: [] for key in keys}
    product: list[float] = []
    for network in which.values():
        network.module.to(device, kind)
    for number in range(rounds + 1):
        for name, batch, length in keys:
            x_BLD = torch.randn(batch, length, which[name].size, device=device, dtype=kind, requires_grad=True)
            step = seconds(lambda name=name, x=x_BLD: training_step(which[name], x), device)  # type: ignore[misc]
            if number:  # the first round warms up
                taken[name, batch, length].append(step)
        product.append(seconds(lambda: large @ large, device))
    return {key: statistics.median(each) for key, each in taken.items()}, statistics.median(product[1:])


def draw(rates: dict[Key, float], most: float, device: str) -> Figure:
    """Rate over length, a panel a network and a line a batch."""
    names = list(dict.fromkeys(name for name, _, _ in rates))
    figure, axes = plt.subplots(1, len(names), figsize=(9, 3.8), sharey=True, layout="constrained")
    for axis, name in zip(axes, names, strict=True):
        axis.axhline(most, color="grey", linestyle=":", label=f"one product of {LARGE} x {LARGE}")
        for batch in BATCHES:
            axis.plot(
                LENGTHS, [rates[name, batch, length] for length in LENGTHS], marker="o", label=f"batch of {batch}"
            )
        axis.set(xscale="log", yscale="log", title=name, xlabel="tokens in a text")
        axis.set_xticks(LENGTHS, [str(length) for length in LENGTHS])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_locator(NullLocator())
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(f"GFLOP/s on {device}")
    axes[-1].legend()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--bf16", action="store_true", help="weights and texts in bfloat16")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device, kind = torch.device(options.device), torch.bfloat16 if options.bf16 else torch.float32
    which = networks()
    times, product = timed(which, device, kind)
    most = 2 * LARGE**3 / product / 1e9
    rates = {key: flops(which[key[0]], key[2], key[1]) / times[key] / 1e9 for key in times}
    on = torch.cuda.get_device_name(device) if device.type == "cuda" else "one thread of a CPU"
    print(f"{on}, {str(kind).removeprefix('torch.')}; one product of {LARGE} x {LARGE}: {most:,.0f} GFLOP/s")
    print(f"{'':17}{'batch':>6}{'length':>7}{'GFLOP':>9}{'ms':>10}{'GFLOP/s':>9}{'of most':>9}{'in a row':>10}")
    rows = []
    for (name, batch, length), took in times.items():
        network, rate = which[name], rates[name, batch, length]
        work, waits = flops(network, length, batch) / 1e9, 2 * network.in_a_row(length)
        print(
            f"{name:17}{batch:6}{length:7}{work:9.3g}{1e3 * took:10.3g}{rate:9.3g}{rate / most:9.1%}{waits:10,}",
            flush=True,
        )
        rows.append(
            {"network": name, "batch": batch, "length": length, "gflop": work, "seconds": took, "in_a_row": waits}
        )
    out = RESULTS / ("recurrence" if device.type == "cpu" else f"recurrence-{device.type}")
    out.mkdir(parents=True, exist_ok=True)
    draw(rates, most, on).savefig(out / "recurrence.png", dpi=150)
    about = {
        "device": on,
        "type": str(kind),
        "gflop_per_second_of_a_large_product": most,
        "parameters": {name: sum(p.numel() for p in one.module.parameters()) for name, one in which.items()},
        "steps": rows,
        "torch": torch.__version__,
    }
    (out / "figures.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
