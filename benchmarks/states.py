"""Seconds a step with the teacher beside the student against its states read from the disk.

`python benchmarks/states.py [--steps 20] [--tokens 128] [--objectives minilmv2 hidden …]`. A teacher of MiniLM's shape
(12 layers x 384, 12 heads, random weights) and a student of 3 of its layers learn 256 random texts by the engine's own
steps of 32, fp32, one thread. Both signals take turns on the very same steps, so that other work on the machine meets
both alike; making a step, with what is read from the disk, counts to it. What is kept, and how long that took, is told
too.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

LAYERS, WIDTH, HEADS, VOCABULARY = 12, 384, 12, 30522
TEXTS, BATCH, KEPT = 256, 32, 3
OBJECTIVES = ("minilmv2", "minilm", "hidden", "pkd", "tinybert")


def terms_of(objective: str) -> Any:
    """Of a choice of ``conf/objective``."""
    from distill.config import Config
    from distill.config.compose import run_with_hydra

    found: list[Config] = []
    run_with_hydra("quickstart", [f"objective={objective}", "name=states"], [], found.append)
    return found[0].objective


def random_rows(tokens: int) -> Any:
    """Texts of up to so many tokens, half as many at least."""
    from tokenizers import Tokenizer, models

    from distill import tasks
    from distill.text import Encoded, Example, Reading
    from distill.text.encoding import EMPTY
    from distill.training import Rows

    random, task = np.random.default_rng(0), tasks.build("text-classification", ("a", "b"))
    lengths = random.integers(tokens // 2, tokens + 1, TEXTS)
    ids = [random.integers(5, VOCABULARY, length) for length in lengths]
    reading = Reading(Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]")), tokens)
    encoded = [Encoded(own, np.zeros_like(own), EMPTY, False) for own in ids]
    return Rows(task, reading, [Example(f"text {i}", label="a") for i in range(TEXTS)], encoded)


def keep(folder: Path, teacher: Any, compared: Any, rows: Any, machine: Any) -> float:
    """Asks the teacher about all texts, as the stage does. Returns seconds."""
    from distill.training.inside import look_at, states_of
    from distill.training.loop import TOKENS
    from distill.training.states import Sizes, write_index, write_shard

    before = time.perf_counter()
    forward = states_of(teacher, compared, None, machine)
    of_texts = look_at(rows.encoded, forward, compared, rows.reading.pad_id, TOKENS)
    lengths = np.append(0, [len(one.input_ids) for one in rows.encoded]).cumsum()
    write_shard(folder, 0, of_texts)
    write_index(folder, compared, rows.examples, Sizes(lengths, np.arange(TEXTS + 1)))
    return time.perf_counter() - before


def compare(objective: str, tokens: int, steps: int, folder: Path) -> str:
    """One line of the table."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from distill.config import LayersStudent, TrainConfig
    from distill.models import student_from_layers
    from distill.objectives import Objective
    from distill.training import Beside, Problem, SoftLabelStore, find_machine
    from distill.training.inside import compared_in, shape_of
    from distill.training.learner import Learner, add_gradients
    from distill.training.problem import steps_of
    from distill.training.signal import Along, StoredInside
    from distill.training.states import StateStore

    torch.manual_seed(0)
    machine, rows, settings = find_machine("cpu", "fp32", 1), random_rows(tokens), terms_of(objective)
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    sizes |= {"intermediate_size": 4 * WIDTH, "vocab_size": VOCABULARY}
    teacher: Any = BertForSequenceClassification(BertConfig(**sizes)).eval()
    compared = compared_in(settings, LayersStudent("layers", count=KEPT), teacher, rows.task)
    took = keep(folder, teacher, compared, rows, machine)
    SoftLabelStore.write(folder / "labels", rows.examples, [np.zeros((1, 2), np.float32)] * TEXTS)
    labels, states = SoftLabelStore(folder / "labels"), StateStore(folder)
    needs = frozenset({"units", *(["hidden"] if compared.hidden or compared.first else [])})
    beside = Along(labels, rows.examples, Beside(teacher, needs | ({"qkv"} if compared.qkv else set())))
    student = student_from_layers(teacher, [round(i * LAYERS / KEPT) for i in range(KEPT)])
    shapes = (shape_of(student, rows.task), shape_of(teacher, rows.task))
    learner = Learner(student, Objective.of(settings.terms, rows.task.kind, shapes)).train()
    ways: dict[str, Any] = {"beside": beside, "stored": StoredInside(labels, rows.examples, states)}
    budget = TrainConfig(steps=steps + 1, batch_size=BATCH)
    planned = {
        name: steps_of(Problem(student, learner.objective, way, rows, None, budget, 1e-4, 0, ""), 0, machine)
        for name, way in ways.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for step in range(steps + 1):
        for name in sorted(ways, reverse=bool(step % 2)):  # each is first every other time
            before = time.perf_counter()
            add_gradients(learner, ways[name], next(planned[name]), machine)
            seconds[name].append(time.perf_counter() - before)
            learner.zero_grad(set_to_none=True)
    ratios = np.array(seconds["beside"][1:]) / np.array(seconds["stored"][1:])  # the first warms up
    low, high = np.quantile(ratios, (0.25, 0.75))
    kept = sum(file.stat().st_size for file in folder.glob("[0-9]*.npy"))
    read = sum(len(one.input_ids) for one in rows.encoded)
    of_steps = {name: 1000 * median(found[1:]) for name, found in seconds.items()}
    return (
        f"{objective}, texts of {tokens // 2} to {tokens} tokens: {of_steps['beside']:,.0f} ms a step beside, "
        f"{of_steps['stored']:,.0f} stored, {np.median(ratios):.2f} times [{low:.2f}, {high:.2f}]; "
        f"{kept / read:,.0f} bytes a token, kept in {1000 * took * BATCH / TEXTS:,.0f} ms for each {BATCH} texts"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=128, help="of the longest text")
    parser.add_argument("--objectives", nargs="+", default=list(OBJECTIVES), help="choices of conf/objective")
    options = parser.parse_args()
    for objective in options.objectives:
        with tempfile.TemporaryDirectory() as folder:
            print(compare(objective, options.tokens, options.steps, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
