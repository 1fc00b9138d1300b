"""How well each layer's states tell a task's labels: linear probes (Alain and Bengio 2016).

A probe is logistic regression on the states of one layer, the model's weights untouched. Of a word the state of its
first piece, of a text the mean over its tokens. Layer 0 are the embeddings. How strongly a probe is regularised is
chosen on validation; the interval of its score on test is over texts.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from distill.evaluation.intervals import score_over_seeds
from distill.metrics import Statistics
from distill.models.answers import model_inputs
from distill.models.pooling import masked_mean
from distill.results import Estimate
from distill.tasks import Task
from distill.text import Example, Reading, pad, rows_of

TEXTS, VALIDATION, BATCH = 500, 150, 32
"""Texts of train and test, and of validation, that are probed; fewer where there are fewer."""
STRENGTHS = (0.003, 0.03)
"""Inverse strengths of regularisation, of states with variance 1."""

Units = list[NDArray[np.float32]]
"""States [U, D] of each example; NaN where a word has no piece."""


@torch.inference_mode()
def states_of(model: Any, reading: Reading, task: Task, examples: Sequence[Example]) -> list[Units]:
    """Of each layer, the embeddings first, the states of the examples' units."""
    layers: list[Units] = []
    for start in range(0, len(examples), BATCH):
        encoded = task.encode(reading, examples[start : start + BATCH])
        batch = {name: torch.from_numpy(ids) for name, ids in pad(rows_of(encoded), reading.pad_id).items()}
        hidden = getattr(model(**model_inputs(model, batch), output_hidden_states=True), "hidden_states", None)
        if hidden is None or len(hidden[0]) != len(batch["input_ids"]):  # a pair that is read apart makes two rows
            return []
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
        logits = [np.full((len(u), len(self.task.labels)), np.nan) for u in units]
        for logits_UC, u in zip(logits, units, strict=True):
            known_U = ~np.isnan(u[:, 0])
            if known_U.any():
                logits_UC[known_U] = np.eye(len(self.task.labels))[self.fitted.predict(u[known_U])]
        return self.task.metric.statistics(self.task.predictions(logits, examples), self.task.gold(examples))


def score_of_layer(task: Task, units: Sequence[Units], splits: Sequence[Sequence[Example]]) -> Estimate:
    """On test, of the probe of train that is best on validation; ``units`` and ``splits`` are of these three."""
    probes = [Probe(task, units[0], splits[0], strength) for strength in STRENGTHS]
    best = max(probes, key=lambda probe: task.metric.reduce(probe.statistics(units[1], splits[1])))
    return score_over_seeds(task.metric, best.statistics(units[2], splits[2])[None])


def sampled(*splits: Sequence[Example]) -> list[list[Example]]:
    """As many of train, validation and test as are probed."""
    sizes = (TEXTS, VALIDATION, TEXTS)
    return [Random(0).sample(list(e), min(size, len(e))) for e, size in zip(splits, sizes, strict=True)]


def probe_layers(model: Any, reading: Reading, task: Task, splits: Sequence[Sequence[Example]]) -> tuple[Estimate, ...]:
    """The score of each layer's probe on test; ``splits`` are train, validation and test. Empty for a model that does
    not give its states, or not of each text."""
    units = [states_of(model, reading, task, examples) for examples in splits]
    return tuple(score_of_layer(task, of_layer, splits) for of_layer in zip(*units, strict=True))
