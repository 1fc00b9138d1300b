"""The run folder and the bundle."""

import dataclasses
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill.config import Config, LayersStudent
from distill.config.data import DataConfig
from distill.config.schema import needs
from distill.errors import UserError
from distill.metrics import Statistics
from distill.progress import say
from distill.results import SEARCH, Report, from_json, to_json, within, write_aside
from distill.runtime import LARGER, Columns, graph_file, read_manifest, verify
from distill.stages.artifacts import Artifact
from distill.stages.context import Run
from distill.stages.findings import Exported, Findings
from distill.tasks import Task
from distill.text import Reading, rows_of

if TYPE_CHECKING:
    from distill.export.bundle import Content
    from distill.runtime.manifest import Generation

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


def deliver(this: Run, report: Report, findings: Findings, exported: Exported) -> Outcome:
    """Run folder and bundle, written by the main process; the others learn what came of it."""
    return this.machine.by_main(lambda: write(this, report, findings, exported))


def write(this: Run, report: Report, findings: Findings, exported: Exported) -> Outcome:
    """Writes run folder and bundle; the bundle last, whole, by a rename."""
    from distill.report import render_card, render_html

    config, student = this.config, findings.chosen.model
    directory = Path(config.outputs) / config.name
    bundle = Path(config.exports) / config.name
    previous = directory / "report.json"
    shipped = any(variant.shipped for variant in report.variants)
    columns = columns_of(config.data)
    if shipped and unchanged(previous, report) and whole(bundle) and read_manifest(bundle).columns == columns:
        say("nothing has changed since the last run")
        before = from_json(Report, previous.read_text(encoding="utf-8"))
        return Outcome(before, directory, bundle, missed(config, report))
    documents = {"README.md": render_card(report), "report.html": render_html(report), "report.json": to_json(report)}
    previous.unlink(missing_ok=True)  # until all is written, what is there is of two runs
    if report.search is None:
        (directory / SEARCH).unlink(missing_ok=True)
    save_statistics(directory / "test-statistics.npz", findings.comparison.statistics)
    write_aside(directory / "config.json", json.dumps(dataclasses.asdict(config), indent=1))
    copy_student(student.directory / "model", directory / "student", exported)
    written = None
    if shipped:
        write_bundle_of(report, bundle, documents, findings, exported, columns)
        written = bundle
    for name, text in documents.items():
        write_aside(directory / name, text)
    return Outcome(report, directory, written, missed(config, report))


def save_statistics(path: Path, statistics: dict[str, Statistics]) -> None:
    """Each arm's [S, n, K] of the primary metric on test: enough to compute every interval and verdict again."""
    content = io.BytesIO()
    np.savez_compressed(content, **statistics)  # type: ignore[arg-type]
    write_aside(path, content.getvalue())


def copy_student(model: Path, folder: Path, exported: Exported) -> None:
    """The student as ``save_pretrained`` writes it; where it gives vectors, as sentence-transformers loads it, too."""
    from distill.export.sentence_transformers import write_layout
    from distill.models.loading import settings_in, vector_size

    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model, folder)
    if exported.texts.task.kind == "vector":
        settings = settings_in(folder)
        pooling = getattr(settings, "sentence_pooling", "mean")
        write_layout(folder, vector_size(settings), exported.texts.reading.max_length, pooling)


def missed(config: Config, report: Report) -> str:
    """What was asked for and is not met, in words; empty where all is."""
    from distill.report import missed_in_words

    return "; ".join(filter(None, (missed_target(config, report), missed_in_words(report.target, report.scale))))


def missed_target(config: Config, report: Report) -> str:
    """Where the cascade, or else the smallest shipped variant that runs everywhere, loses more to the teacher on test
    than ``max_teacher_drop`` allows."""
    shipped = [v for v in report.variants if v.shipped and v.score is not None and not v.needs]
    if config.max_teacher_drop is None or not shipped:
        return ""
    variant = min(shipped, key=lambda v: v.file_bytes)
    teacher = next(arm for arm in report.arms if arm.name == "teacher")
    assert variant.score is not None
    who, lost = variant.variant, teacher.score.value - variant.score.value
    if report.cascade is not None:
        who, lost = "the cascade", -report.cascade.difference.value
    if within(100 * lost, config.max_teacher_drop):
        return ""
    scale = report.scale.gains
    larger = "more layers (student.count)"
    if not isinstance(config.student, LayersStudent):
        larger = "larger sizes (student.architecture)"
    return (
        f"max_teacher_drop is not kept: {who} loses {scale.read(lost):.{scale.digits + 1}f} {scale.steps} to the "
        f"teacher on test, {scale.read(config.max_teacher_drop / 100):g} are allowed; more texts, {larger} or more "
        "steps (train.steps) bring it nearer"
    )


def whole(bundle: Path) -> bool:
    """Whether a bundle is there with every file that it says it has."""
    try:
        manifest = read_manifest(bundle)
        verify(bundle, manifest, list(manifest.sha256))
        if manifest.cascade is not None:
            return whole(bundle / LARGER)
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


def generation_of(task: Task, reading: Reading) -> "Generation":
    """How a model writes where nothing else is said."""
    from distill.runtime.generation import writing
    from distill.runtime.manifest import Generation

    settings = writing(task, reading)
    assert settings.start_id is not None
    return Generation(settings.start_id, list(settings.end_ids), settings.max_new_tokens, settings.beams)


def columns_of(data: DataConfig) -> Columns:
    """What `distill evaluate` reads of a table like the recipe's; one without labels says nothing of their column."""
    return Columns(data.text, data.pair, data.label or Columns.label, dict(data.label_map), data.drop_labels)


def write_bundle_of(
    report: Report,
    bundle: Path,
    documents: dict[str, str],
    findings: Findings,
    exported: Exported,
    columns: Columns,
) -> None:
    """The student in every variant that is shipped, or the teacher in the one that a target chose; in a cascade the
    student, and the teacher in its default one."""
    from distill.export.bundle import write_bundle
    from distill.runtime.manifest import Cascade

    found, model, larger = findings.joined, findings.lesson.signal.teacher.model, None
    source = model if exported.who == "teacher" and model is not None else findings.chosen.model
    tokenizer = source.directory / "bundle-tokenizer.json"
    shipped = [variant.variant for variant in report.variants if variant.shipped]
    own = content_of(report, exported, source, tokenizer, shipped, columns)
    manifest = own.manifest
    if found.larger is not None and found.result is not None and model is not None:
        beside = source.directory / "larger-tokenizer.json"
        larger = content_of(report, found.larger, model, beside, [found.larger.default], columns)
        cascade = Cascade(found.result.threshold, found.result.validation_calls)
        manifest = dataclasses.replace(manifest, cascade=cascade)
    write_bundle(bundle, manifest, own.files, documents, larger)


def content_of(
    report: Report, exported: Exported, model: Artifact, tokenizer: Path, variants: list[str], columns: Columns
) -> "Content":
    """A model in these variants; its tokenizer is written to ``tokenizer`` first."""
    from distill.export.bundle import Content
    from distill.runtime.manifest import BUNDLE_SCHEMA, Manifest

    task, reading, dataset = exported.texts.task, exported.texts.reading, exported.texts.dataset
    reading.save_tokenizer(tokenizer)
    encoded = rows_of(task.encode(reading, dataset.test[:WORKLOAD_TEXTS]))
    lengths = sorted((len(row.input_ids), row.second_length) for row in encoded)
    manifest = Manifest(
        schema_version=BUNDLE_SCHEMA,
        name=report.name,
        task=task.section(),
        graphs={variant: {role: graph_file(role, variant) for role in exported.roles} for variant in variants},
        inputs=list(exported.inputs),
        outputs=list(task.outputs),
        max_length=reading.max_length,
        pad_id=reading.pad_id,
        default_variant=exported.default,
        sha256={},
        licences={"teacher": report.teacher_licence, "data": report.data.licence},
        versions=report.provenance.versions,
        workload={"token_lengths": [both for both, _ in lengths], "second_lengths": [second for _, second in lengths]},
        generation=generation_of(task, reading) if task.writes else None,
        paired=exported.texts.paired and not task.pair_holds,
        columns=columns,
        needs={variant: list(flags) for variant in variants if (flags := needs(variant))},
    )
    files = {graph_file(role, variant): file for variant in variants for role, file in exported.files(variant).items()}
    files |= {"tokenizer.json": tokenizer, "config.json": model.directory / "model" / "config.json"}
    return Content(manifest, files)
