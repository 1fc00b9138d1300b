"""The teacher, and what it says of every text."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill.config import (
    Config,
    HardTerm,
    LayersStudent,
    PretrainedTeacher,
    ProbabilitiesTeacher,
    RecurrentTeacher,
    Source,
)
from distill.errors import UserError
from distill.report.legend import metric_title
from distill.results import Candidate, CurvePoint, StageCost
from distill.stages.artifacts import Artifact, plain
from distill.stages.context import TRAINING_LIBRARIES, TRAINING_ROOMS, Run, Signal, Texts, open_store
from distill.tasks import Task
from distill.tasks.task import AGREEMENT
from distill.text import Example

OVERFIT_POINTS = 0.10
"""A teacher that is better on its training texts than on validation by more than this is warned about."""


@dataclasses.dataclass(frozen=True)
class ChosenTeacher:
    """The training that was best on validation, and all that were tried."""

    artifact: Artifact
    candidates: tuple[Candidate, ...]
    """Empty where the teacher was fine-tuned before."""
    result: dict[str, Any]
    costs: tuple[StageCost, ...]


def ask_teacher(this: Run, texts: Texts) -> Signal:
    """The teacher, fine-tuned or trained where it must be, and its logits on every text, computed once."""
    config, dataset, task = this.config, texts.dataset, texts.task
    chosen = None if isinstance(config.teacher, ProbabilitiesTeacher) else prepare_teacher(this, texts)
    model = None if chosen is None else chosen.artifact

    def compute(directory: Path) -> None:
        from distill.data.probabilities import load_probabilities
        from distill.training import SoftLabelStore

        if isinstance(config.teacher, ProbabilitiesTeacher):
            logarithms = load_probabilities(config.teacher, config.data, task, texts.everything)
            SoftLabelStore.write(directory / "store", texts.everything, logarithms)
            return
        assert model is not None
        from distill.models import load_model
        from distill.training import predict

        loaded = load_model(model.directory / "model", task)
        units = predict(loaded.model, texts.encoder, task, texts.everything, this.machine, "soft labels")
        SoftLabelStore.write(directory / "store", texts.everything, units)

    inputs: dict[str, Any] = {"data": dataset.fingerprint, "tokenizer": texts.tokenizer.fingerprint, **this.compute}
    if model is None:
        inputs["teacher"] = config.teacher
        inputs["file"] = file_fingerprint(config.teacher.source)  # type: ignore[union-attr]
        inputs["task"] = task.section()
    else:
        inputs["teacher"] = model.fingerprint
    answers = this.artifacts.stage(
        "soft-labels",
        "soft labels of the teacher",
        inputs,
        (*TRAINING_ROOMS, "data/probabilities.py"),
        TRAINING_LIBRARIES,
        compute,
    )
    store = open_store(answers)
    warnings: tuple[str, ...] = ()
    validation_score = 1.0
    if config.data.label is not None:
        units = [store[e] for e in dataset.validation]
        task = task.fit(units, dataset.validation)
        predictions, gold = task.predictions(units, dataset.validation), task.gold(dataset.validation)
        validation_score = task.metric.score(predictions, gold)
        check_floor(config, task, predictions, gold)
        if task.kind != "vector":
            warnings = overfit_warning(task, dataset.train, store, validation_score)
    if chosen is None:
        return Signal(None, answers, task, validation_score, {}, (), warnings, (answers.cost,))
    costs = (*chosen.costs, answers.cost)
    return Signal(model, answers, task, validation_score, chosen.result, chosen.candidates, warnings, costs)


def prepare_teacher(this: Run, texts: Texts) -> ChosenTeacher:
    """A model that answers the task: as it is, or the best on validation of several trainings.

    Each learning rate is tried with the first seed. Then, at the best one, further tries start from other seeds, the
    pooler from random weights where the head reads one: a checkpoint whose own training never used it (as of sentence
    encoders) holds weights there that fit nothing.
    """
    settings = this.config.teacher
    assert not isinstance(settings, ProbabilitiesTeacher)
    seed = this.config.seeds[0]
    tried: list[tuple[float, int, Artifact]] = []
    for rate in settings.train.learning_rates:
        tried.append((rate, seed, fit_teacher(this, texts, rate, seed, False)))
        result = tried[0][2].read("result.json")
        if result["fine_tuned_before"]:
            return ChosenTeacher(tried[0][2], (), result, (tried[0][2].cost,))
    rate = max(tried, key=lambda one: one[2].read("result.json")["validation"])[0]
    for more in range(1, settings.tries):
        tried.append((rate, seed + more, fit_teacher(this, texts, rate, seed + more, True)))
    results = [artifact.read("result.json") for _, _, artifact in tried]
    best = max(range(len(tried)), key=lambda i: results[i]["validation"])
    candidates = tuple(
        Candidate(
            rate,
            result["validation"],
            what=result["what"],
            best_step=result["best_step"],
            steps=result["steps"],
            curve=tuple(CurvePoint(**point) for point in result["curve"]),
        )
        for (rate, _, _), result in zip(tried, results, strict=True)
    )
    return ChosenTeacher(tried[best][2], candidates, results[best], tuple(a.cost for _, _, a in tried))


def fit_teacher(this: Run, texts: Texts, rate: float, seed: int, fresh: bool) -> Artifact:
    """One training of the teacher; ``fresh``: with the pooler of its head re-initialised."""
    config, dataset, task = this.config, texts.dataset, texts.task
    settings = config.teacher
    assert not isinstance(settings, ProbabilitiesTeacher)

    def build() -> tuple[Any, bool]:
        from distill.models import build_recurrent, build_transformer, load_teacher

        if isinstance(settings, PretrainedTeacher):
            import torch

            torch.manual_seed(seed)  # a new head starts from random weights
            teacher = load_teacher(settings, task)
            return teacher.loaded, teacher.fine_tuned
        reads: Any = (texts.encoder.tokenizer, {}, task, texts.encoder.max_length, seed, texts.paired)
        if isinstance(settings, RecurrentTeacher):
            return build_recurrent(settings.architecture, *reads), False
        return build_transformer(settings.architecture, *reads), False

    def compute(directory: Path) -> None:
        from distill.models import save_model, start_at_the_mean
        from distill.models.teachers import renew_pooler
        from distill.objectives import Objective
        from distill.training import Problem, Rows, State, train

        loaded, fine_tuned = build()
        result: dict[str, Any] = {"fine_tuned_before": fine_tuned, "validation": None}
        if isinstance(config.student, LayersStudent):
            from distill.models.students import chosen_layers

            chosen_layers(config.student, loaded.model.config.num_hidden_layers)  # fails now, not after training
        if not fine_tuned:
            if not dataset.train:
                raise UserError("the teacher is not fine-tuned and there are no labels to fine-tune it on")
            start_at_the_mean(loaded.model, task, dataset.train)
            renewed = fresh and renew_pooler(loaded.model)
            problem = Problem(
                loaded.model,
                Objective.of([HardTerm("hard")], task.kind),
                None,
                Rows.read(task, texts.encoder, dataset.train),
                Rows.read(task, texts.encoder, dataset.validation),
                settings.train,
                rate,
                seed,
                f"teacher at {rate:g}, seed {seed}{', new pooler' if renewed else ''}",
            )
            trained = train(problem, State(directory / "work"), this.machine)
            shutil.rmtree(directory / "work", ignore_errors=True)
            what = f"seed {seed}" + (", pooler re-initialised" if renewed else "")
            result |= {**plain(trained), "learning_rate": rate, "what": what}
        save_model(loaded, directory / "model", texts.encoder.max_length)
        result["parameters"] = sum(p.numel() for p in loaded.model.parameters())
        (directory / "result.json").write_text(json.dumps(result))

    return this.artifacts.stage(
        "teacher",
        f"teacher at {rate:g}",
        {
            "teacher": {k: v for k, v in plain(settings).items() if k not in ("train", "tries")},
            "file": file_fingerprint(getattr(settings, "source", None)),
            "train": {k: v for k, v in plain(settings.train).items() if k != "learning_rates"},
            "learning_rate": rate,
            "seed": seed,
            "fresh": fresh,
            "data": dataset.fingerprint,
            "task": task.section(),
            "tokenizer": texts.tokenizer.fingerprint,
            **this.compute,
        },
        TRAINING_ROOMS,
        TRAINING_LIBRARIES,
        compute,
    )


def file_fingerprint(source: Source | None) -> Any:
    """What tells one state of a local source from another: names, sizes and times. A wheel is fixed by its sha256."""
    if source is None or not source.path:
        return None
    from distill.sources import locate

    path = locate(source)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files if f.is_file()]


def check_floor(config: Config, task: Task, predictions: Sequence[Any], gold: Sequence[Any]) -> None:
    """Stops where the teacher is not shown to beat the best answer that does not look at the text."""
    from distill.evaluation import score_over_seeds, wilson

    if not config.teacher_floor:
        return
    best = task.constant(gold)
    counts = task.counts(predictions, gold) if task.metric.name in ("accuracy", "token_accuracy") else None
    if counts is not None:
        correct, total = counts
        reached, floor = wilson(correct, total), task.metric.score(best, gold)
        found = f"is right on {reached.value:.1%} of {total} validation answers (95 % interval from {reached.low:.1%})"
        known = f"always giving the most frequent answer is right on {floor:.1%}"
    else:
        reached = score_over_seeds(task.metric, task.metric.statistics(predictions, gold)[None])
        floor = task.metric.score(best, gold)
        found = f"has {task.metric.title} {reached.value:.3f} on validation (95 % interval from {reached.low:.3f})"
        known = f"the best answer that does not look at the text has {floor:.3f}"
    if reached.low <= floor:
        raise UserError(
            f"the teacher {found}, and {known}: it has not learnt the task, and its soft labels would be noise. Train "
            "it longer (teacher.train.steps), give it more labels, check that they are in order (teacher.label_map), "
            "or set teacher_floor=false to go on all the same"
        )


def overfit_warning(task: Task, train: Sequence[Example], store: Any, validation_score: float) -> tuple[str, ...]:
    """Soft labels on texts that a teacher knows by heart say little more than the hard ones."""
    if not train:
        return ()
    score = task.metric.score(task.predictions([store[e] for e in train], train), task.gold(train))
    if score - validation_score <= OVERFIT_POINTS:
        return ()
    return (
        f"the teacher reaches {100 * score:.1f} on the labelled training texts and {100 * validation_score:.1f} on "
        f"validation ({metric_title(task.metric.name)} × 100): it knows the training texts by "
        "heart, and its soft labels on them say little more than the data's labels; texts it has not seen teach more",
    )


def label_by_teacher(texts: Texts, signal: Signal) -> Texts:
    """Where nothing is labelled, the teacher's answers stand in for labels, and quality is agreement with it."""
    if texts.task.metric.name != AGREEMENT:
        return texts
    store, task, dataset = open_store(signal.answers), texts.task, texts.dataset

    def label(examples: Sequence[Example]) -> tuple[Example, ...]:
        names = task.labels_of(task.predictions([store[e] for e in examples], examples))
        return tuple(dataclasses.replace(e, label=name) for e, name in zip(examples, names, strict=True))

    train = label([*dataset.train, *dataset.transfer])
    given = {name for e in train for name in (e.label if isinstance(e.label, tuple) else (e.label,))}
    if len(given) < 2:
        raise UserError(
            f"the teacher gives one answer, {', '.join(map(repr, given))}, on all {len(train)} training texts, which "
            "leaves nothing to learn; check that these are texts of its kind, and that it is fine-tuned"
        )
    answered = dataclasses.replace(
        dataset,
        train=train,
        transfer=(),
        validation=label(dataset.validation),
        test=label(dataset.test),
        labels=task.labels,
    )
    return dataclasses.replace(texts, dataset=answered)
