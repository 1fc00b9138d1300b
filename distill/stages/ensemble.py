"""Several teachers, whose soft labels are mixed."""

import dataclasses

from distill.config.schema import Config
from distill.data import Part
from distill.errors import about
from distill.progress import say
from distill.results import Ensemble, StageCost
from distill.sources import describe
from distill.stages.artifacts import Artifact
from distill.stages.context import Run, Signal, Teacher, Texts, open_store, units_of
from distill.stages.cross_fitting import MixLabels, score
from distill.stages.signal import ask_teacher
from distill.stages.teacher import find_teacher
from distill.stages.texts import reading_of_other
from distill.tasks.task import AGREEMENT


def mix_teachers(this: Run, texts: Texts, signal: Signal) -> Signal:
    """The signal with the mixture of all teachers in the place of the first one, where the recipe has ``ensemble``.

    Each further teacher is searched and fine-tuned as the first was, on the same texts, which it reads with a tokenizer
    of its own, and must have learnt the task as well. What students learn from, and what stands in the report as the
    teacher, is the weighted mean of their probabilities (You et al. 2017): for each text the same answers are mixed,
    whatever the tokens. Students still start from the first teacher's weights, and look inside of it.
    """
    if not this.config.others:
        return signal
    signals = [signal]
    for number, config in enumerate(this.config.others, start=2):
        key = f"ensemble.teachers[{number - 2}]"
        say(f"teacher {number}: {source_of(config)}")
        aside = dataclasses.replace(this, config=config)
        own = dataclasses.replace(texts, reading=reading_of_other(aside, texts.dataset))
        with about(f"teacher {number}"):
            signals.append(ask_teacher(aside, own, find_teacher(aside, own, (), key), key))

    def mixed(labels: list[Artifact], part: Part) -> Artifact:
        how = this.config.ensemble
        return this.artifacts.get(MixLabels(tuple(labels), texts.task, part, how.weights, how.by_confidence))

    dataset = texts.dataset
    learnt = [one.answers for one in signals if one.answers is not None]
    answers = mixed(learnt, texts.learnt) if learnt else None
    on_validation = mixed([one.on_validation for one in signals], dataset.part("validation"))
    on_held_out = mixed([one.on_held_out for one in signals], texts.held_out)
    task, reached = texts.task, signal.validation_score
    if task.metric.name != AGREEMENT:
        task = task.fit(units_of(open_store(on_validation), dataset.validation), dataset.validation)
        reached = score(task, on_validation, dataset.validation)
    return Signal(
        teacher=together(signals),
        answers=answers,
        task=task,
        on_validation=on_validation,
        on_held_out=on_held_out,
        validation_score=reached,
        warnings=tuple(f"teacher {i}: {text}" for i, one in enumerate(signals, start=1) for text in one.warnings),
        ensemble=in_numbers(this.config, signals, reached),
    )


def together(signals: list[Signal]) -> Teacher:
    """All teachers as one, which students start from as from the first."""
    teachers = [one.teacher for one in signals]
    sizes = [one.result.get("parameters") for one in teachers]
    numbered = list(enumerate(signals, start=1))
    return Teacher(
        model=teachers[0].model,
        candidates=tuple(
            dataclasses.replace(tried, what=f"teacher {i}: {tried.what}")
            for i, one in numbered
            for tried in one.teacher.candidates
        ),
        result={
            "parameters": None if None in sizes else sum(sizes),
            "fine_tuned_before": all(one.result.get("fine_tuned_before", True) for one in teachers),
        },
        costs=tuple(named(cost, i) for i, one in numbered for cost in one.costs),
    )


def named(cost: StageCost, number: int) -> StageCost:
    """With the teacher that it is of."""
    return dataclasses.replace(cost, stage=f"{cost.stage} (teacher {number})")


def in_numbers(config: Config, signals: list[Signal], reached: float) -> Ensemble:
    """What the report says of it."""
    weights = config.ensemble.weights or (1.0,) * len(signals)
    return Ensemble(
        sources=tuple(source_of(one) for one in (config, *config.others)),
        weights=tuple(weight / sum(weights) for weight in weights),
        by_confidence=config.ensemble.by_confidence,
        scores=tuple(one.validation_score for one in signals),
        validation=reached,
    )


def source_of(config: Config) -> str:
    """Where the first teacher comes from, in words."""
    source = getattr(config.teacher, "source", None)
    return f"{config.teacher.name}, trained from nothing" if source is None else describe(source)
