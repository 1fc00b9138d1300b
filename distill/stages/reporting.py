"""Everything the run found out, as one report."""

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from distill.config import Config, Source
from distill.data import Dataset
from distill.results import SCHEMA_VERSION, DataSummary, Provenance, Report, Search, StageCost
from distill.stages.comparison import AnswerHeldOut, answers_of
from distill.stages.context import Assistant, Run, Streamed, TrainedArm
from distill.stages.costs import added
from distill.stages.findings import Findings
from distill.stages.pretraining import in_words
from distill.stages.tokens import tokens_of
from distill.tasks import Task
from distill.text import Example, Label, Span, Target, rows_of

IN_REPO = {
    "transformer": "in-repo transformer, trained from nothing",
    "recurrent": "in-repo recurrent network, trained from nothing",
}
MANY_CUT = 0.05
"""Share of a split's texts from which on it is told that they are cut."""
SAMPLES = 20
"""Test texts that the report shows where a recipe asks for them."""


def make_report(this: Run, findings: Findings, started: datetime, search: Search | None = None) -> Report:
    """The report of a run that began at ``started``."""
    from distill.measure import machine, versions

    config, lesson = this.config, findings.lesson
    texts, task = lesson.texts, lesson.texts.task
    teacher_source, teacher_licence = teacher_in_words(config)
    threads = this.machine.threads
    data = data_summary(config, findings)
    training = f"{this.machine.device}, {threads} thread{'s' * (threads > 1)}, {this.machine.why}"
    return Report(
        schema_version=SCHEMA_VERSION,
        name=config.name,
        recipe=config.recipe,
        task=task.name,
        metric=task.metric.name,
        labels=task.labels,
        data=data,
        teacher_source=teacher_source,
        teacher_licence=teacher_licence,
        arms=findings.comparison.summaries,
        contrasts=findings.comparison.contrasts,
        exported_arm=findings.chosen.arm.name,
        exported_seed=config.seeds[findings.chosen.index],
        variants=findings.variants,
        costs=costs_of(findings),
        warnings=(
            *texts.dataset.warnings,
            *cut_texts(texts.dataset, data),
            *findings.comparison.warnings,
            *lesson.signal.warnings,
            *findings.joined.warnings,
        ),
        provenance=Provenance(
            created=started.isoformat(timespec="seconds"),
            versions=versions(),
            machine={**machine(), "training": training},
            settings=dataclasses.asdict(config),
        ),
        samples=samples_of(findings, compressed_on_test(this, findings)) if config.report.show_texts else (),
        task_in_words=task.in_words(bool(config.data.pair), texts.reading.max_length),
        inside=findings.inside,
        cross_fitting=None if lesson.signal.folds is None else lesson.signal.folds.scores,
        ensemble=lesson.signal.ensemble,
        cascade=findings.joined.result,
        switch_over=findings.switch_over,
        target=findings.target,
        search=search,
        compression=() if findings.chosen.compressed is None else findings.chosen.compressed.steps,
    )


def data_summary(config: Config, findings: Findings) -> DataSummary:
    """What the data was, after cleaning."""
    lesson = findings.lesson
    dataset, task, reading = lesson.texts.dataset, lesson.texts.task, lesson.texts.reading
    splits = ("train", "transfer", "validation", "test")
    truncated = {
        split: sum(row.truncated for row in rows_of(task.encode(reading, examples)))
        for split in splits
        if (examples := dataset.part(split).examples)
    }
    if lesson.streamed is not None:
        truncated["stream"] = lesson.streamed.encoded.truncated
    unlabelled = config.data.label is None or task.label_free
    streamed_count = 0 if lesson.streamed is None else len(lesson.streamed.encoded)
    return DataSummary(
        source=dataset.source,
        licence=dataset.licence or "not stated",
        labelled=0 if unlabelled else len(dataset.train),
        transfer=(len(dataset.train) if unlabelled else len(dataset.transfer)) + streamed_count,
        validation=len(dataset.validation),
        test=len(dataset.test),
        majority_share=majority_share(task, task.gold(dataset.test)),
        truncated=truncated,
        dropped={**dataset.dropped, **({} if lesson.streamed is None else lesson.streamed.dropped)},
        max_length=reading.max_length,
        notes=(
            *dataset.notes,
            *(
                ()
                if lesson.streamed is None
                else streamed_in_words(config, lesson.streamed, len(lesson.texts.learnt.examples))
            ),
            *task.counted,
            *(() if lesson.pretrained is None else (in_words(lesson.pretrained),)),
        ),
    )


def cut_texts(dataset: Dataset, data: DataSummary) -> Iterator[str]:
    """A warning for each split of which the student reads many texts in part."""
    for split, cut in data.truncated.items():
        whole = 0 if split == "stream" else len(dataset.part(split).examples)
        if cut > MANY_CUT * whole > 0:
            yield (
                f"{cut:,} of the {whole:,} texts of {split} are longer than the {data.max_length} tokens that the "
                "student reads, and are cut: raise data.max_length"
            )


def streamed_in_words(config: Config, streamed: Streamed, others: int) -> Iterator[str]:
    """What was streamed, and how much of it a training saw; ``others`` are the texts in memory that it learns on."""
    stream, count = streamed.stream, len(streamed.encoded)
    yield (
        f"transfer: {count:,} texts of {stream.rows:,} rows streamed from {len(stream.files)} files of {stream.place}"
    )
    drawn, total = config.train.steps * config.train.batch_size, count + others
    if drawn < total:
        yield f"transfer: a training draws {drawn:,} texts, {drawn / total:.1%} of the {total:,} that it learns on"
    if config.data.group:
        yield f"transfer: streamed texts have no {config.data.group}, so their texts alone keep them apart from others"


def majority_share(task: Task, gold: Sequence[Any]) -> float | None:
    """Share of the most frequent answer; None where answers are not simply right or wrong."""
    counts = task.counts(task.constant(gold), gold)
    return None if counts is None else counts[0] / max(1, counts[1])


def compressed_on_test(this: Run, findings: Findings) -> Sequence[Any] | None:
    """What the compressed model says of test; None where none was compressed."""
    chosen, texts = findings.chosen, findings.lesson.texts
    if chosen.compressed is None:
        return None
    tokens = tokens_of(this, texts, texts.held_out)
    asked = AnswerHeldOut(chosen.model, "compressed student", texts.reading, texts.task, tokens)
    units: Sequence[Any] = answers_of(texts, this.artifacts.get(asked))["test"]
    return units


def samples_of(findings: Findings, compressed: Sequence[Any] | None = None) -> tuple[dict[str, str], ...]:
    """Some test texts with their labels, the teacher's answers, and those of the student that is exported: what it says
    of test once it was ``compressed``, where it was."""
    lesson, chosen, units = findings.lesson, findings.chosen, findings.comparison.units
    shown = lesson.texts.dataset.test[:SAMPLES]
    own = units[chosen.arm.name][chosen.index] if compressed is None else compressed
    teacher = answers_in_words(lesson.signal.task, units["teacher"][0], shown)
    student = answers_in_words(lesson.texts.task.with_thresholds(chosen.thresholds), own, shown)
    return tuple(
        {
            "text": e.text if isinstance(e.text, str) else " ".join(e.text),
            "label": label_in_words(e.label),
            "teacher": by_teacher,
            "student": by_student,
        }
        for e, by_teacher, by_student in zip(shown, teacher, student, strict=True)
    )


def answers_in_words(task: Task, units: Sequence[Any], shown: Sequence[Example]) -> list[str]:
    """What is said of the first texts of those that ``units`` speak of."""
    own = units[: len(shown)]
    if task.writes:
        return [answer.as_line() for answer in task.answers(own, shown)]
    predictions = task.predictions(own, shown)
    return [label_in_words(one) for one in (task.labels_of(predictions) if task.labelled else predictions)]


def label_in_words(label: Label | None) -> str:
    """The name, names, number or texts of a label or an answer."""
    if label is None:
        return "(unknown)"
    if isinstance(label, Target):
        return label.text
    if isinstance(label, str):
        return label
    if isinstance(label, tuple):
        return ", ".join(part.text if isinstance(part, Span) else part for part in label) or "(none)"
    return f"{label:.4g}"


def costs_of(findings: Findings) -> tuple[StageCost, ...]:
    """Time and energy of all trainings."""
    lesson = findings.lesson
    written = () if lesson.written is None else lesson.written.costs
    more = (lesson.pretrained, lesson.vectors, lesson.importance, lesson.states, findings.linear)
    others = [artifact.cost for artifact in more if artifact is not None]
    trained = {model.identity for arm in findings.arms for model in arm.models}
    if findings.static is not None:
        made = findings.static.vectors
        others += [] if made is None else [made.cost]
        others.append(cost_of_arm(findings.static.arm, "static floor"))
    between = [
        cost for chain in lesson.assistants.values() for one in chain for cost in costs_of_assistant(one, trained)
    ]
    students = (cost_of_arm(arm, f"student {arm.name}") for arm in findings.arms)
    streamed = () if lesson.streamed is None else lesson.streamed.costs
    compressed = () if findings.chosen.compressed is None else findings.chosen.compressed.costs
    return (*lesson.texts.costs, *lesson.signal.costs, *streamed, *written, *others, *between, *students, *compressed)


def costs_of_assistant(one: Assistant, trained: set[str]) -> Iterator[StageCost]:
    """Of its trainings, where it is none of the students that were ``trained`` all the same; of what it says."""
    if one.arm.models[0].identity not in trained:
        yield cost_of_arm(one.arm, one.arm.name)
    yield dataclasses.replace(one.answers.cost, stage=f"soft labels of the {one.arm.name}")


def cost_of_arm(arm: TrainedArm, who: str) -> StageCost:
    """All trainings of an arm together, those of the learning rates that were not chosen, too."""
    trainings = f"{len(arm.costs)} trainings" if len(arm.costs) > 1 else "one training"
    energy = added([cost.energy for cost in arm.costs], trainings)
    cached = all(cost.cached for cost in arm.costs)
    return StageCost(f"{who}: {trainings}", sum(c.seconds for c in arm.costs), energy, cached)


def teacher_in_words(config: Config) -> tuple[str, str]:
    """Where the teacher, or each of several, comes from, and its licence."""
    from distill.sources import describe

    sources, licences = [], []
    for teacher in (config.teacher, *config.ensemble.teachers):
        source: Source | None = getattr(teacher, "source", None)
        of_data = config.data.train.licence if config.data.train else ""
        sources.append(IN_REPO[teacher.name] if source is None else describe(source))
        licences.append(of_data if source is None else source.licence or "not stated")
    return "; ".join(sources), "; ".join(dict.fromkeys(licences))
