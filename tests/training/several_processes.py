"""What each process of a test does; run as a script, it is what a launcher starts.

``python several_processes.py FOLDER`` trains and writes ``FOLDER/RANK.pt``; with a second word it dies on the way.
"""

import dataclasses
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_training import SOFT, TINY, Setting, make_setting, weights
from transformers import BertConfig, BertForMaskedLM

from distill import tasks
from distill.config import CosineTerm, PretrainingConfig, TrainConfig
from distill.models import build_transformer
from distill.objectives import Objective, Shape
from distill.text import Example
from distill.training import Problem, Rows, SoftLabelStore, State, Stored, find_machine, loop, predict, train
from distill.training.devices import end_one_of_several
from distill.training.pretraining import Corpus, masked_problem

ODD = TrainConfig(steps=9, evaluations=3, batch_size=16, tokens=40)
"""On 33 texts: the last step of an epoch has one text, and longer texts have forward passes of their own."""


class Stopped(Exception):
    """What stops every process at the same place."""


def outcome(result: Any, module: Any) -> dict[str, Any]:
    points = [(p.step, p.train_loss, p.validation) for p in result.curve]
    return {"curve": points, "best": (result.best_step, result.validation, result.steps), "weights": weights(module)}


def tags(setting: Setting, folder: Path) -> dict[str, Any]:
    model = setting.model(seed=int(os.environ.get("RANK", "0")), dropout=0.0)  # all start with the main one's weights
    model.unused = torch.nn.Linear(3, 3)  # has no gradient anywhere, and so no weight decay
    torch.nn.init.ones_(model.unused.weight)
    return outcome(setting.run(model, ODD, terms=SOFT, store=SoftLabelStore(folder / "store")), model)


def decisions(setting: Setting, folder: Path) -> dict[str, Any]:
    """Each process would choose another step; the main one's choice counts for all."""
    measure, rank = loop.score, setting.machine.rank
    scores = iter([0.1, 0.5, 0.2, 0.1, 0.9] if rank == 0 else [0.9, 0.1, 0.95, 0.1, 0.1])
    loop.score = lambda *_: (next(scores), ())
    try:
        model = setting.model(dropout=0.0)
        result = setting.run(model, TrainConfig(steps=10, evaluations=5, batch_size=16, patience=2))
    finally:
        loop.score = measure
    return outcome(result, model)


def vectors(setting: Setting, folder: Path) -> dict[str, Any]:
    """Through a projection, which is trained too."""
    task = tasks.build("sentence-embedding", ())
    texts = [Example(" ".join(e.text)) for e in setting.texts]
    scored = [Example(" ".join(e.text), "movie plot", float(i)) for i, e in enumerate(setting.validation)]
    read = [Rows.read(task, setting.encoder, part) for part in (texts, scored)]
    architecture = dataclasses.replace(TINY, dropout=0.0)
    model = build_transformer(architecture, setting.encoder.tokenizer, {}, task, 16, 0).model
    torch.manual_seed(0)
    objective = Objective.of([CosineTerm("cosine")], "vector", (Shape(16), Shape(7)))
    signal = Stored(SoftLabelStore(folder / "vectors"), texts)
    result = train(Problem(model, objective, signal, *read, ODD, 5e-3, 0, "vectors"), None, setting.machine)
    return outcome(result, torch.nn.ModuleList([model, objective]))


def masked(setting: Setting, folder: Path) -> dict[str, Any]:
    settings = PretrainingConfig(epochs=2, batch_size=8, learning_rate=3e-3)
    corpus = Corpus([Example(" ".join(e.text)) for e in setting.texts], setting.encoder, 0.3)
    sizes: dict[str, Any] = {"vocab_size": setting.encoder.vocabulary_size, "hidden_size": 16, "intermediate_size": 16}
    sizes |= {"num_attention_heads": 2, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    torch.manual_seed(0)
    student, teacher = (BertForMaskedLM(BertConfig(num_hidden_layers=n, **sizes)) for n in (1, 2))
    problem = masked_problem(student, teacher, corpus, settings, 0, setting.machine)
    return outcome(train(problem, None, setting.machine), student)


def stopped_and_gone_on(
    setting: Setting, folder: Path, ema: float | None = None, dropout: float = 0.0
) -> dict[str, Any]:
    """All are stopped at step 24 of 45; the main process saved the state of step 20."""
    config = TrainConfig(steps=45, evaluations=15, batch_size=16, checkpoint_seconds=-1, ema=ema)
    store, evaluate = SoftLabelStore(folder / "store"), loop.evaluate
    state = folder / f"state-of-{setting.machine.processes}-{ema}-{dropout}"

    def stop(problem: Problem, state: State, machine: Any) -> None:
        evaluate(problem, state, machine)
        if state.step == 24:
            raise Stopped

    loop.evaluate = stop
    try:
        setting.run(setting.model(dropout=dropout), config, terms=SOFT, store=store, directory=state)
        raise AssertionError("was not stopped")
    except Stopped:
        loop.evaluate = evaluate
    model, saves, save = setting.model(seed=9, dropout=dropout), [], State.save

    def counted(state: State, parts: Any) -> None:
        saves.append(state.step)
        save(state, parts)

    State.save = counted  # type: ignore[method-assign]
    try:
        result = setting.run(model, config, terms=SOFT, store=store, directory=state)
    finally:
        State.save = save  # type: ignore[method-assign]
    return {**outcome(result, model), "saves": saves}


def averaged(setting: Setting, folder: Path) -> dict[str, Any]:
    """The same with a moving average of the weights."""
    return stopped_and_gone_on(setting, folder, ema=0.9)


def drawn_on(setting: Setting, folder: Path) -> dict[str, Any]:
    """How far, with dropout, the losses are from those of the same training without a stop."""
    stopped, model = stopped_and_gone_on(setting, folder, dropout=0.3), setting.model(dropout=0.3)
    config = TrainConfig(steps=45, evaluations=15, batch_size=16)
    whole = outcome(setting.run(model, config, terms=SOFT, store=SoftLabelStore(folder / "store")), model)
    found, expected = (torch.tensor([loss for _, loss, _ in one["curve"]]) for one in (stopped, whole))
    return {"weights": {"losses": found - expected}}


def answers(setting: Setting, folder: Path) -> dict[str, Any]:
    """More texts than processes, fewer, and none."""
    model = setting.model(dropout=0.0)
    found = [predict(model, setting.encoder, setting.task, setting.validation[:n], setting.machine) for n in (7, 1, 0)]
    return {"weights": {str(i): torch.from_numpy(np.concatenate(u)) for i, u in enumerate(found) if u}}


SCENES = (tags, decisions, vectors, masked, stopped_and_gone_on, averaged, drawn_on, answers)


def run_all(folder: Path) -> dict[str, Any]:
    setting = dataclasses.replace(make_setting(33, 13, words=True), machine=find_machine("cpu", "fp32", 1))
    setting.machine.barrier()
    return {scene.__name__: scene(setting, folder) for scene in SCENES}


def die_at(step: int, how: str) -> None:
    """The process of rank 1 is killed without a word, or fails, in the middle of a training."""
    add, taken = loop.add_gradients, []

    def add_and_die(*arguments: Any) -> Any:
        taken.append(1)
        if os.environ["RANK"] == "1" and len(taken) == step:
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise MemoryError("rank 1 has no more memory")
        return add(*arguments)

    loop.add_gradients = add_and_die


if __name__ == "__main__":
    where, *how = Path(sys.argv[1]), *sys.argv[2:]
    if how:
        die_at(3, how[0])
    found = run_all(where)
    torch.save(found, where / f"{os.environ.get('RANK', '0')}.pt")
    end_one_of_several(0)
