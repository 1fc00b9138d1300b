"""The arms: the same student, trained in each way; and the linear floor."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from distill.config import LayersStudent, PretrainedTeacher, RecurrentStudent, TransformerStudent
from distill.results import Candidate
from distill.stages.artifacts import Artifact, plain, save_units
from distill.stages.context import TRAINING_LIBRARIES, TRAINING_ROOMS, Run, Signal, Texts, TrainedArm, open_store


def train_arm(
    this: Run, signal: Signal, student_texts: Texts, tokenizer: Artifact, name: str, pretrained: Artifact | None = None
) -> TrainedArm:
    """Chooses the learning rate on validation with the first seed, then trains the other seeds with it."""
    config, dataset, task = this.config, student_texts.dataset, student_texts.task
    transfer = name.endswith("+transfer")
    rows = [*dataset.train, *dataset.transfer] if transfer else list(dataset.train)

    def fit(rate: float, seed: int) -> Artifact:
        what = f"student {name}, seed {seed}, learning rate {rate:g}"

        def compute(directory: Path) -> None:
            import torch

            from distill.models import (
                build_student,
                load_model,
                load_teacher,
                load_with_new_head,
                parameter_count,
                save_model,
                start_at_the_mean,
                vector_size,
            )
            from distill.training import Problem, Rows, State, Stored, make_arm, train

            teacher, start = None, config.student
            if name == "pretrained" and pretrained is not None and isinstance(start, LayersStudent):
                teacher = load_with_new_head(pretrained.directory / "model", task, seed)
                start = dataclasses.replace(start, layers=tuple(range(teacher.model.config.num_hidden_layers)))
            elif isinstance(start, LayersStudent) and start.start == "checkpoint":
                assert isinstance(config.teacher, PretrainedTeacher)
                torch.manual_seed(seed)  # the new head
                teacher = load_teacher(dataclasses.replace(config.teacher, fine_tune="always"), task).loaded
            elif reads_weights(start) and signal.model is not None:
                teacher = load_model(signal.model.directory / "model", task)
            kept = tokenizer.directory / "kept.npy"
            student = build_student(
                start,
                teacher,
                student_texts.encoder.tokenizer,
                student_texts.special_tokens,
                task,
                np.load(kept, allow_pickle=False) if kept.is_file() else None,
                student_texts.encoder.max_length,
                seed,
                student_texts.paired,
            )
            if not isinstance(start, LayersStudent) or start.start == "checkpoint" or name == "pretrained":
                start_at_the_mean(student.model, task, dataset.train)
            store, sizes = open_store(signal.answers), None
            if task.kind == "vector":
                sizes = (vector_size(student.model), store.width)
            arm = make_arm(name, config.objective, task.kind, sizes, signal.task.thresholds)
            problem = Problem(
                student.model,
                arm.objective,
                Stored(store, rows) if arm.objective.reads_teacher else None,
                Rows.read(task, student_texts.encoder, rows),
                Rows.read(task, student_texts.encoder, dataset.validation),
                config.train,
                rate,
                seed,
                what,
            )
            trained = train(problem, State(directory / "work"), this.machine)
            shutil.rmtree(directory / "work", ignore_errors=True)
            save_model(student, directory / "model", student_texts.encoder.max_length)
            result = {**plain(trained), "parameters": parameter_count(student.model)}
            (directory / "result.json").write_text(json.dumps(result))

        reads_teacher = name not in ("hard", "pretrained")
        starts_from_teacher = reads_weights(config.student)
        return this.artifacts.stage(
            "student",
            what,
            {
                "arm": name,
                "objective": config.objective if reads_teacher else None,
                "student": config.student,
                "pretrained": pretrained.fingerprint if name == "pretrained" and pretrained else None,
                "train": {k: v for k, v in plain(config.train).items() if k != "learning_rates"},
                "learning_rate": rate,
                "seed": seed,
                "signal": signal.answers.fingerprint if reads_teacher else None,
                "thresholds": signal.task.thresholds if name == "pseudo+transfer" else (),
                # A teacher's fingerprint covers the metric that checkpoints are chosen by.
                "teacher": signal.model.fingerprint if starts_from_teacher and signal.model else task.section(),
                "tokenizer": tokenizer.fingerprint,
                "data": dataset.fingerprint,
                **this.compute,
            },
            TRAINING_ROOMS,
            TRAINING_LIBRARIES,
            compute,
        )

    first = {rate: fit(rate, config.seeds[0]) for rate in config.train.learning_rates}
    candidates = tuple(Candidate(rate, a.read("result.json")["validation"]) for rate, a in first.items())
    rate = max(candidates, key=lambda c: c.validation).learning_rate
    models = (first[rate], *(fit(rate, seed) for seed in config.seeds[1:]))
    others = [a.cost for r, a in first.items() if r != rate]
    return TrainedArm(
        name,
        transfer,
        rate,
        candidates,
        models,
        tuple(a.read("result.json") for a in models),
        (*others, *(a.cost for a in models)),
    )


def reads_weights(student: LayersStudent | TransformerStudent | RecurrentStudent) -> bool:
    """Whether a student starts from weights of the teacher."""
    return isinstance(student, LayersStudent) or getattr(student, "embeddings", "random") == "teacher"


def fit_floor(this: Run, texts: Texts) -> Artifact:
    """The linear model's answers on test."""
    dataset, task = texts.dataset, texts.task

    def compute(directory: Path) -> None:
        from distill.training import fit_linear

        floor = fit_linear(task, dataset.train, dataset.validation)
        save_units(directory / "test.npz", floor.units(dataset.test))
        if dataset.out_of_scope:
            save_units(directory / "out_of_scope.npz", floor.units(dataset.out_of_scope))
        result = {
            "validation": floor.validation,
            "parameters": floor.parameters,
            "regularization": floor.regularization,
            "thresholds": floor.task.thresholds,
        }
        (directory / "result.json").write_text(json.dumps(result))

    return this.artifacts.stage(
        "linear",
        "linear floor",
        {"data": dataset.fingerprint, "task": task.section()},
        ("training/linear.py", "tasks", "metrics", "text"),
        ("scikit-learn", "numpy"),
        compute,
    )


def choose(arms: Sequence[TrainedArm]) -> tuple[TrainedArm, int]:
    """What is exported: the arm that is best on validation over its seeds, and of it the best seed."""
    best = max(arms, key=lambda arm: arm.validation)
    return best, int(np.argmax([r["validation"] for r in best.results]))
