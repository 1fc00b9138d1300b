"""How well each layer's states tell the labels of a recipe: `python benchmarks/probes.py RECIPE… [KEY=VALUE …]`.

The probes of `distill/evaluation/probes.py` on the recipe's teacher as it was published. Writes
`benchmarks/results/probes/` (figures and a plot).
"""

import argparse
import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from transformers import AutoModel

from distill import tasks
from distill.config import Config, PretrainedTeacher
from distill.config.compose import run_with_hydra
from distill.data import load_data
from distill.errors import UserError
from distill.evaluation.probes import probe_layers, sampled
from distill.models.checkpoints import Checkpoint
from distill.text import Reading

MAX_LENGTH = 128
RESULTS = Path(__file__).parent / "results" / "probes"


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
    splits = sampled(dataset.train, dataset.validation, dataset.test)
    scores = probe_layers(model, reading, task, splits)
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
