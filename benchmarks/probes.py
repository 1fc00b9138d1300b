"""How well each layer's states tell the labels of a recipe: `python benchmarks/probes.py RECIPE… [KEY=VALUE …]`.

A linear probe: logistic regression on the states of one layer of the recipe's teacher as it was published, the weights
of the teacher untouched. Of a word the state of its first piece, of a text the mean over its tokens. Layer 0 are the
embeddings. How strongly a probe is regularised is chosen on validation; the interval of its score on test is of 95 %
over texts. Writes `benchmarks/results/probes/` (figures and a plot).
"""

import argparse
import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import AutoModel, PreTrainedModel

from distill import tasks
from distill.config import Config, PretrainedTeacher
from distill.config.compose import run_with_hydra
from distill.data import load_data
from distill.errors import UserError
from distill.evaluation.intervals import score_over_seeds
from distill.metrics import Statistics
from distill.models.answers import model_inputs
from distill.models.checkpoints import Checkpoint
from distill.models.pooling import masked_mean
from distill.results import Estimate
from distill.tasks import Task
from distill.text import Example, Reading, pad, rows_of

TEXTS, VALIDATION, BATCH, MAX_LENGTH = 500, 150, 32, 128
STRENGTHS = (0.003, 0.03)
"""Inverse strengths of regularisation, of states with variance 1."""
RESULTS = Path(__file__).parent / "results" / "probes"

Units = list[NDArray[np.float32]]
"""States [U, D] of each example; NaN where a word has no piece."""


@torch.inference_mode()
def states_of(model: PreTrainedModel, reading: Reading, task: Task, examples: Sequence[Example]) -> list[Units]:
    """Of each layer, the embeddings first, the states of the examples' units."""
    layers: list[Units] = []
    for start in range(0, len(examples), BATCH):
        encoded = task.encode(reading, examples[start : start + BATCH])
        batch = {name: torch.from_numpy(ids) for name, ids in pad(rows_of(encoded), reading.pad_id).items()}
        hidden = model(**model_inputs(model, batch), output_hidden_states=True).hidden_states
        layers = layers or [[] for _ in hidden]
        for layer, x_RLD in zip(layers, hidden, strict=True):
            x = x_RLD if task.words else masked_mean(x_RLD, batch["attention_mask"])
            layer += task.units(x.numpy(), encoded)
    return layers


class Probe:
    """A linear classifier of states."""

    def __init__(self, task: Task, units: Units, examples: Sequence[Example], strength: float) -> None:
        self.task = task
        x_ND = np.concatenate(units)
        y_N = np.concatenate([task.targets(e, len(u)) for e, u in zip(examples, units, strict=True)])
        known_N = ~np.isnan(x_ND[:, 0])
        self.fitted = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300, tol=1e-3))
        self.fitted.fit(x_ND[known_N], y_N[known_N])

    def statistics(self, units: Units, examples: Sequence[Example]) -> Statistics:
        """[n, K], what the task's metric counts of each example."""
        told = [np.full((len(u), len(self.task.labels)), np.nan) for u in units]
        for logits_UC, u in zip(told, units, strict=True):
            known_U = ~np.isnan(u[:, 0])
            if known_U.any():
                logits_UC[known_U] = np.eye(len(self.task.labels))[self.fitted.predict(u[known_U])]
        return self.task.metric.statistics(self.task.predictions(told, examples), self.task.gold(examples))


def score_of_layer(task: Task, units: Sequence[Units], splits: Sequence[Sequence[Example]]) -> Estimate:
    """On test, of the probe of train that is best on validation; ``units`` and ``splits`` are of these three."""
    probes = [Probe(task, units[0], splits[0], strength) for strength in STRENGTHS]
    best = max(probes, key=lambda probe: task.metric.reduce(probe.statistics(units[1], splits[1])))
    return score_over_seeds(task.metric, best.statistics(units[2], splits[2])[None])


def probed(config: Config) -> dict[str, Any]:
    """The score of each layer's probe, and of the most frequent label.

    Raises UserError for a teacher without states, and a task that has no labels to tell.
    """
    if not isinstance(config.teacher, PretrainedTeacher):
        raise UserError(f"{config.recipe} has no pretrained teacher to look into; set teacher=minilm, for one")
    if config.task.name not in ("text-classification", "token-classification"):
        raise UserError(f"{config.recipe} is a recipe for {config.task.name}; give one of a classification")
    dataset = load_data(config.data, config.task)
    task = tasks.build(config.task.name, dataset.labels, config.task.metric)
    checkpoint = Checkpoint.of(config.teacher.source)
    model = checkpoint.weights(AutoModel, lambda *_: True)
    found = checkpoint.tokenizer()
    reading = Reading(found.tokenizer, MAX_LENGTH, special_tokens=found.special_tokens)
    sizes = ((dataset.train, TEXTS), (dataset.validation, VALIDATION), (dataset.test, TEXTS))
    splits = [Random(0).sample(examples, min(size, len(examples))) for examples, size in sizes]
    units = [states_of(model, reading, task, examples) for examples in splits]
    scores = [score_of_layer(task, of_layer, splits) for of_layer in zip(*units, strict=True)]
    frequent = Counter(np.concatenate([task.targets(e) for e in splits[0]]).tolist()).most_common(1)[0][0]
    always = [np.eye(len(task.labels))[np.full(len(task.targets(e)), frequent)] for e in splits[2]]
    return {
        "recipe": config.recipe,
        "metric": task.metric.title,
        "texts": [len(examples) for examples in splits],
        "layers": [dataclasses.asdict(score) for score in scores],
        "most_frequent_label": task.metric.score(task.predictions(always, splits[2]), task.gold(splits[2])),
    }


def draw(results: list[dict[str, Any]]) -> Figure:
    """A panel a recipe."""
    figure, axes = plt.subplots(1, len(results), figsize=(4.6 * len(results), 3.6), squeeze=False, layout="constrained")
    for axis, found in zip(axes.flat, results, strict=True):
        value, low, high = (
            100 * np.array([layer[key] for layer in found["layers"]]) for key in ("value", "low", "high")
        )
        axis.errorbar(range(len(value)), value, [value - low, high - value], marker="o", capsize=3)
        title = f"{found['recipe']} (most frequent label: {100 * found['most_frequent_label']:.1f} %)"
        axis.set(title=title, xlabel="layer (0: embeddings)", ylabel=f"{found['metric']} on test, %")
        axis.set_xticks(range(len(value)))
        axis.grid(alpha=0.3)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("words", metavar="RECIPE | KEY=VALUE", nargs="+", help="recipes, and overrides for all of them")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_intermixed_args()
    overrides = [word for word in options.words if "=" in word]
    configs: list[Config] = []
    for recipe in (word for word in options.words if "=" not in word):
        run_with_hydra(recipe, overrides, [], configs.append)
    torch.set_num_threads(1)
    results = []
    for config in configs:
        results.append(found := probed(config))
        floor = 100 * found["most_frequent_label"]
        print(f"{found['recipe']}: {found['metric']} on test, %; the most frequent label {floor:.1f}")
        for number, layer in enumerate(found["layers"]):
            print(f"  layer {number}: {100 * layer['value']:.1f} [{100 * layer['low']:.1f}, {100 * layer['high']:.1f}]")
    options.out.mkdir(parents=True, exist_ok=True)
    draw(results).savefig(options.out / "probes.png", dpi=150)
    (options.out / "figures.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
