"""Post-LN and pre-LN encoders over depth, with warm-up and without: `python benchmarks/norms.py`.

Encoders of 2 to 24 layers learn to sort: at place i, which is the i-th smallest token? Weights at the start, batches
and rate are the same for each; the training loss over steps. Writes `benchmarks/results/norms/` (figures and a plot).
"""

import json
import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional

from distill.models.transformer import EncoderConfig, EncoderForTokenClassification

DEPTHS, WIDTH, HEADS = (2, 6, 12, 24), 32, 4
VOCABULARY, LENGTH, BATCH = 16, 8, 16
STEPS, SEEDS, RATE = 240, 2, 1e-3
SETTINGS = {"pre-LN": ("pre", 0), "post-LN": ("post", 0), "post-LN, warm-up of 80 steps": ("post", 80)}
SMOOTHED = 10
RESULTS = Path(__file__).parent / "results" / "norms"


def encoder(norm: str, depth: int) -> EncoderForTokenClassification:
    """With the blocks' weights as in Xiong et al. (2020), Glorot and Bengio's (2010)."""
    model = EncoderForTokenClassification(
        EncoderConfig(
            norm=norm,
            num_hidden_layers=depth,
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            num_attention_heads=HEADS,
            intermediate_size=4 * WIDTH,
            max_position_embeddings=LENGTH,
            dropout=0.0,
            num_labels=VOCABULARY,
        )
    )
    for weight in model.encoder.blocks.parameters():
        if weight.dim() > 1:
            nn.init.xavier_uniform_(weight)
    return model


def batch() -> tuple[Tensor, Tensor]:
    """Random tokens [B, L], and the same sorted."""
    input_ids_BL = torch.randint(VOCABULARY, (BATCH, LENGTH))
    return input_ids_BL, input_ids_BL.sort(dim=1).values


def share_of_rate(step: int, warm_up: int) -> float:
    """Grows evenly over the first ``warm_up`` steps, then stays."""
    return min(1.0, (step + 1) / warm_up) if warm_up else 1.0


def losses(norm: str, depth: int, warm_up: int, seed: int, steps: int = STEPS) -> list[float]:
    """The training loss of each step."""
    torch.manual_seed(seed)
    model = encoder(norm, depth)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share_of_rate(step, warm_up))
    seen = []
    for _ in range(steps):
        input_ids_BL, sorted_BL = batch()
        loss = functional.cross_entropy(model(input_ids=input_ids_BL).logits.flatten(0, 1), sorted_BL.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        seen.append(float(loss.detach()))
    return seen


def draw(curves: dict[str, dict[int, list[list[float]]]]) -> Figure:
    """A panel a depth; each line is the mean of ``SMOOTHED`` steps, one a seed."""
    figure, axes = plt.subplots(1, len(DEPTHS), figsize=(10, 3.4), sharey=True, layout="constrained")
    for axis, depth in zip(axes, DEPTHS, strict=True):
        axis.axhline(math.log(VOCABULARY), color="grey", linewidth=0.8, linestyle=":")
        for colour, (name, by_depth) in enumerate(curves.items()):
            for seed, one in enumerate(by_depth[depth]):
                means = np.reshape(one, (-1, SMOOTHED)).mean(1)
                steps = SMOOTHED * (np.arange(len(means)) + 0.5)
                axis.plot(steps, means, color=f"C{colour}", label=None if seed else name)
        axis.set(title=f"{depth} layers", xlabel="step", ylim=(0, 3.2))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("training loss")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(curves), frameon=False)
    return figure


def main() -> None:
    torch.set_num_threads(1)
    curves: dict[str, dict[int, list[list[float]]]] = {name: {depth: [] for depth in DEPTHS} for name in SETTINGS}
    print(f"loss of the last {SMOOTHED} of {STEPS} steps, one figure a seed; guessing has {math.log(VOCABULARY):.2f}")
    for depth in DEPTHS:
        for name, (norm, warm_up) in SETTINGS.items():
            curves[name][depth] = [losses(norm, depth, warm_up, seed) for seed in range(SEEDS)]
            ends = " ".join(f"{np.mean(one[-SMOOTHED:]):.2f}" for one in curves[name][depth])
            print(f"{depth:3} layers   {name:30} {ends}", flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    draw(curves).savefig(RESULTS / "norms.png", dpi=150)
    rounded = {
        name: {depth: np.round(all_seeds, 4).tolist() for depth, all_seeds in by_depth.items()}
        for name, by_depth in curves.items()
    }
    figures = {"rate": RATE, "losses": rounded, "torch": torch.__version__}
    (RESULTS / "figures.json").write_text(json.dumps(figures) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
