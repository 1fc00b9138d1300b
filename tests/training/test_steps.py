"""A step: how it is dealt out and cut, and that its gradient does not depend on that."""

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from task_worlds import ANSWERING, WORLDS, WRITING
from test_batches_of_each_task import _world
from tiny_training import TINY, make_setting, whole_words

from distill import tasks
from distill.config import CosineTerm, HardTerm, KlTerm, MseTerm, PretrainingConfig, TrainConfig
from distill.models import build_transformer
from distill.models.answers import forward_of, most_likely
from distill.objectives import Objective, Shape
from distill.runtime import ALONE, in_order, respond
from distill.text import Example, Reading, Target, train_tokenizer
from distill.training import Beside, Machine, Problem, Rows, SoftLabelStore, Stored, find_machine
from distill.training.learner import Learner, add_gradients
from distill.training.planning import cut
from distill.training.pretraining import Corpus, masked_problem
from distill.training.problem import steps_of
from distill.training.signal import Tokens


@pytest.fixture(scope="module")
def machine() -> Machine:
    return find_machine("cpu", "fp32", 1)


@pytest.mark.parametrize("tokens", [1, 20, 33, 100, 10_000])
def test_passes_hold_every_example_once_in_order_and_no_more_tokens_than_allowed(tokens: int) -> None:
    random = np.random.default_rng(tokens)
    windows, longest = random.integers(1, 4, 40).tolist(), random.integers(1, 12, 40).tolist()
    passes = cut(windows, longest, tokens)
    assert [i for part in passes for i in range(40)[part]] == list(range(40))
    for part, after in zip(passes, [*passes[1:], None], strict=True):
        size = sum(windows[part]) * max(longest[part])
        assert size <= tokens or part.stop - part.start == 1
        if after is not None:  # the next one would not have fit
            more = slice(part.start, part.stop + 1)
            assert sum(windows[more]) * max(longest[more]) > tokens
    assert cut([], [], tokens) == []


def _gradient(problem: Problem, tokens: int, machine: Machine) -> tuple[float, dict[str, torch.Tensor], int]:
    problem = dataclasses.replace(problem, budget=dataclasses.replace(problem.budget, tokens=tokens))
    learner = Learner(problem.model, problem.objective)
    learner.zero_grad()
    (step,) = steps_of(problem, 0, machine)
    loss = add_gradients(learner, problem.signal, step, machine)
    gradients = {name: p.grad for name, p in learner.named_parameters() if p.grad is not None}
    return float(loss), gradients, len(step.batches)


def _assert_the_same_however_it_is_cut(problem: Problem, machine: Machine) -> None:
    loss, whole, passes = _gradient(problem, 10**6, machine)
    assert passes == 1
    assert max(float(g.abs().max()) for g in whole.values()) > 1e-3
    for tokens, least in ((60, 2), (1, 7)):
        found, cut_up, passes = _gradient(problem, tokens, machine)
        assert passes >= least
        assert found == pytest.approx(loss, rel=1e-6)
        assert list(cut_up) == list(whole)
        for name, gradient in whole.items():
            torch.testing.assert_close(cut_up[name], gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("task", ANSWERING)
def test_the_gradient_of_a_step_does_not_depend_on_the_cut(
    task: str, windows: bool, tmp_path: Path, machine: Machine
) -> None:
    made, encoder, examples = _world(task, windows)
    if made.words:  # a sentence without labels, so that passes count differently
        examples[0] = dataclasses.replace(examples[0], label=None)
    rows = Rows.read(made, encoder, examples)
    random = np.random.default_rng(0)
    width = 7 if made.kind == "vector" else made.width
    counts = [len(e.word_starts) if made.words else 1 for e in rows.encoded]
    SoftLabelStore.write(tmp_path, examples, [random.normal(size=(n, width)) for n in counts])
    terms: Any = [HardTerm("hard", 0.3), KlTerm("kl", 0.7, 2.0)]
    if made.kind == "number":
        terms = [HardTerm("hard", 0.3), MseTerm("mse", 0.7)]
    if made.kind == "vector":
        terms = [CosineTerm("cosine")]
    architecture = dataclasses.replace(TINY, dropout=0.0)
    model = build_transformer(architecture, encoder.tokenizer, {}, made, encoder.max_length, 0).model
    objective = Objective.of(terms, made.kind, (Shape(16), Shape(7)) if made.kind == "vector" else (Shape(), Shape()))
    signal = Stored(SoftLabelStore(tmp_path), examples)
    budget = TrainConfig(steps=1, batch_size=7)
    problem = Problem(model, objective, signal, rows, None, budget, 1e-3, 0, "test")
    _assert_the_same_however_it_is_cut(problem, machine)


@pytest.mark.parametrize("task", WRITING)
def test_the_gradient_of_tokens_does_not_depend_on_the_cut(task: str, tmp_path: Path, machine: Machine) -> None:
    generator = random.Random(0)
    rows = [WORLDS[task][0](generator) for _ in range(7)]
    examples = [
        Example(row["text"]) if "text" in row else Example(row["source"], label=Target(row["target"])) for row in rows
    ]
    tokenizer = train_tokenizer([Example(text) for row in rows for text in row.values()] * 3, 300, "bpe")
    made, encoder = tasks.build(task, ()), Reading(tokenizer, 14)
    architecture = dataclasses.replace(TINY, dropout=0.0)
    student, teacher = (build_transformer(architecture, tokenizer, {}, made, 14, seed).model for seed in (0, 1))
    read = Rows.read(made, encoder, examples)
    units = in_order(respond(forward_of(teacher.eval(), kept=most_likely), encoder, made, read.encoded, ALONE))
    SoftLabelStore.write(tmp_path, examples, units)
    objective = Objective.of([HardTerm("hard", 0.3), KlTerm("kl", 0.7, 1.0)], made.kind)
    signal = Stored(SoftLabelStore(tmp_path), examples, Tokens(np.ones(student.config.vocab_size, dtype=np.int64)))
    problem = Problem(student, objective, signal, read, None, TrainConfig(steps=1, batch_size=7), 1e-3, 0, "test")
    _assert_the_same_however_it_is_cut(problem, machine)


def test_masks_are_drawn_for_the_whole_step_whatever_the_cut(machine: Machine) -> None:
    from transformers import BertConfig, BertForMaskedLM

    encoder = Reading(whole_words(), 16)
    texts = [Example("movie plot actor scene story camera music end"[: 6 * n].strip()) for n in range(1, 8)]
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    sizes |= {"vocab_size": encoder.vocabulary_size, "num_hidden_layers": 1}
    student, teacher = (BertForMaskedLM(BertConfig(**sizes)).eval() for _ in range(2))
    settings = PretrainingConfig(epochs=1, batch_size=7)
    problem = masked_problem(student, teacher, Corpus(texts, encoder, 0.3), settings, 0, machine)
    assert isinstance(problem.signal, Beside)
    _assert_the_same_however_it_is_cut(problem, machine)


def test_processes_share_the_texts_of_each_step(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> None:
    setting = make_setting(33, 2)
    problem = setting.problem(setting.model(), TrainConfig(steps=6, batch_size=16))
    key = {tuple(e.input_ids): i for i, e in enumerate(setting.encoder.encode(setting.texts))}

    def texts() -> list[list[int]]:
        steps = []
        for step in steps_of(problem, 0, machine):
            rows = [(b.inputs["input_ids"], b.inputs["attention_mask"].bool()) for b in step.batches]
            steps.append([key[tuple(r[m].tolist())] for ids, mask in rows for r, m in zip(ids, mask, strict=True)])
        return steps

    whole = texts()
    assert sorted(map(len, whole)) == [1, 1, 16, 16, 16, 16]
    shares = []
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        shares.append(texts())
    for step, *parts in zip(whole, *shares, strict=True):
        assert sorted(step) == sorted(i for part in parts for i in part)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
