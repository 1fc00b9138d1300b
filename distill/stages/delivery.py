"""The report, the run folder and the bundle."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from distill.config import Config, Source
from distill.errors import UserError
from distill.progress import say
from distill.results import (
    SCHEMA_VERSION,
    ArmResult,
    Contrast,
    DataSummary,
    Figure,
    Provenance,
    Report,
    StageCost,
    VariantResult,
    from_json,
    to_json,
    write_aside,
)
from distill.runtime import read_manifest, verify
from distill.stages.artifacts import Artifact, plain
from distill.stages.context import Exported, Run, Signal, Texts, TrainedArm, graph_file, open_store
from distill.tasks import Task
from distill.text import rows_of

IN_REPO = {
    "transformer": "in-repo transformer, trained from nothing",
    "recurrent": "in-repo recurrent network, trained from nothing",
}
WORKLOAD_TEXTS = 256
"""Number of texts whose lengths in tokens a bundle keeps, so that it can be measured elsewhere on the same work."""


@dataclass(frozen=True)
class Outcome:
    """What a run left."""

    report: Report
    directory: Path
    bundle: Path | None
    """None where no variant passed parity."""
    missed: str = ""
    """In words: the target that was not met."""


def make_report(
    this: Run,
    texts: Texts,
    signal: Signal,
    arms: Sequence[TrainedArm],
    summaries: Sequence[ArmResult],
    contrasts: Sequence[Contrast],
    more_costs: Sequence[StageCost],
    notes: Sequence[str],
    best: TrainedArm,
    seed: int,
    variants: Sequence[VariantResult],
    started: datetime,
) -> Report:
    """Everything the run found out."""
    from distill.measure import machine, versions

    config, dataset, task = this.config, texts.dataset, texts.task
    costs = [*signal.costs, *more_costs]
    for arm in arms:
        costs.append(cost_of_arm(arm))
    splits = {
        "train": dataset.train,
        "transfer": dataset.transfer,
        "validation": dataset.validation,
        "test": dataset.test,
    }
    truncated = {
        split: sum(row.truncated for row in rows_of(task.encode(texts.encoder, examples)))
        for split, examples in splits.items()
        if examples
    }
    teacher_source, teacher_licence = teacher_in_words(config)
    samples: tuple[dict[str, str], ...] = ()
    if config.report.show_texts:
        store = open_store(signal.answers)
        shown = dataset.test[:20]
        answers = signal.task.predictions([store[e] for e in shown], shown)
        samples = tuple(
            {
                "text": e.text if isinstance(e.text, str) else " ".join(e.text),
                "label": str(label),
                "teacher": str(answer),
            }
            for e, label, answer in zip(shown, task.gold(shown), answers, strict=True)
        )
    return Report(
        schema_version=SCHEMA_VERSION,
        name=config.name,
        recipe=config.recipe,
        task=task.name,
        metric=task.metric.name,
        labels=task.labels,
        data=DataSummary(
            source=dataset.source,
            licence=dataset.licence or "not stated",
            labelled=0 if config.data.label is None else len(dataset.train),
            transfer=len(dataset.train) if config.data.label is None else len(dataset.transfer),
            validation=len(dataset.validation),
            test=len(dataset.test),
            majority_share=majority_share(task, task.gold(dataset.test)),
            truncated=truncated,
            dropped=dataset.dropped,
            max_length=texts.encoder.max_length,
            notes=(*dataset.notes, *notes),
        ),
        teacher_source=teacher_source,
        teacher_licence=teacher_licence,
        arms=tuple(summaries),
        contrasts=tuple(contrasts),
        exported_arm=best.name,
        exported_seed=config.seeds[seed],
        variants=tuple(variants),
        costs=tuple(costs),
        warnings=signal.warnings,
        provenance=Provenance(
            created=started.isoformat(timespec="seconds"),
            versions=versions(),
            machine={
                **machine(),
                "training": f"{this.machine.device}, {this.machine.threads} threads, {this.machine.why}",
            },
            settings=plain(config),
        ),
        samples=samples,
        task_in_words=task.in_words(bool(config.data.pair), texts.encoder.max_length),
    )


def majority_share(task: Task, gold: Sequence[Any]) -> float | None:
    """Share of the most frequent answer; None where answers are not simply right or wrong."""
    counts = task.counts(task.constant(gold), gold)
    return None if counts is None else counts[0] / max(1, counts[1])


def cost_of_arm(arm: TrainedArm) -> StageCost:
    """All trainings of an arm together, those of the learning rates that were not chosen, too."""
    figures = [cost.energy for cost in arm.costs]
    values = [figure.value for figure in figures if figure.value is not None]
    trainings = f"{len(figures)} trainings" if len(figures) > 1 else "one training"
    energy = figures[0]
    if len(values) == len(figures) and len({figure.how for figure in figures}) == 1:
        energy = dataclasses.replace(
            energy, value=sum(values), method=f"sum of {trainings}; the first: {energy.method}"
        )
    else:
        energy = Figure(None, energy.unit, "unavailable", f"not every one of {trainings} could be measured")
    cached = all(cost.cached for cost in arm.costs)
    return StageCost(f"student {arm.name}: {trainings}", sum(c.seconds for c in arm.costs), energy, cached)


def teacher_in_words(config: Config) -> tuple[str, str]:
    """Where the teacher comes from, and its licence."""
    from distill.sources import describe

    source: Source | None = getattr(config.teacher, "source", None)
    if source is None:
        return (
            IN_REPO[config.teacher.name],
            config.data.train.licence if config.data.train else "",
        )
    return describe(source), source.licence or "not stated"


def deliver(this: Run, report: Report, student: Artifact, texts: Texts, exported: Exported) -> Outcome:
    """Writes run folder and bundle; the bundle last, whole, by a rename."""
    from distill.export.sentence_transformers import write_layout
    from distill.report import render_card, render_html

    config = this.config
    directory = Path(config.outputs) / config.name
    bundle = Path(config.exports) / config.name
    report_json = to_json(report)
    previous = directory / "report.json"
    shipped = [v for v in config.export.variants if exported.shipped(v)]
    if shipped and unchanged(previous, report) and whole(bundle):
        say("nothing has changed since the last run")
        return Outcome(
            from_json(Report, previous.read_text(encoding="utf-8")), directory, bundle, missed_target(config, report)
        )
    documents = {"README.md": render_card(report), "report.html": render_html(report), "report.json": report_json}
    write_aside(directory / "config.json", json.dumps(plain(config), indent=1))
    shutil.rmtree(directory / "student", ignore_errors=True)
    shutil.copytree(student.directory / "model", directory / "student")
    if texts.task.kind == "vector":
        settings = json.loads((directory / "student" / "config.json").read_text(encoding="utf-8"))
        twice = 2 if settings.get("bidirectional") else 1  # a recurrent network gives the states of both directions
        write_layout(directory / "student", twice * settings["hidden_size"], texts.encoder.max_length)
    written = None
    if shipped:
        write_bundle_of(this, report, bundle, documents, student, exported, texts, shipped)
        written = bundle
    for name, text in documents.items():
        write_aside(directory / name, text)
    return Outcome(report, directory, written, missed_target(config, report))


def missed_target(config: Config, report: Report) -> str:
    """Where the smallest shipped variant loses more to the teacher on test than ``max_teacher_drop`` allows."""
    shipped = [v for v in report.variants if v.shipped and v.score is not None]
    if config.max_teacher_drop is None or not shipped:
        return ""
    variant = min(shipped, key=lambda v: v.file_bytes)
    teacher = next(arm for arm in report.arms if arm.name == "teacher")
    assert variant.score is not None
    lost = 100 * (teacher.score.value - variant.score.value)
    if lost <= config.max_teacher_drop:
        return ""
    return (
        f"target not met: {variant.variant} loses {lost:.2f} points to the teacher on test, "
        f"{config.max_teacher_drop:g} are allowed; more texts, more layers (student.count) or more steps "
        "(train.steps) bring it nearer"
    )


def whole(bundle: Path) -> bool:
    """Whether a bundle is there with every file that it says it has."""
    try:
        manifest = read_manifest(bundle)
        verify(bundle, manifest, list(manifest.sha256))
    except UserError:
        return False
    return True


def unchanged(path: Path, report: Report) -> bool:
    """Whether a report on disk says the same, apart from the time and which stages were cached."""
    if not path.is_file():
        return False
    try:
        before = from_json(Report, path.read_text(encoding="utf-8"))
    except ValueError:
        return False

    def timeless(one: Report) -> str:
        costs = tuple(dataclasses.replace(cost, cached=False) for cost in one.costs)
        provenance = dataclasses.replace(one.provenance, created="")
        return to_json(dataclasses.replace(one, costs=costs, provenance=provenance))

    return timeless(before) == timeless(report)


def write_bundle_of(
    this: Run,
    report: Report,
    bundle: Path,
    documents: dict[str, str],
    student: Artifact,
    exported: Exported,
    texts: Texts,
    shipped: Sequence[str],
) -> None:
    """Gathers what a bundle is made of. The default variant is the smallest that kept what it must."""
    from distill.export.bundle import write_bundle
    from distill.runtime.manifest import BUNDLE_SCHEMA, Manifest

    tokenizer = student.directory / "bundle-tokenizer.json"
    texts.encoder.save_tokenizer(tokenizer)
    encoded = rows_of(texts.task.encode(texts.encoder, texts.dataset.test[:WORKLOAD_TEXTS]))
    lengths = sorted((len(row.input_ids), row.second_length) for row in encoded)
    manifest = Manifest(
        schema_version=BUNDLE_SCHEMA,
        name=report.name,
        task=texts.task.section(),
        graphs={variant: {"model": graph_file(variant)} for variant in shipped},
        inputs=list(exported.inputs),
        outputs=list(texts.task.outputs),
        max_length=texts.encoder.max_length,
        pad_id=texts.encoder.pad_id,
        default_variant=min(shipped, key=lambda variant: exported.file(variant).stat().st_size),
        sha256={},
        licences={"teacher": report.teacher_licence, "data": report.data.licence},
        versions=report.provenance.versions,
        workload={"token_lengths": [both for both, _ in lengths], "second_lengths": [second for _, second in lengths]},
    )
    files = {graph_file(variant): exported.file(variant) for variant in shipped}
    files |= {"tokenizer.json": tokenizer, "config.json": student.directory / "model" / "config.json"}
    write_bundle(bundle, manifest, files, documents)
