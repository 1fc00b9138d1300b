"""Arms, floor and teacher side by side on test."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill.results import ArmResult, Candidate, Contrast, CurvePoint, SeedResult
from distill.stages.artifacts import Artifact, load_units, save_units
from distill.stages.context import TRAINING_LIBRARIES, TRAINING_ROOMS, Run, Signal, Texts, TrainedArm, open_store
from distill.tasks.task import AGREEMENT, Logits


def answers_on_test(this: Run, texts: Texts, model: Artifact, what: str) -> list[Logits]:
    """A chosen student's logits on test."""

    def compute(directory: Path) -> None:
        from distill.models import load_model
        from distill.training import predict

        loaded = load_model(model.directory / "model", texts.task)
        loaded.model.to(this.accelerator.device)
        units = predict(loaded.model, texts.encoder, texts.task, texts.dataset.test, this.accelerator, what)
        save_units(directory / "test.npz", units)

    artifact = this.artifacts.stage(
        "test-answers",
        f"test: {what}",
        {"model": model.fingerprint, "data": texts.dataset.fingerprint, **this.compute},
        TRAINING_ROOMS,
        TRAINING_LIBRARIES,
        compute,
    )
    return load_units(artifact.directory / "test.npz")


def evaluate(
    this: Run, texts: Texts, signal: Signal, student_texts: Texts, arms: Sequence[TrainedArm], linear: Artifact
) -> tuple[list[ArmResult], list[Contrast]]:
    """Test is read once, after every choice was made."""
    from distill.evaluation.contrasts import contrast
    from distill.evaluation.summary import Reference, Trained, statistics, summarise
    from distill.training.arms import DIFFERS_IN

    task, test = texts.task, texts.dataset.test
    store = open_store(signal.answers)
    teacher_units = [store[e] for e in test]
    linear_units = load_units(linear.directory / "test.npz")
    reference = Reference(
        statistics(task, linear_units, test),
        statistics(task, teacher_units, test),
        task.predictions(teacher_units, test),
    )

    def seed_result(seed: int, result: dict[str, Any]) -> SeedResult:
        curve = tuple(CurvePoint(**point) for point in result.get("curve", ()))
        return SeedResult(
            seed,
            result["validation"],
            math.nan,
            result.get("best_step", 0),
            result.get("steps", 0),
            result.get("seconds", 0.0),
            curve,
        )

    floor = linear.read("result.json")
    trained = [
        Trained(
            "linear",
            DIFFERS_IN["linear"],
            len(texts.dataset.train),
            floor["parameters"],
            (),
            None,
            (seed_result(0, floor),),
            (linear_units,),
        ),
        Trained(
            "teacher",
            DIFFERS_IN["teacher"],
            0 if signal.training.get("fine_tuned_before", True) else len(texts.dataset.train),
            signal.training.get("parameters"),
            tuple(Candidate(**c) for c in signal.training.get("candidates", ())),
            signal.training.get("learning_rate"),
            (seed_result(this.config.seeds[0], {**signal.training, "validation": signal.validation_score}),),
            (teacher_units,),
        ),
    ]
    for arm in arms:
        units = tuple(
            answers_on_test(this, student_texts, model, f"{arm.name}, seed {seed}")
            for seed, model in zip(this.config.seeds, arm.models, strict=True)
        )
        seeds = tuple(seed_result(s, r) for s, r in zip(this.config.seeds, arm.results, strict=True))
        trained.append(
            Trained(
                arm.name,
                DIFFERS_IN[arm.name],
                len(texts.training) if arm.transfer else len(texts.dataset.train),
                arm.results[0]["parameters"],
                arm.candidates,
                arm.learning_rate,
                seeds,
                units,
            )
        )
    summaries = [summarise(t, task, test, reference) for t in trained]
    if task.metric.name == AGREEMENT:  # without labels there is nothing to be right or calibrated about
        summaries = [dataclasses.replace(s, metrics={}, calibration_error=None) for s in summaries]
    stacks = {t.name: np.stack([statistics(task, u, test) for u in t.units]) for t in trained}
    pairs = [("soft", "hard", True), ("soft+transfer", "hard", True), ("soft+transfer", "pseudo+transfer", False)]
    contrasts = [
        contrast(task.metric, arm, stacks[arm], against, stacks[against], primary)
        for arm, against, primary in pairs
        if arm in stacks and against in stacks
    ]
    return summaries, contrasts
