"""The main job, top to bottom: data, teacher, soft labels, arms, evaluation, export, measurement, report.

One short function a stage, in ``distill/stages``. Each takes the artifacts of the stages before it and returns its own.
Heavy imports stand inside the stages, so that a run with nothing to do ends in seconds.
"""

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
from distill.sources import validate
from distill.stages.artifacts import Artifact
from distill.stages.comparison import evaluate
from distill.stages.context import Run, Texts, device_of
from distill.stages.delivery import Outcome, deliver, make_report
from distill.stages.exporting import export, variant_result
from distill.stages.students import choose, fit_floor, train_arm
from distill.stages.teacher import ask_teacher, label_by_teacher
from distill.stages.texts import prepare_student, prepare_texts, read_data


def run(config: Config) -> Outcome:
    """The main job."""
    started = datetime.now(UTC)
    check_before(config)
    this = Run(config, *device_of(config))
    dataset = read_data(config)
    texts = prepare_texts(this, dataset)
    signal = ask_teacher(this, texts)
    texts = label_by_teacher(texts, signal)
    student_texts, student_tokenizer = prepare_student(this, texts)
    arms = [
        train_arm(this, texts, signal, student_texts, student_tokenizer, name)
        for name in config.arms
        if name != "linear"
    ]
    linear = fit_floor(this, texts)
    summaries, contrasts = evaluate(this, texts, signal, student_texts, arms, linear)
    best, seed = choose(arms)
    models: dict[str, tuple[Artifact, Texts]] = {"student": (best.models[seed], student_texts)}
    if signal.model is not None:
        models = {"teacher": (signal.model, texts), **models}
    exported = {name: export(this, model, read_with, name) for name, (model, read_with) in models.items()}
    variants = [
        variant_result(this, exported[name], read_with, name, variant)
        for name, (_, read_with) in models.items()
        for variant in config.export.variants
    ]
    report = make_report(this, texts, signal, arms, summaries, contrasts, linear, best, seed, variants, started)
    return deliver(this, report, best.models[seed], exported["student"], student_texts)


def check_before(config: Config) -> None:
    """What can be known to fail before anything is read."""
    for where, folder in (("outputs", config.outputs), ("exports", config.exports)):
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{where}={folder} cannot be made: {error.strerror}; name another folder") from error
    check_place(Path(config.exports) / config.name)
    for where, source in sources_of(config).items():
        validate(source, where)
    if isinstance(config.teacher, ProbabilitiesTeacher):
        if isinstance(config.student, LayersStudent):
            raise UserError(
                "student=layers starts from the teacher's layers, but this teacher is a file of probabilities; choose "
                "student=transformer or student=lstm"
            )
        if isinstance(config.tokenizer, TeacherTokenizer):
            raise UserError("the teacher is a file and has no tokenizer; choose tokenizer=trained or tokenizer=source")
    elif not isinstance(config.teacher, PretrainedTeacher) and isinstance(config.tokenizer, TeacherTokenizer):
        raise UserError("a teacher from nothing has no tokenizer; choose tokenizer=trained or tokenizer=source")
    if config.data.label is None and not isinstance(config.teacher, PretrainedTeacher):
        raise UserError(
            "data.label is null, so the teacher's answers are all there is; that needs teacher=folder or hub"
        )


def sources_of(config: Config) -> dict[str, Source]:
    """Every source the recipe names, by its key; data sources are checked where they are read."""
    found = {}
    for where in ("teacher", "tokenizer"):
        source = getattr(getattr(config, where), "source", None)
        if source is not None:
            found[f"{where}.source"] = source
    return found
