"""How much of the machine's rate of matrix products a teacher reaches that labels texts.

`python benchmarks/labelling.py [--turns 3] [--out FOLDER]`. A BERT of 12 layers x 768 with random weights labels texts
of quickstart's data in the engine's own batches. The yardstick are the products of its linear layers alone, in the same
precision, over as many tokens as a batch holds. Both take turns, so that other work on the machine meets both alike.
The share counts what real tokens need: neither padding nor anything but matrix products counts as work done. Seconds
are those of the processor that the process used.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

LAYERS, WIDTH = 12, 768
PRECISIONS = ("fp32", "bf16")
TEXTS = 4000


def products_of(lengths: Sequence[int], layers: int = LAYERS, width: int = WIDTH) -> float:
    """Floating point operations of the matrix products that an encoder's texts of so many tokens take: projections,
    a feed-forward network of four times the width, and attention."""
    linear = 2 * width * (4 * width + 2 * 4 * width)
    return float(layers * sum(length * linear + 4 * length * length * width for length in lengths))


def linear_layers(layers: int = LAYERS, width: int = WIDTH) -> list[Any]:
    """The weights of all of them, in the order in which they are used."""
    import torch

    of_layer = [(width, width)] * 4 + [(4 * width, width), (width, 4 * width)]
    return [torch.randn(shape) / width**0.5 for _ in range(layers) for shape in of_layer]


def multiply(weights: Sequence[Any], tokens: int) -> float:
    """Multiplies through all weights. Returns floating point operations."""
    import torch

    inputs = {size: torch.randn(tokens, size, dtype=weights[0].dtype) for size in {w.shape[1] for w in weights}}
    for weight in weights:
        torch.nn.functional.linear(inputs[weight.shape[1]], weight)
    return float(sum(2 * tokens * weight.numel() for weight in weights))


def rate_of(work: Callable[[], float]) -> float:
    """Floating point operations a second of the processor."""
    before = time.process_time()
    done = work()
    return done / (time.process_time() - before)


def real_texts(count: int) -> tuple[Any, Any, list[Any]]:
    """Quickstart's reading and task, and so many of its texts as they are read."""
    from distill.config import Config
    from distill.config.compose import run_with_hydra
    from distill.stages.context import open_run
    from distill.stages.texts import read_data, read_texts

    found: list[Config] = []
    run_with_hydra("quickstart", ["device=cpu", "precision=fp32", "threads=1", "name=labelling"], [], found.append)
    this = open_run(found[0])
    texts = read_texts(this, read_data(this))
    return texts.reading, texts.task, texts.task.encode(texts.reading, texts.training.examples[:count])


def turns(precision: str, count: int) -> dict[str, Any]:
    """The rates of labelling and of the yardstick, turn by turn."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from distill.runtime import respond
    from distill.runtime.forward import batches_by_tokens
    from distill.training import find_machine, forward_on, tokens_of_answers

    torch.manual_seed(0)
    machine = find_machine("cpu", precision, 1)
    reading, task, encoded = real_texts(TEXTS)
    tokens = tokens_of_answers(reading, task)
    lengths = [len(one.input_ids) for one in encoded]
    batches = batches_by_tokens([1] * len(lengths), lengths, tokens)
    forward = forward_on(machine, BertForSequenceClassification(BertConfig(vocab_size=reading.vocabulary_size)))
    weights = linear_layers()
    if precision == "bf16":
        weights = [weight.bfloat16() for weight in weights]
    rates: dict[str, list[float]] = {"labelling": [], "products": []}
    padded = []
    for turn in range(count + 1):
        rows = batches[(turn * (len(batches) - 1)) // max(1, count)]  # from short texts to long ones
        part = [encoded[row] for row in rows]
        own = [lengths[row] for row in rows]

        def label(part: list[Any] = part, own: list[int] = own) -> float:
            list(respond(forward, reading, task, part, tokens))
            return products_of(own)

        found = {"labelling": rate_of(label), "products": rate_of(lambda own=own: multiply(weights, sum(own)))}
        if turn:  # the first warms up
            padded.append(1 - sum(own) / (len(own) * max(own)))
            for name, rate in found.items():
                rates[name].append(rate)
    shares = np.array(rates["labelling"]) / np.array(rates["products"])
    return {
        "share": float(np.median(shares)),
        "shares": shares.tolist(),
        "padding": float(np.mean(padded)),
        "tokens_a_batch": tokens,
        "tokens_a_text": float(np.mean(lengths)),
        "texts_a_second": float(np.median(rates["labelling"]) / products_of(lengths) * len(lengths)),
        **{f"GFLOP_a_second_{name}": [rate / 1e9 for rate in of] for name, of in rates.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--out", type=Path, help="folder for result.json, such as benchmarks/results/labelling")
    parser.add_argument("--note", default="", help="what else the machine did, for the result")
    options = parser.parse_args()
    found = {}
    for precision in options.precisions:
        one = found[precision] = turns(precision, options.turns)
        shares = ", ".join(f"{100 * share:.0f}" for share in one["shares"])
        print(
            f"{precision}: {100 * one['share']:.0f} % of the rate of its matrix products ({shares}), "
            f"{one['texts_a_second']:.1f} texts a second of {one['tokens_a_text']:.0f} tokens, padding "
            f"{100 * one['padding']:.1f} %",
            flush=True,
        )
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        content = {"note": options.note, "precisions": found}
        (options.out / "result.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
