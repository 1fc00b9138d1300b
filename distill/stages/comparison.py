"""Arms, floor and teacher side by side on test."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill.results import ArmResult, Contrast, CurvePoint, SeedResult
from distill.stages.artifacts import Artifact, load_units, save_units
from distill.stages.context import TRAINING_LIBRARIES, TRAINING_ROOMS, Run, Signal, Texts, TrainedArm, open_store
from distill.tasks import Task
from distill.tasks.task import AGREEMENT


def answers_on_test(this: Run, texts: Texts, model: Artifact, what: str) -> Artifact:
    """A chosen student's logits on test, and on the texts out of scope where there are some."""

    def compute(directory: Path) -> None:
        from distill.models import load_model
        from distill.training import predict

        loaded = load_model(model.directory / "model", texts.task)
        for split in ("test", "out_of_scope"):
            examples = getattr(texts.dataset, split)
            if examples:
                units = predict(loaded.model, texts.encoder, texts.task, examples, this.machine, f"{what}, {split}")
                save_units(directory / f"{split}.npz", units)

    return this.artifacts.stage(
        "test-answers",
        f"test: {what}",
        {"model": model.fingerprint, "data": texts.dataset.fingerprint, **this.compute},
        TRAINING_ROOMS,
        TRAINING_LIBRARIES,
        compute,
    )


def evaluate(
    this: Run, texts: Texts, signal: Signal, student_texts: Texts, arms: Sequence[TrainedArm], linear: Artifact | None
) -> tuple[list[ArmResult], list[Contrast], tuple[str, ...]]:
    """Test is read once, after every choice was made."""
    from distill.evaluation.contrasts import Compared, contrast
    from distill.evaluation.summary import Reference, Trained, summarise
    from distill.evaluation.teacher import undertrained
    from distill.training.arms import DIFFERS_IN

    task, test, unknown = texts.task, texts.dataset.test, texts.dataset.out_of_scope

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

    def units_of(artifact: Artifact) -> dict[str, Any]:
        return {
            "units": load_units(artifact.directory / "test.npz"),
            "out_of_scope": load_units(artifact.directory / "out_of_scope.npz") if unknown else [],
        }

    def trained_arm(
        name: str, texts_seen: int, seeds: Sequence[SeedResult], tasks: Sequence[Task], **more: Any
    ) -> Trained:
        return Trained(name, DIFFERS_IN[name], texts_seen, seeds=tuple(seeds), tasks=tuple(tasks), **more)

    trained = []
    if linear is not None:
        floor, answers = linear.read("result.json"), units_of(linear)
        trained.append(
            trained_arm(
                "linear",
                len(texts.dataset.train),
                [seed_result(0, floor)],
                [task.with_thresholds(floor["thresholds"])],
                parameters=floor["parameters"],
                candidates=(),
                learning_rate=None,
                units=(answers["units"],),
                out_of_scope=(answers["out_of_scope"],) if unknown else (),
            )
        )
    store = open_store(signal.answers)
    trained.append(
        trained_arm(
            "teacher",
            0 if signal.training.get("fine_tuned_before", True) else len(texts.dataset.train),
            [seed_result(this.config.seeds[0], {**signal.training, "validation": signal.validation_score})],
            [signal.task],
            parameters=signal.training.get("parameters"),
            candidates=signal.candidates,
            learning_rate=signal.training.get("learning_rate"),
            units=([store[e] for e in test],),
            out_of_scope=([store[e] for e in unknown],) if unknown else (),
        )
    )
    for arm in arms:
        left = [
            units_of(answers_on_test(this, student_texts, model, f"{arm.name}, seed {seed}"))
            for seed, model in zip(this.config.seeds, arm.models, strict=True)
        ]
        trained.append(
            trained_arm(
                arm.name,
                len(texts.training) if arm.transfer else len(texts.dataset.train),
                [seed_result(s, r) for s, r in zip(this.config.seeds, arm.results, strict=True)],
                [task.with_thresholds(r["thresholds"]) for r in arm.results],
                parameters=arm.results[0]["parameters"],
                candidates=arm.candidates,
                learning_rate=arm.learning_rate,
                units=tuple(one["units"] for one in left),
                out_of_scope=tuple(one["out_of_scope"] for one in left) if unknown else (),
            )
        )
    stacks = {t.name: t.statistics(test) for t in trained}
    teacher = next(t for t in trained if t.name == "teacher")
    reference = Reference(
        stacks["linear"][0] if linear is not None else None, stacks["teacher"][0], teacher.answers(test)[0]
    )
    summaries = [summarise(t, task, test, reference) for t in trained]
    if task.metric.name == AGREEMENT:  # without labels there is nothing to be right or calibrated about
        summaries = [dataclasses.replace(s, metrics={}, calibration_error=None) for s in summaries]
    pairs = [
        ("soft", "hard", True),
        ("soft+transfer", "hard", True),
        ("pretrained", "hard", True),
        ("soft+transfer", "pseudo+transfer", False),
    ]
    contrasts = [
        contrast(task.metric, Compared(arm, stacks[arm]), Compared(against, stacks[against]), primary)
        for arm, against, primary in pairs
        if arm in stacks and against in stacks
    ]
    teacher_summary = next(s for s in summaries if s.name == "teacher")
    warnings = undertrained(task.metric, teacher_summary, stacks)
    if warnings:
        contrasts = [dataclasses.replace(c, verdict=f"{c.verdict}, with an undertrained teacher") for c in contrasts]
    return summaries, contrasts, warnings
