"""What can be known to fail before anything is read."""

import shutil
from pathlib import Path

from distill.config import (
    Config,
    LayersStudent,
    PretrainedTeacher,
    ProbabilitiesTeacher,
    Source,
    TeacherTokenizer,
)
from distill.errors import UserError, about, nearest
from distill.export.bundle import check_place
from distill.sources import locate, validate
from distill.stages.compressible import check_compression
from distill.stages.lesson_checks import (
    check_arms,
    check_augment,
    check_choice_of_texts,
    check_objective,
    check_stream,
    check_unlabelled,
)
from distill.stages.model_checks import (
    check_cascade,
    check_shortlist,
    check_static,
    check_static_floor,
    check_variants,
    check_writing,
)
from distill.stages.teaching import check_processes, check_teaching
from distill.tasks import TASKS

SMALLEST_ROOM = 100_000_000
"""Bytes free on the disk, below which no run is begun: it could not even keep a small student."""


def check_task(config: Config) -> None:
    """Raises UserError for a task that is unknown, and for arms, terms, data and a teacher that it cannot have."""
    name = config.task.name
    if name not in TASKS:
        raise UserError(f"task.name is '{name}'{nearest(name, TASKS)}")
    check_arms(config, TASKS[name])
    check_objective(config, TASKS[name])
    check_shortlist(config, TASKS[name])
    check_cascade(config, TASKS[name])
    check_variants(config, TASKS[name])
    check_augment(config, TASKS[name])
    check_compression(config, TASKS[name])
    if TASKS[name].writes:
        check_writing(config, TASKS[name])
    check_static(config, TASKS[name])
    check_teaching(config, TASKS[name])
    check_static_floor(config, TASKS[name])
    check_stream(config, TASKS[name])
    for i, assisted in enumerate(config.assisted):
        with about(f"assistant[{i}], as a student"):
            check_static(assisted, TASKS[name])
            if TASKS[name].writes:
                check_writing(assisted, TASKS[name])
    for key in ("feed_forward_share", "width_share"):
        if TASKS[name].label_free and getattr(config.student, key, 1) < 1:
            raise UserError(
                f"student.{key} is below 1, and what matters is told by the loss on labels, but in {name} no text is "
                "labelled; set it to 1"
            )
    data, kind = config.data, TASKS[name].kind
    if data.out_of_scope is not None and (kind != "categorical" or TASKS[name].words):
        raise UserError(
            f"data.out_of_scope is set, but {name} gives a text no probability of one label, by which texts without a "
            "label are told apart; leave it out"
        )
    if data.recombined and (data.pair is None or TASKS[name].words or TASKS[name].pair_holds):
        raise UserError(
            f"data.recombined is {data.recombined}, but there are no pairs to make in {name}"
            + ("" if data.pair else " without data.pair")
        )
    check_choice_of_texts(config, TASKS[name])
    check_unlabelled(config, TASKS[name])
    if isinstance(config.teacher, ProbabilitiesTeacher) and kind != "categorical":
        raise UserError(
            f"teacher=probabilities gives distributions over labels, which {name} does not have; give a model"
        )


def check_before(config: Config) -> None:
    """What can be known to fail before anything is read."""
    check_task(config)
    check_processes(config)
    check_report(config)
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
            is_model = where.startswith("ensemble") or isinstance(config.teacher, PretrainedTeacher)
            check_path(locate(source), f"{where}.path", is_model)
    if isinstance(config.student, LayersStudent):
        for i, corpus in enumerate(config.student.pretraining.texts):
            validate(corpus, f"student.pretraining.texts[{i}]")
    check_choices(config)
    for i, assisted in enumerate(config.assisted):
        with about(f"assistant[{i}], as a student"):
            check_choices(assisted)


def check_report(config: Config) -> None:
    """Raises UserError where the report would show a text that it may not show."""
    if config.report.look_inside and not config.report.show_texts:
        raise UserError(
            "report.look_inside is true, which shows what the models look at in a test text, but report.show_texts is "
            "false: set it to true if texts of the data may stand in the report, or leave report.look_inside out"
        )


def check_choices(config: Config) -> None:
    """Raises UserError for a teacher, a student and a tokenizer that do not go together."""
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
    if isinstance(config.teacher, ProbabilitiesTeacher) and getattr(config.student, "embeddings", "") == "teacher":
        raise UserError(
            "student.embeddings=teacher takes word embeddings, but this teacher is a file of probabilities; set "
            "student.embeddings=random"
        )
    from_checkpoint = isinstance(config.student, LayersStudent) and config.student.start == "checkpoint"
    if from_checkpoint and not isinstance(config.teacher, PretrainedTeacher):
        raise UserError(
            "student.start is 'checkpoint', but the teacher is trained from nothing and was none; set "
            "student.start=teacher, or choose student=transformer with the teacher's sizes, which starts as it did"
        )
    if config.data.label is None and not isinstance(config.teacher, PretrainedTeacher):
        raise UserError(
            "data.label is null, so the teacher's answers are all there is; that needs teacher=folder or hub"
        )


def check_path(path: Path, where: str, teacher_is_model: bool) -> None:
    """Raises UserError for a path that cannot be the model or tokenizer that the key ``where`` asks for."""
    whole = path.suffix == ".gguf" or (path / "config.json").is_file()
    if where != "tokenizer.source.path" and teacher_is_model and not whole:
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
    return found | {f"ensemble.teachers[{i}].source": one.source for i, one in enumerate(config.ensemble.teachers)}
