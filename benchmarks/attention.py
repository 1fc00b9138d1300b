"""What a teacher and its student look at: `python benchmarks/attention.py TEACHER STUDENT [--text TEXT] [--head N]`.

TEACHER and STUDENT are folders of encoders, as `save_pretrained` writes them: `outputs/artifacts/teacher-*/model` and
`outputs/NAME/student` of a run, for one. A panel a layer: how much weight each token (down) gives to each
other (across), the mean over the heads or one head. Writes `benchmarks/results/attention/` (figures and a plot).
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray
from transformers import AutoModel

from distill.errors import UserError
from distill.models.attention import attention_weights
from distill.text import Example, Reading, pad

TEXT = "it's a charming, funny film, but the ending is not good"
COLUMNS = 4
RESULTS = Path(__file__).parent / "results" / "attention"


@dataclass(frozen=True)
class Attention:
    """Of one text."""

    tokens: list[str]
    weights_NHLL: NDArray[np.float32]
    """Of each of N layers and H heads; a row adds up to 1."""


@torch.inference_mode()
def attention_of(folder: Path, text: str) -> Attention:
    """What the encoder in a folder looks at."""
    if not (folder / "tokenizer.json").is_file():
        raise UserError(f"{folder} holds no tokenizer.json; give the folder of a model, as save_pretrained writes it")
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    reading = Reading.from_file(folder / "tokenizer.json", max_length=64)
    (encoded,) = reading.encode([Example(text)])
    inputs = {name: torch.from_numpy(ids) for name, ids in pad([encoded], reading.pad_id).items()}
    weights = [layer[0].numpy() for layer in attention_weights(model, inputs)]
    if not weights:
        raise UserError(f"a {model.config.model_type} has no attention to look at; give a Transformer encoder")
    return Attention([reading.tokenizer.id_to_token(i) for i in encoded.input_ids], np.stack(weights))


def draw(models: dict[str, Attention], head: int | None) -> Figure:
    """A panel a layer, the teacher's and then the student's."""
    panels = [
        (f"{name}, layer {number}", one.tokens, heads_HLL.mean(0) if head is None else heads_HLL[head])
        for name, one in models.items()
        for number, heads_HLL in enumerate(one.weights_NHLL, start=1)
    ]
    rows, size = -(-len(panels) // COLUMNS), 0.5 + 0.13 * max(len(tokens) for _, tokens, _ in panels)
    figure, axes = plt.subplots(
        rows, COLUMNS, figsize=(size * COLUMNS, 1.02 * size * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, (title, tokens, weights_LL) in zip(axes.flat, panels, strict=False):
        axis.axis("on")
        image = axis.imshow(weights_LL, norm=PowerNorm(0.5, 0, 1), cmap="Blues")
        axis.set_title(title, fontsize=9)
        axis.set_xticks(range(len(tokens)), tokens, rotation=90, fontsize=6)
        axis.set_yticks(range(len(tokens)), tokens, fontsize=6)
        axis.tick_params(length=0)
    figure.colorbar(image, ax=axes, shrink=0.6, aspect=30, label="weight", ticks=[0, 0.05, 0.2, 0.5, 1])
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("teacher", type=Path)
    parser.add_argument("student", type=Path)
    parser.add_argument("--text", default=TEXT)
    parser.add_argument("--head", type=int, help="one head in place of the mean over all, counted from 0")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    models = {name: attention_of(getattr(options, name), options.text) for name in ("teacher", "student")}
    options.out.mkdir(parents=True, exist_ok=True)
    draw(models, options.head).savefig(options.out / "attention.png", dpi=150)
    figures = {
        name: {"tokens": one.tokens, "mean_over_heads": one.weights_NHLL.mean(1).round(4).tolist()}
        for name, one in models.items()
    }
    (options.out / "figures.json").write_text(json.dumps(figures) + "\n", encoding="utf-8")
    for name, one in models.items():
        given_NL = one.weights_NHLL.mean((1, 2))  # what each token gets, of all tokens together
        print(f"{name:8}", *(f"{one.tokens[row.argmax()]} {100 * row.max():.0f} %" for row in given_NL), sep="   ")


if __name__ == "__main__":
    main()
