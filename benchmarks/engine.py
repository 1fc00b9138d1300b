"""This project's training against a plain transformers Trainer with the teacher in `compute_loss`.

`python benchmarks/engine.py [--out FOLDER] [KEY=VALUE …]`, overrides of the recipe quickstart. One student (two layers
of all-MiniLM-L6-v2), one teacher (the recipe's, fine-tuned), the same texts, steps, batch size, AdamW, schedule and
loss; fp32, one thread. `distill` labels the texts once and trains on what is stored; `Trainer` shuffles, pads by
`DataCollatorWithPadding` and runs the teacher in every step.

Each has a process of its own, for its peak memory, and the two take turns of a few steps, so that whatever else the
machine does meets both alike. The first step of a turn is not counted. Times to an accuracy on validation are of
training alone, with labelling counted, without evaluations; both are evaluated by the same code.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from distill.config import Config, KlTerm
from distill.config.compose import run_with_hydra
from distill.progress import say
from distill.stages.context import Run, Texts, open_run
from distill.stages.students import TrainStudent
from distill.stages.teacher import prepare_teacher
from distill.stages.texts import prepare_student, read_data, read_texts
from distill.stages.tokens import tokens_of

ENGINES = ("distill", "Trainer")
STEPS, TURN, EVALUATIONS, VALIDATION = 120, 5, 8, 256
ROOTS = ["precision=fp32", "threads=1", "device=cpu", "student.vocabulary.trim=false", "data.transfer_limit=1000"]
BUDGET = [f"train.steps={STEPS}", f"train.evaluations={EVALUATIONS}", "train.batch_size=32"]


class Clock:
    """Times the steps of one engine, and lets the other have its turn."""

    def __init__(self) -> None:
        self.ms: list[float] = []
        self.curve: list[tuple[int, float, float]] = []
        """(step, seconds of training, accuracy on validation)"""
        self.seconds = 0.0
        self.mark = 0.0

    def starts(self) -> None:
        """Waits for the first turn."""
        answer({"ready": True})
        sys.stdin.readline()
        self.mark = time.perf_counter()

    def step_ends(self) -> None:
        """Counts a step; after the last of a turn the other engine goes on."""
        took = time.perf_counter() - self.mark
        self.seconds += took
        self.ms.append(1000 * took)
        if len(self.ms) % TURN == 0:
            answer({"steps": len(self.ms)})
            sys.stdin.readline()
        self.mark = time.perf_counter()

    def evaluate(self, score: Callable[[], float]) -> None:
        """Not part of a step's time; called before :meth:`step_ends`."""
        before = time.perf_counter()
        self.curve.append((len(self.ms) + 1, self.seconds + before - self.mark, score()))
        self.mark += time.perf_counter() - before


def answer(value: dict[str, Any]) -> None:
    """Tells the parent; a library may print lines of its own."""
    print("@" + json.dumps(value), flush=True)


def prepared(overrides: list[str]) -> tuple[Run, Texts, TrainStudent]:
    """The run, its texts and the training that both engines do, without the soft labels."""
    from distill.config import ObjectiveConfig

    found: list[Config] = []
    run_with_hydra("quickstart", [*ROOTS, *BUDGET, *overrides, "name=engine"], [], found.append)
    this = open_run(found[0])
    texts = read_texts(this, read_data(this))
    teacher = prepare_teacher(this, texts)
    own = prepare_student(this, texts, None)
    training = TrainStudent(
        arm="soft+transfer",
        student=this.config.student,
        start=teacher.model,
        objective=ObjectiveConfig(this.config.objective.terms),
        signal=None,
        beside=None,
        states=None,
        importance=None,
        thresholds=(),
        budget=this.config.train,
        seed=0,
        vocabulary=own.vocabulary,
        reading=own.reading,
        task=own.task,
        texts=tokens_of(this, own, own.training),
        labelled=own.dataset.part("train"),
        validation=tokens_of(this, own, own.dataset.part("validation")),
        paired=False,
    )
    return this, texts, training


def by_distill(this: Run, texts: Texts, training: TrainStudent, clock: Clock) -> float:
    """Labels, then trains. Returns seconds of labelling."""
    from distill.objectives import Objective
    from distill.stages.signal import LabelTexts
    from distill.training import Problem, Rows, SoftLabelStore, Stored, loop

    assert training.start is not None
    clock.starts()
    before = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        labels = LabelTexts(training.start, texts.reading, texts.task, training.texts, to_learn=True)
        labels.compute(Path(folder), this.machine)
        labelling = time.perf_counter() - before
        signal = Stored(SoftLabelStore(Path(folder) / "store"), training.texts.examples)
        examples = training.validation.examples[:VALIDATION]
        problem = Problem(
            training.first_weights().model,
            Objective.of(training.objective.terms, training.task.kind),
            signal,
            Rows.read(training.task, training.reading, training.texts.examples),
            Rows.read(training.task, training.reading, examples),
            training.budget,
            training.rate,
            training.seed,
            "",
        )
        score = loop.score

        def scored(*arguments: Any) -> tuple[float, tuple[float, ...]]:
            clock.evaluate(lambda: score(*arguments)[0])
            return clock.curve[-1][2], ()

        def counted(steps: Iterable[Any], *_: object) -> Iterator[Any]:
            clock.starts()
            for step in steps:
                yield step
                clock.step_ends()

        loop.score, loop.track = scored, counted
        loop.train(problem, None, this.machine)
    return labelling


def by_trainer(this: Run, texts: Texts, training: TrainStudent, clock: Clock) -> float:
    """A Trainer as tutorials have it. Returns seconds of labelling: none."""
    import torch
    from torch.nn import functional
    from transformers import AutoTokenizer, DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    from distill.models import load_model
    from distill.training import Rows, loop

    assert training.start is not None
    task, budget = training.task, training.budget
    folder = training.start.directory / "model"
    teacher, student = load_model(folder, task).model.eval(), training.first_weights().model
    rows = Rows.read(task, training.reading, training.texts.examples)
    validation = Rows.read(task, training.reading, training.validation.examples[:VALIDATION])
    number = {label: i for i, label in enumerate(task.labels)}
    data = [
        {
            "input_ids": [int(i) for i in encoded.input_ids],
            "attention_mask": [1] * len(encoded.input_ids),
            "labels": -100 if example.label is None else number[example.label],
        }
        for encoded, example in zip(rows.encoded, rows.examples, strict=True)
    ]
    hard = sum(term.weight for term in training.objective.terms if term.name == "hard")
    (soft,) = (term for term in training.objective.terms if isinstance(term, KlTerm))

    class Distillation(Trainer):
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
            labels = inputs.pop("labels")
            output = model(**inputs)
            with torch.no_grad():
                answers = teacher(**inputs).logits
            loss = (
                soft.weight
                * soft.temperature**2
                * functional.kl_div(
                    functional.log_softmax(output.logits / soft.temperature, dim=-1),
                    functional.log_softmax(answers / soft.temperature, dim=-1),
                    reduction="batchmean",
                    log_target=True,
                )
            )
            if (labels >= 0).any():
                loss = loss + hard * functional.cross_entropy(output.logits, labels, ignore_index=-100)
            return (loss, output) if return_outputs else loss

    every = budget.steps // budget.evaluations

    class Watch(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            clock.starts()

        def on_step_end(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
            if state.global_step % every == 0:
                clock.evaluate(lambda: loop.score(student, validation, this.machine)[0])
                student.train()
            clock.step_ends()

    with tempfile.TemporaryDirectory() as aside:
        trainer = Distillation(
            student,
            TrainingArguments(
                output_dir=aside,
                use_cpu=True,
                max_steps=budget.steps,
                per_device_train_batch_size=budget.batch_size,
                learning_rate=training.rate,
                weight_decay=budget.weight_decay,
                warmup_steps=round(budget.steps * budget.warmup),
                lr_scheduler_type="linear",
                max_grad_norm=budget.clip,
                logging_strategy="no",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                remove_unused_columns=False,
                dataloader_pin_memory=False,
                seed=training.seed,
            ),
            data_collator=DataCollatorWithPadding(AutoTokenizer.from_pretrained(folder)),
            train_dataset=data,
            callbacks=[Watch()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return 0.0


def work(engine: str, overrides: list[str]) -> None:
    """What the process of one engine does."""
    import torch

    from distill.measure.memory import peak_resident_set, resident_set

    torch.set_num_threads(1)
    this, texts, training = prepared(overrides)
    clock, before = Clock(), resident_set().value
    labelling = (by_distill if engine == "distill" else by_trainer)(this, texts, training, clock)
    tokens = [len(row.input_ids) for row in training.task.encode(training.reading, training.texts.examples)]
    answer(
        {
            "ms": clock.ms,
            "curve": clock.curve,
            "labelling_seconds": labelling,
            "memory_MB": {"before": before, "peak": peak_resident_set().value},
            "texts": len(tokens),
            "tokens_a_text": float(np.mean(tokens)),
            "batch_size": training.budget.batch_size,
            "learning_rate": training.rate,
        }
    )


def take_turns(overrides: list[str]) -> dict[str, dict[str, Any]]:
    """Runs both engines, one working at a time; what each found."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = {
        engine: subprocess.Popen(
            [sys.executable, __file__, "--engine", engine, *overrides],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for engine in ENGINES
    }
    found: dict[str, dict[str, Any]] = {}
    for process in processes.values():
        hear(process)  # ready
    while len(found) < len(processes):
        for engine, process in processes.items():
            if engine in found:
                continue
            assert process.stdin is not None
            process.stdin.write("go on\n")
            process.stdin.flush()
            heard = hear(process)
            if "ms" in heard:
                found[engine] = heard
                process.wait()
            elif heard.get("steps", 0) % (4 * TURN) == 0 and "steps" in heard:
                say(f"{engine}: {heard['steps']} steps")
    return found


def hear(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """The next answer of a process. Raises SystemExit where it ended without one."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("@"):
            value: dict[str, Any] = json.loads(line[1:])
            return value
    raise SystemExit(f"one engine ended with {process.wait()}; its message stands above")


def figures(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Medians, spreads and ratios."""
    target = min(max(accuracy for _, _, accuracy in one["curve"]) for one in found.values())
    by_engine = {}
    for engine, one in found.items():
        counted = [ms for number, ms in enumerate(one["ms"]) if number % TURN]
        to_target = next(seconds for _, seconds, accuracy in one["curve"] if accuracy >= target)
        by_engine[engine] = {
            "ms_a_step": {
                "median": float(np.median(counted)),
                "quartiles": [float(np.percentile(counted, q)) for q in (25, 75)],
            },
            "texts_a_second": 1000 * one["batch_size"] / float(np.median(counted)),
            "labelling_seconds": one["labelling_seconds"],
            "seconds_to_target": one["labelling_seconds"] + to_target,
            "seconds_in_all": one["labelling_seconds"] + sum(one["ms"]) / 1000,
            "peak_memory_MB": one["memory_MB"]["peak"],
            "best_accuracy": max(accuracy for _, _, accuracy in one["curve"]),
        }
    ours, theirs = (by_engine[engine] for engine in ENGINES)
    ratios = {
        "ms_a_step": theirs["ms_a_step"]["median"] / ours["ms_a_step"]["median"],
        **{key: theirs[key] / ours[key] for key in ("seconds_to_target", "seconds_in_all", "peak_memory_MB")},
    }
    return {"target_accuracy": target, "engines": by_engine, "Trainer_over_distill": ratios}


def show(result: dict[str, Any]) -> None:
    """The table."""
    print(f"{'':28}" + "".join(f"{engine:>12}" for engine in ENGINES) + f"{'ratio':>8}")
    ratios = result["Trainer_over_distill"]
    lines = [
        ("ms a step, median", "ms_a_step", 1),
        ("texts a second", "texts_a_second", 1),
        ("labelling, s", "labelling_seconds", 1),
        (f"to {100 * result['target_accuracy']:.1f} % on validation, s", "seconds_to_target", 1),
        ("all steps, s", "seconds_in_all", 1),
        ("peak memory, MB", "peak_memory_MB", 1),
        ("best on validation, %", "best_accuracy", 100),
    ]
    for title, key, factor in lines:
        values = [result["engines"][engine][key] for engine in ENGINES]
        values = [value["median"] if isinstance(value, dict) else value for value in values]
        ratio = f"{ratios[key]:8.2f}" if key in ratios else ""
        print(f"{title:28}" + "".join(f"{factor * value:12.1f}" for value in values) + ratio)
    for engine in ENGINES:
        low, high = result["engines"][engine]["ms_a_step"]["quartiles"]
        print(f"{engine}: quartiles of a step {low:.0f} to {high:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for result.json, such as benchmarks/results/engine")
    parser.add_argument("--note", default="", help="what else the machine did, for the result")
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("overrides", metavar="KEY=VALUE", nargs="*", help="overrides of the recipe quickstart")
    options = parser.parse_args()
    if options.engine:
        work(options.engine, options.overrides)
        return
    from distill.measure import machine, versions

    prepared(options.overrides)  # the teacher is trained once, before both
    found = take_turns(options.overrides)
    result = figures(found)
    show(result)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        about = {"note": options.note, "overrides": options.overrides, "machine": machine(), "versions": versions()}
        content = {**about, **result, "raw": found}
        (options.out / "result.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
