"""The probes of `benchmarks/probes.py`, on states where it is known what a probe finds."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from transformers import AutoModel

from distill import tasks
from distill.config import Config
from distill.config.compose import run_with_hydra
from distill.errors import UserError
from distill.evaluation.probes import score_of_layer, states_of
from distill.text import Example, Reading


def test_a_probe_finds_what_states_hold_and_nothing_in_noise() -> None:
    task = tasks.build("token-classification", ("DET", "NOUN", "VERB"))
    rng = np.random.default_rng(0)
    splits, holding, noise = [], [], []
    for size in (60, 30, 60):
        tags = [rng.choice(task.labels, 5) for _ in range(size)]
        splits.append([Example(("w",) * 5, label=tuple(map(str, one))) for one in tags])
        holding.append([np.stack([np.roll([3, 0, 0, 0], task.index[t]) for t in one]) for one in tags])
        holding[-1] = [(one + rng.normal(size=one.shape)).astype(np.float32) for one in holding[-1]]
        noise.append([rng.normal(size=(5, 4)).astype(np.float32) for _ in tags])
        holding[-1][0][2] = noise[-1][0][2] = np.nan  # a word without a piece
    found, nothing = (score_of_layer(task, units, splits) for units in (holding, noise))
    assert found.low > 0.9
    assert nothing.low < 1 / 3 + 0.06
    assert nothing.low < nothing.value < nothing.high


def test_states_are_those_of_first_pieces_and_means_over_tokens(random_teacher: Path) -> None:
    model = AutoModel.from_pretrained(random_teacher).eval()
    reading = Reading.from_file(random_teacher / "tokenizer.json", 32)
    words = ("a", "gorgeous", "unheardof", "movie")
    encoding = reading.tokenizer.encode(words, is_pretokenized=True)
    with torch.inference_mode():
        hidden = model(torch.tensor([encoding.ids]), output_hidden_states=True).hidden_states
    first = [encoding.word_ids.index(i) for i in range(len(words))]
    tags = tasks.build("token-classification", ("A", "B"))
    longer = Example((*words, *words))
    for layer, x_RLD in zip(states_of(model, reading, tags, [Example(words), longer]), hidden, strict=True):
        np.testing.assert_allclose(layer[0], x_RLD[0, first], atol=1e-5)
        assert layer[1].shape == (8, x_RLD.shape[-1])
    label = tasks.build("text-classification", ("A", "B"))
    texts = [Example(" ".join(words)), Example(" ".join((*words, *words)))]
    for layer, x_RLD in zip(states_of(model, reading, label, texts), hidden, strict=True):
        np.testing.assert_allclose(layer[0], x_RLD.mean(1), atol=1e-5)


def test_a_recipe_is_probed_layer_by_layer(benchmark: Callable[[str], ModuleType], miniature: list[str]) -> None:
    module = benchmark("probes")
    configs: list[Config] = []
    run_with_hydra("quickstart", miniature, [], configs.append)
    found = module.probed(configs[0])
    assert len(found["layers"]) == 3  # embeddings, two layers
    assert all(0 <= layer["low"] <= layer["value"] <= layer["high"] <= 1 for layer in found["layers"])
    assert found["layers"][0]["value"] > found["most_frequent_label"]  # words tell these reviews
    figure = module.draw([found])
    assert len(figure.axes) == 1


def test_a_teacher_without_weights_is_refused(benchmark: Callable[[str], ModuleType], miniature: list[str]) -> None:
    module = benchmark("probes")
    configs: list[Config] = []
    run_with_hydra("from_nothing", [o for o in miniature if not o.startswith("teacher")], [], configs.append)
    with pytest.raises(UserError, match="no pretrained teacher"):
        module.probed(configs[0])
