"""Why recurrent networks gave way to attention: `python benchmarks/gradients.py`.

1. How much of the gradient of the last token's state reaches the embedding of a token that stands ``distance`` before
   it, at the start of training, as a share of what reaches the last token itself.
2. Whether each network learns to recall the first token at the last one, over random tokens in between.

Writes `benchmarks/results/gradients/` (figures and a plot).
"""

import json
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from distill.models.recurrent import RecurrentConfig, RecurrentModel
from distill.models.transformer import EncoderConfig, EncoderModel

VOCABULARY, HIDDEN, TEXTS, SEEDS = 64, 128, 16, 3
DISTANCES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
RECALLED, RECALL_DISTANCES, STEPS, BATCH = 8, (8, 32, 128), 400, 32
RESULTS = Path(__file__).parent / "results" / "gradients"


def recurrent(cell: str, uniform: bool = False) -> PreTrainedModel:
    """One layer, left to right. ``uniform``: torch's own random weights in place of the orthogonal ones."""
    model = RecurrentModel(
        RecurrentConfig(
            cell=cell,
            vocab_size=VOCABULARY,
            embedding_size=HIDDEN,
            hidden_size=HIDDEN,
            bidirectional=False,
            dropout=0.0,
        )
    )
    if uniform:
        for layer in model.recurrent.forward_layers:
            layer.reset_parameters()
    return model


def attention() -> PreTrainedModel:
    """Two pre-LN blocks with sinusoidal positions."""
    return EncoderModel(
        EncoderConfig(
            vocab_size=VOCABULARY,
            hidden_size=HIDDEN,
            positions="sinusoidal",
            max_position_embeddings=max(DISTANCES) + 1,
            dropout=0.0,
        )
    )


NETWORKS: dict[str, Callable[[], PreTrainedModel]] = {
    "RNN, uniform weights": lambda: recurrent("rnn", uniform=True),
    "RNN, orthogonal weights": lambda: recurrent("rnn"),
    "GRU": lambda: recurrent("gru"),
    "LSTM": lambda: recurrent("lstm"),
    "attention": attention,
}


def gradient_norms(model: PreTrainedModel, input_ids_BL: Tensor) -> Tensor:
    """[L]: root mean square over the texts of the norm of d(v · state of the last token) / d(embedding of a token).

    v [D] is one random direction of length 1 for each text.
    """
    caught: list[Tensor] = []

    def catch(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        output.retain_grad()
        caught.append(output)

    handle = model.get_input_embeddings().register_forward_hook(catch)
    last_BD = model(input_ids=input_ids_BL).last_hidden_state[:, -1]
    handle.remove()
    direction_BD = functional.normalize(torch.randn_like(last_BD), dim=-1)
    (last_BD * direction_BD).sum().backward()
    return caught[0].grad.norm(dim=-1).square().mean(0).sqrt()


def recall(model: PreTrainedModel, distance: int) -> float:
    """Share of new texts whose first token, one of ``RECALLED``, is told from the state of the last after training."""

    def batch(size: int) -> tuple[Tensor, Tensor]:
        input_ids_BL = torch.randint(RECALLED + 1, VOCABULARY, (size, distance + 1))
        label_B = torch.randint(RECALLED, (size,))
        input_ids_BL[:, 0] = 1 + label_B
        return input_ids_BL, label_B

    head = nn.Linear(HIDDEN, RECALLED)
    parameters = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    for _ in range(STEPS):
        input_ids_BL, label_B = batch(BATCH)
        logits_BC = head(model(input_ids=input_ids_BL).last_hidden_state[:, -1])
        optimizer.zero_grad()
        functional.cross_entropy(logits_BC, label_B).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    with torch.no_grad():
        input_ids_BL, label_B = batch(256)
        logits_BC = head(model(input_ids=input_ids_BL).last_hidden_state[:, -1])
    return float((logits_BC.argmax(-1) == label_B).float().mean())


def main() -> None:
    torch.set_num_threads(1)
    shares: dict[str, list[list[float]]] = {name: [] for name in NETWORKS}
    recalls: dict[str, dict[int, list[float]]] = {name: {d: [] for d in RECALL_DISTANCES} for name in NETWORKS}
    for seed in range(SEEDS):
        for name, network in NETWORKS.items():
            torch.manual_seed(seed)
            norm_L = gradient_norms(network(), torch.randint(1, VOCABULARY, (TEXTS, max(DISTANCES) + 1)))
            shares[name].append([float(norm_L[-1 - d] / norm_L[-1]) for d in DISTANCES])
            for distance in RECALL_DISTANCES:
                recalls[name][distance].append(recall(network(), distance))

    figure, axis = plt.subplots(figsize=(7, 4.2), layout="constrained")
    print(f"share of the gradient that reaches a token so far back, mean of {SEEDS} seeds (least, most)")
    for name, per_seed in shares.items():
        columns = list(zip(*per_seed, strict=True))
        means = [sum(column) / SEEDS for column in columns]
        axis.plot(DISTANCES, means, marker="o", label=name)
        for distance, mean, column in zip(DISTANCES, means, columns, strict=True):
            print(f"{name:24} {distance:4}: {mean:.2e} ({min(column):.2e}, {max(column):.2e})")
    print(f"first token of {RECALLED} recalled after {STEPS} steps, of 256 new texts, by distance, one figure a seed")
    for name, by_distance in recalls.items():
        row = "   ".join(f"{d:4}: " + " ".join(f"{100 * x:3.0f} %" for x in xs) for d, xs in by_distance.items())
        print(f"{name:24} {row}")
    axis.set(
        xscale="log",
        yscale="log",
        ylim=(1e-12, 10),
        xlabel="distance, tokens",
        ylabel="gradient, share of the last token's",
    )
    axis.set_xticks(DISTANCES, [str(distance) for distance in DISTANCES])
    axis.grid(alpha=0.3)
    axis.legend()
    RESULTS.mkdir(parents=True, exist_ok=True)
    figure.savefig(RESULTS / "gradients.png", dpi=150)
    figures = {"distances": DISTANCES, "gradient_shares": shares, "recalled": recalls, "torch": torch.__version__}
    (RESULTS / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
