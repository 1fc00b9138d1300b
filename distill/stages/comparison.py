"""Arms, floor and teacher side by side on test."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from distill.config.schema import ASSISTED
from distill.results import ArmResult, Contrast, CurvePoint, SeedResult
from distill.stages.artifacts import Artifact, load_units, save_units
from distill.stages.context import Lesson, Run, Signal, StudentTexts, TrainedArm, open_store, units_of
from distill.stages.findings import Comparison, StaticFloor
from distill.stages.stage import TRAINING_LIBRARIES, TRAINING_ROOMS, Stage
from distill.stages.tokens import Tokens, tokens_of
from distill.tasks import Task
from distill.tasks.task import AGREEMENT, Logits
from distill.text import Encoded, Reading
from distill.training.devices import Machine

if TYPE_CHECKING:
    from distill.evaluation.summary import Trained

CONTRASTS = (
    ("soft", "hard", True),
    ("soft+transfer", "hard", True),
    ("pretrained", "hard", True),
    ("sequence", "hard", True),
    ("sequence+soft", "hard", True),
    ("sequence+soft", "sequence", False),
    ("gkd", "hard", True),
    ("gkd", "soft", False),
    ("soft+assistant", "hard", True),
    ("soft+assistant", "soft", False),
    ("soft+transfer+assistant", "hard", True),
    ("soft+transfer+assistant", "soft+transfer", False),
    ("soft+transfer", "pseudo+transfer", False),
    ("soft+transfer", "hard+augmented", False),
    ("hard+augmented", "hard", False),
)
"""Which arms are compared, where a run has both, and whether that was named beforehand."""
ON_SOFT_LABELS = ("soft", "soft+transfer", "pseudo+transfer")
"""Arms that learn what the teacher answers to the texts of the data."""
LEARNT_TEXTS = 500
"""Of those that a student learnt from, it is asked about so many, evenly spaced."""


@dataclass(frozen=True)
class Answer(Stage):
    """A student's logits on texts."""

    rooms: ClassVar[tuple[str, ...]] = (*TRAINING_ROOMS, "runtime/generation.py")
    libraries: ClassVar[tuple[str, ...]] = TRAINING_LIBRARIES
    together: ClassVar[bool] = True
    on_device: ClassVar[bool] = True

    model: Artifact
    who: str
    reading: Reading
    task: Task
    texts: Tokens

    def asked(self, encoded: Sequence[Encoded], machine: Machine, what: str) -> list[Logits]:
        """The answers to some of the texts."""
        from distill.models import load_model
        from distill.training import answer_texts

        model = load_model(self.model.directory / "model", self.task).model
        return answer_texts(model, self.reading, self.task, encoded, machine, what)


@dataclass(frozen=True)
class AnswerHeldOut(Answer):
    """A chosen student's logits on held-out texts."""

    name: ClassVar[str] = "test-answers"

    @property
    def what(self) -> str:
        """In words."""
        return f"test: {self.who}"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves the answers on each split."""
        first = 0
        for split in self.texts.splits:
            count = len(self.texts.texts.of(split))
            encoded, first = self.texts.encoded[first : first + count], first + count
            if encoded:
                units = self.asked(encoded, machine, f"{self.who}, {split}")
                if machine.is_main:
                    save_units(folder / f"{split}.npz", units)


@dataclass(frozen=True)
class AnswerLearnt(Answer):
    """A student's logits on some of the texts that it learnt from."""

    name: ClassVar[str] = "learnt-answers"

    places: tuple[int, ...]
    """Of the texts that are asked about."""

    @property
    def what(self) -> str:
        """In words."""
        return f"{len(self.places):,} texts learnt from: {self.who}"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves the answers."""
        encoded = self.texts.encoded
        units = self.asked([encoded[place] for place in self.places], machine, self.what)
        if machine.is_main:
            save_units(folder / "answers.npz", units)


def evaluate(
    this: Run, lesson: Lesson, linear: Artifact | None, static: StaticFloor | None, arms: Sequence[TrainedArm]
) -> Comparison:
    """Test is read once, after every choice was made."""
    from distill.evaluation.summary import Reference, summarise
    from distill.evaluation.teacher import undertrained
    from distill.training.arms import DIFFERS_IN

    texts, signal = lesson.texts, lesson.signal
    task, test = texts.task, texts.dataset.test
    trained = [
        *([floor_on_test(texts, linear)] if linear is not None else []),
        *([arm_on_test(this, static.texts, static.arm, DIFFERS_IN["static"])] if static is not None else []),
        teacher_on_test(this, texts, signal),
        *(arm_on_test(this, one.texts, one.arm, one.what) for chain in lesson.assistants.values() for one in chain),
        *(arm_on_test(this, texts, arm, DIFFERS_IN[arm.name], agreement_learnt(this, lesson, arm)) for arm in arms),
    ]
    stacks = {t.name: t.statistics(test) for t in trained}
    teacher = next(t for t in trained if t.name == "teacher")
    floor = stacks["linear"][0] if linear is not None else None
    comparable = texts.same_tokens or not (task.writes and task.predicts_tokens)
    reference = Reference(floor, stacks["teacher"][0], teacher.answers(test)[0] if comparable else None)
    summaries = [summarise(t, task, test, reference) for t in trained]
    if task.metric.name == AGREEMENT:  # without labels there is nothing to be right or calibrated about
        summaries = [dataclasses.replace(s, metrics={}, calibration_error=None) for s in summaries]
    warnings = () if task.metric.name == AGREEMENT else undertrained(task.metric, named("teacher", summaries), stacks)
    contrasts = contrasts_of(task, stacks, {arm.name: arm.steps for arm in arms})
    if warnings:
        contrasts = [dataclasses.replace(c, verdict=f"{c.verdict}, with an undertrained teacher") for c in contrasts]
    units = {t.name: t.units for t in trained}
    return Comparison(tuple(summaries), tuple(contrasts), warnings, stacks, units)


def named(name: str, summaries: Sequence[ArmResult]) -> ArmResult:
    """The arm of this name."""
    return next(summary for summary in summaries if summary.name == name)


def contrasts_of(task: Task, stacks: dict[str, Any], steps: dict[str, int]) -> list[Contrast]:
    """The comparisons that this run can make, each between arms of one budget."""
    from distill.evaluation.contrasts import Compared, contrast

    return [
        contrast(
            task.metric,
            Compared(arm, stacks[arm], steps[arm]),
            Compared(against, stacks[against], steps[against]),
            primary,
        )
        for arm, against, primary in CONTRASTS
        if arm in stacks and against in stacks
    ]


def floor_on_test(texts: StudentTexts, linear: Artifact) -> "Trained":
    """The linear model's answers."""
    from distill.evaluation.summary import Trained

    result, answers = linear.read("result.json"), answers_of(texts, linear)
    learnt = " on the labelled texts"
    if texts.task.metric.name == AGREEMENT:
        learnt = " on the teacher's answers"
    elif texts.task.label_free:
        learnt = ""
    return Trained(
        "linear",
        "; ".join(filter(None, (f"{texts.task.floor_is}{learnt}: the honest floor", result["method"]))),
        len(texts.dataset.train),
        parameters=result["parameters"],
        candidates=(),
        learning_rate=None,
        seeds=(seed_result(0, result),),
        tasks=(texts.task.with_thresholds(result["thresholds"]),),
        units=(answers["test"],),
        out_of_scope=(answers["out_of_scope"],) if texts.dataset.out_of_scope else (),
    )


def teacher_on_test(this: Run, texts: StudentTexts, signal: Signal) -> "Trained":
    """The teacher's answers."""
    from distill.evaluation.summary import Trained
    from distill.training.arms import DIFFERS_IN, ENSEMBLE

    store, dataset, result = open_store(signal.on_held_out), texts.dataset, signal.teacher.result
    return Trained(
        "teacher",
        ENSEMBLE if signal.ensemble else DIFFERS_IN["teacher"],
        0 if result.get("fine_tuned_before", True) else len(dataset.train),
        parameters=result.get("parameters"),
        candidates=signal.teacher.candidates,
        learning_rate=result.get("learning_rate"),
        seeds=(seed_result(this.config.seeds[0], {**result, "validation": signal.validation_score}),),
        tasks=(signal.task,),
        units=(units_of(store, dataset.test),),
        budget=result.get("budget"),
        out_of_scope=(units_of(store, dataset.out_of_scope),) if dataset.out_of_scope else (),
    )


def arm_on_test(
    this: Run, texts: StudentTexts, arm: TrainedArm, differs_in: str, learnt: float | None = None
) -> "Trained":
    """The answers of an arm's students, one a seed; of an assistant, which has the first alone. ``learnt`` is the
    agreement on what they learnt from."""
    from distill.evaluation.summary import Trained

    tokens, seeds = tokens_of(this, texts, texts.held_out), this.config.seeds[: len(arm.models)]
    asked = [
        AnswerHeldOut(model, f"{arm.name}, seed {seed}", texts.reading, texts.task, tokens)
        for seed, model in zip(seeds, arm.models, strict=True)
    ]
    answers = [answers_of(texts, this.artifacts.get(one)) for one in asked]
    return Trained(
        arm.name,
        differs_in,
        len(arm.part.examples) + arm.streamed,
        parameters=arm.results[0]["parameters"],
        candidates=arm.candidates,
        learning_rate=arm.learning_rate,
        seeds=tuple(seed_result(s, r) for s, r in zip(seeds, arm.results, strict=True)),
        tasks=tuple(texts.task.with_thresholds(r["thresholds"]) for r in arm.results),
        units=tuple(one["test"] for one in answers),
        budget=arm.steps,
        out_of_scope=tuple(one["out_of_scope"] for one in answers) if texts.dataset.out_of_scope else (),
        agreement_learnt=learnt,
    )


def agreement_learnt(this: Run, lesson: Lesson, arm: TrainedArm) -> float | None:
    """How far the arm's students agree with what taught them on texts that they learnt from, mean over seeds; None
    where they read no soft labels, and in tasks whose answers are no labels or numbers."""
    texts, task = lesson.texts, lesson.texts.task
    base = arm.name.removesuffix(ASSISTED)
    soft_labels, thresholds = lesson.signal.answers, lesson.signal.thresholds
    if base != arm.name:
        assistant = lesson.assistants[arm.name][-1]
        soft_labels, thresholds = assistant.answers, assistant.arm.results[0]["thresholds"]
    if soft_labels is None or base not in ON_SOFT_LABELS or task.kind not in ("categorical", "bernoulli", "number"):
        return None
    count = len(arm.part.examples)
    places = tuple(place * count // min(count, LEARNT_TEXTS) for place in range(min(count, LEARNT_TEXTS)))
    examples, tokens = tuple(arm.part.examples[place] for place in places), tokens_of(this, texts, arm.part)
    taught = task.with_thresholds(thresholds).predictions(units_of(open_store(soft_labels), examples), examples)
    found = []
    for seed, model, result in zip(this.config.seeds, arm.models, arm.results, strict=True):
        who = f"{arm.name}, seed {seed}"
        answers = this.artifacts.get(AnswerLearnt(model, who, texts.reading, task, tokens, places))
        units = load_units(answers.directory / "answers.npz")
        found.append(task.agreement(task.with_thresholds(result["thresholds"]).predictions(units, examples), taught))
    return float(sum(found) / len(found))


def answers_of(texts: StudentTexts, artifact: Artifact) -> dict[str, Any]:
    """Units on each held-out split."""
    part = texts.held_out
    return {split: load_units(artifact.directory / f"{split}.npz") if part.of(split) else [] for split in part.splits}


def seed_result(seed: int, result: dict[str, Any]) -> SeedResult:
    """How a training went; its score on test is filled in where test is read."""
    curve = tuple(CurvePoint(**point) for point in result.get("curve", ()))
    best_step, steps, seconds = (result.get(key, 0) for key in ("best_step", "steps", "seconds"))
    return SeedResult(seed, result["validation"], math.nan, best_step, steps, float(seconds), curve)
