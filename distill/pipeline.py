"""The main job, top to bottom: data, teacher, soft labels, arms, evaluation, export, measurement, report.

One short function a stage, in ``distill/stages``. Each takes the artifacts of the stages before it and returns its own.
Heavy imports stand inside the stages, so that a run with nothing to do ends in seconds.
"""

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from distill.config import (
    Config,
    LayersStudent,
    PretrainedTeacher,
    ProbabilitiesTeacher,
    Source,
    TeacherTokenizer,
)
from distill.errors import UserError
from distill.export.bundle import check_place
from distill.progress import track
from distill.sources import locate, validate
from distill.stages.artifacts import Artifact
from distill.stages.checks import check_task
from distill.stages.comparison import evaluate
from distill.stages.context import Run, Texts
from distill.stages.delivery import Outcome, deliver, make_report
from distill.stages.exporting import export, variant_result
from distill.stages.pretraining import in_words, pretrain_student
from distill.stages.students import choose, fit_floor, train_arm
from distill.stages.teacher import ask_teacher, label_by_teacher
from distill.stages.texts import check_pairs, prepare_student, prepare_texts, read_data
from distill.training import find_machine

SMALLEST_ROOM = 100_000_000
"""Bytes free on the disk, below which no run is begun: it could not even keep a small student."""


def run(config: Config) -> Outcome:
    """The main job."""
    started = datetime.now(UTC)
    check_before(config)
    this = Run(
        config, find_machine(config.device, config.precision, config.threads, Path(config.outputs) / "precision.json")
    )
    dataset = read_data(config)
    texts = prepare_texts(this, dataset)
    check_pairs(this, texts)
    signal = ask_teacher(this, texts)
    texts = label_by_teacher(texts, signal)
    student_texts, student_tokenizer = prepare_student(this, texts)
    pretrained = pretrain_student(this, texts) if "pretrained" in config.arms else None
    arms = [
        train_arm(this, signal, student_texts, student_tokenizer, name, pretrained)
        for name in config.arms
        if name != "linear"
    ]
    linear = fit_floor(this, texts) if "linear" in config.arms else None
    summaries, contrasts, doubts = evaluate(this, texts, signal, student_texts, arms, linear)
    best, seed = choose(arms)
    own = texts.task.with_thresholds(best.results[seed]["thresholds"])
    models: dict[str, tuple[Artifact, Texts]] = {"student": (best.models[seed], replace(student_texts, task=own))}
    if signal.model is not None:
        models = {"teacher": (signal.model, replace(texts, task=signal.task)), **models}
    exported = {name: export(this, model, read_with, name) for name, (model, read_with) in models.items()}
    files = [(name, variant) for name in models for variant in config.export.variants]
    variants = [
        variant_result(this, exported[name], models[name][1], name, variant)
        for name, variant in track(files, "measure every variant")
    ]
    notes = () if pretrained is None else (in_words(pretrained),)
    costs = [artifact.cost for artifact in (pretrained, linear) if artifact is not None]
    signal = replace(signal, warnings=(*doubts, *signal.warnings))
    report = make_report(
        this, student_texts, signal, arms, summaries, contrasts, costs, notes, best, seed, variants, started
    )
    return deliver(this, report, *models["student"], exported["student"])


def check_before(config: Config) -> None:
    """What can be known to fail before anything is read."""
    check_task(config)
    for where, folder in (("outputs", config.outputs), ("exports", config.exports)):
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{where}={folder} cannot be made: {error.strerror}; name another folder") from error
        free = shutil.disk_usage(folder).free
        if free < SMALLEST_ROOM:
            raise UserError(
                f"no disk space: {where}={folder} has {free / 1e6:.0f} MB free, and a run needs "
                f"{SMALLEST_ROOM / 1e6:.0f} MB at the very least; free space or name a folder on another disk"
            )
    check_place(Path(config.exports) / config.name)
    for where, source in sources_of(config).items():
        validate(source, where)
        if source.path:
            check_path(locate(source), f"{where}.path", isinstance(config.teacher, PretrainedTeacher))
    if isinstance(config.teacher, ProbabilitiesTeacher):
        if isinstance(config.student, LayersStudent):
            raise UserError(
                "student=layers starts from the teacher's layers, but this teacher is a file of probabilities; choose "
                "student=transformer or student=lstm"
            )
        if isinstance(config.tokenizer, TeacherTokenizer):
            raise UserError("the teacher is a file and has no tokenizer; choose tokenizer=trained or tokenizer=source")
    elif not isinstance(config.teacher, PretrainedTeacher):
        if isinstance(config.tokenizer, TeacherTokenizer):
            raise UserError("a teacher from nothing has no tokenizer; choose tokenizer=trained or tokenizer=source")
    elif isinstance(config.student, LayersStudent) and not isinstance(config.tokenizer, TeacherTokenizer):
        raise UserError(
            "student=layers takes the teacher's word embeddings with its layers, so it reads with the teacher's "
            "tokenizer; choose tokenizer=teacher, or student=transformer or student=lstm"
        )
    if config.data.label is None and not isinstance(config.teacher, PretrainedTeacher):
        raise UserError(
            "data.label is null, so the teacher's answers are all there is; that needs teacher=folder or hub"
        )


def check_path(path: Path, where: str, teacher_is_model: bool) -> None:
    """Raises UserError for a path that cannot be the model or tokenizer that the key ``where`` asks for."""
    if where == "teacher.source.path" and teacher_is_model and not (path / "config.json").is_file():
        what = "is a file" if path.is_file() else "has no config.json"
        raise UserError(f"{where}={path} {what}; give a folder that save_pretrained wrote")
    if where == "tokenizer.source.path" and path.is_dir() and not any(path.glob("tokenizer*")):
        raise UserError(
            f"{where}={path} holds no tokenizer; give a tokenizer.json, or a folder that save_pretrained wrote"
        )


def sources_of(config: Config) -> dict[str, Source]:
    """Every source the recipe names, by its key; data sources are checked where they are read."""
    found = {}
    for where in ("teacher", "tokenizer"):
        source = getattr(getattr(config, where), "source", None)
        if source is not None:
            found[f"{where}.source"] = source
    return found
