"""What can be known to fail before anything is read."""

import shutil
from pathlib import Path

from distill.config import (
    Config,
    CosineTerm,
    Divergence,
    HardTerm,
    InsideTerm,
    KlTerm,
    LayersStudent,
    MseTerm,
    NgramStep,
    PretrainedTeacher,
    ProbabilitiesTeacher,
    Source,
    SpliceStep,
    StaticStudent,
    TeacherTokenizer,
    TrainedTokenizer,
    TransformerStudent,
    TransformerTeacher,
)
from distill.config.schema import ASSISTED, CALIBRATED
from distill.errors import UserError, about, nearest
from distill.export.bundle import check_place
from distill.sources import locate, validate
from distill.stages.augmentation import INHERITED
from distill.stages.compressible import check_compression
from distill.stages.signal import ON_AUGMENTED, ON_TRANSFER, ON_WRITTEN
from distill.stages.teaching import check_processes, check_teaching
from distill.tasks import TASKS, Task, gives_one_label
from distill.tasks.text_to_text import NEXT_TOKEN_METRICS

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
    if isinstance(config.teacher, ProbabilitiesTeacher) and kind != "categorical":
        raise UserError(
            f"teacher=probabilities gives distributions over labels, which {name} does not have; give a model"
        )


def check_choice_of_texts(config: Config, task: type[Task]) -> None:
    """Raises UserError where the texts without labels that students learn on cannot be chosen as asked for."""
    choice, why = config.data.transfer_choice, ""
    if choice == "random":
        return
    if config.data.label is None or task.label_free:
        no = {"close": "to which others could be near", "unsure": "which a first student could learn on"}
        why = f"no training text has a label, {no[choice]}"
    elif choice == "unsure" and task.kind not in ("categorical", "bernoulli"):
        why = f"the answers of {task.name} have no probability, by which the teacher would be surer than a student"
    elif choice == "unsure" and config.augment.steps:
        why = "texts are made of those without labels (augment) before any is chosen"
    if why:
        raise UserError(f"data.transfer_choice is '{choice}', but {why}; set it to random")
    if choice == "unsure" and not any(arm in ON_TRANSFER for arm in config.arms):
        raise UserError(
            f"data.transfer_choice is 'unsure', but no arm of {list(config.arms)} learns on texts without labels; add "
            "'soft+transfer', or set it to random"
        )


def check_arms(config: Config, task: type[Task]) -> None:
    """Raises UserError for arms that the task does not have, and where the floor is missing."""
    arms = config.arms
    if task.no_floor and "linear" in arms:
        raise UserError(f"arms has 'linear', but {task.no_floor}; leave it out")
    if not task.no_floor and "linear" not in arms:
        raise UserError("arms lacks 'linear', the floor that every other arm is compared with; add it")
    if task.kind in ("number", "vector") and "pseudo+transfer" in arms:
        raise UserError(
            f"arms has 'pseudo+transfer', but the teacher's answers in {task.name} are no labels; leave it out"
        )
    written = next((arm for arm in arms if arm in ON_WRITTEN), None)
    if written and (not task.writes or isinstance(config.teacher, ProbabilitiesTeacher)):
        raise UserError(
            f"arms has '{written}', whose students learn on what the teacher writes: that needs task=text_to_text "
            "or language_modelling and a teacher that is a model; leave it out"
        )
    if "gkd" in arms and (not task.own_label or isinstance(config.teacher, ProbabilitiesTeacher)):
        raise UserError(
            "arms has 'gkd', whose students learn on what they write: that needs task=language_modelling and a teacher "
            "that is a model; leave it out"
        )
    if task.label_free and not set(arms) <= {"linear", "static", "soft"}:
        raise UserError(f"arms is {list(arms)}, but in {task.name} no text is labelled: set arms=[linear,soft]")


def check_inside(config: Config, task: type[Task]) -> None:
    """Raises UserError where terms cannot look inside teacher and student, or would see other tokens in each."""
    term = next((t.name for t in config.objective.terms if isinstance(t, InsideTerm)), None)
    replacing, most = config.objective.replacing, config.objective.states_gb
    if most and (term is None or replacing):
        why = "no term looks inside of the teacher" if term is None else "objective.replacing runs the teacher itself"
        raise UserError(f"objective.states_gb is {most:g}, but {why}, so there is nothing to keep; set it to 0")
    if most and config.data.stream is not None:
        raise UserError(
            f"objective.states_gb is {most:g}, but the teacher's states on streamed texts (data.stream) are not kept; "
            "set it to 0, and the teacher runs beside the students"
        )
    if term is None and not replacing:
        return
    what = f"objective.terms has '{term}', which looks inside teacher and student"
    if replacing:
        what = (
            f"objective.replacing is {[list(point) for point in replacing]}, which mixes layers of teacher and student"
        )
    if task.writes:
        raise UserError(f"{what}, which is not done in {task.name}; choose objective=kl, reverse_kl or jsd")
    if not isinstance(config.teacher, PretrainedTeacher | TransformerTeacher):
        raise UserError(f"{what}, but the teacher is no Transformer; choose objective=kl or mse")
    if not isinstance(config.student, LayersStudent | TransformerStudent):
        raise UserError(
            f"{what}, but the student is no Transformer; choose objective=kl or mse, or student=layers or transformer"
        )
    if replacing and not (isinstance(config.student, LayersStudent) and not config.student.narrowed):
        raise UserError(
            f"{what}, but only layers of the teacher, not narrowed, fit between its own; choose student=layers"
        )
    if isinstance(config.teacher, PretrainedTeacher) and not isinstance(config.tokenizer, TeacherTokenizer):
        raise UserError(
            f"{what} at the same tokens, but the student reads with another tokenizer (tokenizer="
            f"{config.tokenizer.name}); choose tokenizer=teacher"
        )
    for key in ("teacher", "student"):
        architecture = getattr(getattr(config, key), "architecture", None)
        if config.data.pair and architecture is not None and architecture.pairs == "apart":
            raise UserError(f"{what} at the same tokens of a pair read together; set {key}.architecture.pairs=together")


def check_objective(config: Config, task: type[Task]) -> None:
    """Raises UserError for terms that cannot read the task's answers."""
    vectors = task.kind == "vector"
    check_inside(config, task)
    if "gkd" in config.arms and all(isinstance(term, HardTerm) for term in config.objective.terms):
        raise UserError("arms has 'gkd', but objective.terms has only 'hard'; choose objective=kl, reverse_kl or jsd")
    for i, term in enumerate(config.objective.terms):
        where = f"objective.terms[{i}]"
        if isinstance(term, HardTerm) and term.smoothing and task.kind not in ("categorical", "token"):
            raise UserError(
                f"{where}.smoothing is {term.smoothing}, but the labels of {task.name} are not one of a fixed set of "
                "classes; leave it out"
            )
        if isinstance(term, CosineTerm) and not vectors:
            raise UserError(
                f"{where} is 'cosine', which compares vectors, not the answers of {task.name}; choose objective=kl or "
                "mse"
            )
        if isinstance(term, Divergence) and task.kind in ("bernoulli", "number", "vector"):
            if isinstance(term, KlTerm) and task.kind == "bernoulli":
                continue
            raise UserError(
                f"{where} is '{term.name}', but the answers of {task.name} are no distribution; choose objective="
                + {"vector": "cosine", "number": "mse", "bernoulli": "kl"}[task.kind]
            )
    if task.label_free and not any(isinstance(term, (CosineTerm, MseTerm)) for term in config.objective.terms):
        raise UserError(
            f"objective.terms has only 'hard', but no text of {task.name} is labelled; choose objective=cosine"
        )


def check_stream(config: Config, task: type[Task]) -> None:
    """Raises UserError where texts are streamed for a task, a teacher or arms that cannot learn on them."""
    if config.data.stream is None:
        return
    said = f"data.stream is {config.data.stream.path}"
    if task.kind not in ("categorical", "bernoulli", "number") or task.words or config.data.pair:
        what = "pairs" if config.data.pair else task.name
        raise UserError(
            f"{said}, but streamed are single texts each with one answer, not those of {what}; give data.transfer"
        )
    arms = [arm for arm in config.arms if arm in ON_TRANSFER]
    if not arms:
        raise UserError(f"{said}, but no arm of {list(config.arms)} learns on it; add 'soft+transfer', or leave it out")
    if assisted := next((arm for arm in arms if arm.endswith(ASSISTED)), None):
        raise UserError(f"{said}, but no assistant is asked about a stream, as '{assisted}' needs; leave that arm out")
    if isinstance(config.teacher, ProbabilitiesTeacher):
        raise UserError(f"{said}, but no file of probabilities is looked up for a stream; give a model as teacher")
    if config.folds > 1 or config.ensemble.teachers:
        several = "ensemble.teachers" if config.ensemble.teachers else "teacher.folds"
        raise UserError(f"{said}, and one teacher alone is asked about a stream; leave {several} out")


def check_augment(config: Config, task: type[Task]) -> None:
    """Raises UserError for texts that cannot be made in the task, or that no arm would learn on."""
    steps, arms = config.augment.steps, config.arms
    if ON_AUGMENTED in arms:
        check_inherited(config, task)
    if not steps:
        return
    said = f"augment.steps has '{steps[0].name}'"
    if isinstance(config.teacher, ProbabilitiesTeacher):
        raise UserError(f"{said}, but no file of probabilities knows texts that are made; set augment=none")
    if task.label_free:
        raise UserError(f"{said}, but in {task.name} no arm learns on texts that are made; set augment=none")
    if task.writes:
        raise UserError(
            f"{said}, but the models of {task.name} write, and would learn to write texts with words left out or "
            "replaced; set augment=none"
        )
    if config.augment.asks_masked_lm and not isinstance(config.teacher, PretrainedTeacher):
        raise UserError(
            "augment.steps has 'masked_lm', which asks the masked language model that a teacher was pretrained as, but "
            "this one starts from random weights; choose augment=words, or teacher=folder or hub"
        )
    whole = next((step.name for step in steps if isinstance(step, NgramStep | SpliceStep)), None)
    if whole and task.words and not task.tagged:
        raise UserError(
            f"augment.steps has '{whole}', which would part a question from its passage in {task.name}; choose "
            "augment=mask, words or masked_lm, which change the question alone"
        )
    if not any(arm in (*ON_TRANSFER, ON_AUGMENTED) for arm in arms):
        raise UserError(
            f"{said}, but no arm of {list(arms)} learns on texts that are made; add 'soft+transfer', or set "
            "augment=none"
        )


def check_inherited(config: Config, task: type[Task]) -> None:
    """Raises UserError where a text that was made cannot take over the label of the one that it was made of."""
    said = f"arms has '{ON_AUGMENTED}'"
    if not config.augment.steps:
        choices = "mask, ngrams, splice, words or masked_lm"
        raise UserError(f"{said}, but no text is made; choose augment={choices}, or leave it out")
    if task.kind not in INHERITED:
        raise UserError(
            f"{said}, but in {task.name} a text that is made does not have the label of the one that it was made of; "
            "leave it out"
        )
    if config.data.label is None:
        raise UserError(f"{said}, but data.label is null, so there are no labels to take over; leave it out")


def check_variants(config: Config, task: type[Task]) -> None:
    """Raises UserError for a variant that a model of the task does not have."""
    if CALIBRATED in config.export.variants and task.writes:
        raise UserError(
            f"export.variants has '{CALIBRATED}', whose ranges are learnt from whole texts, but a model of {task.name} "
            "writes, and reads what it wrote; take int8, whose ranges are those of what it reads, or int8_weights"
        )


def check_shortlist(config: Config, task: type[Task]) -> None:
    """Raises UserError for a shortlist where no text is written from another one."""
    shortlist = config.export.shortlist
    if not shortlist:
        return
    if not task.writes or task.own_label:
        raise UserError(
            f"export.shortlist is {shortlist}, but in {task.name} no text is written from another one; set it to 0, or "
            "task=text_to_text"
        )
    if config.task.metric in {metric.name for metric in NEXT_TOKEN_METRICS}:
        raise UserError(
            f"export.shortlist is {shortlist}, but task.metric is '{config.task.metric}', which asks for the "
            "probability of every token; set the shortlist to 0, or task.metric=bleu"
        )


def check_cascade(config: Config, task: type[Task]) -> None:
    """Raises UserError where there are no two models that give each text one label, of which one could stand in for the
    other."""
    if config.cascade is None:
        return
    why = ""
    if not gives_one_label(task):
        why = f"{task.name} does not give a text one label with a probability, by which the student would be unsure"
    elif isinstance(config.teacher, ProbabilitiesTeacher):
        why = "the teacher is a file of probabilities, which cannot be asked about other texts"
    elif config.ensemble.teachers:
        why = "the teacher is a mixture (ensemble.teachers), which is not exported as one model"
    if why:
        raise UserError(f"cascade.max_drop is {config.cascade.max_drop:g}, but {why}; leave cascade out")


def check_writing(config: Config, task: type[Task]) -> None:
    """Raises UserError for data and a tokenizer that a model which writes cannot have."""
    data, tokenizer = config.data, config.tokenizer
    if task.own_label and data.label is None:
        raise UserError(f"data.label is null, but in {task.name} a text is its own label; leave the key out")
    if task.own_label and data.pair is not None:
        raise UserError(f"data.pair is '{data.pair}', but {task.name} reads single texts; leave it out")
    if isinstance(tokenizer, TrainedTokenizer) and tokenizer.model != "bpe":
        raise UserError(
            f"tokenizer.model is '{tokenizer.model}', which does not give every text back as it was, and a model that "
            "writes must; set tokenizer.model=bpe"
        )
    if not task.own_label and data.stride is not None:
        raise UserError(f"data.stride is {data.stride}, but {task.name} cuts long sources; leave it out")
    if not task.own_label and any(arm in ON_TRANSFER for arm in config.arms):
        raise UserError(
            f"arms has one with +transfer, but in {task.name} a text without a target cannot be learnt on; leave it out"
        )
    for who, model in (("teacher", config.teacher), ("student", config.student)):
        size = getattr(getattr(model, "architecture", None), "embedding_size", 0)
        if model.name == "transformer" and size:
            raise UserError(
                f"{who}.architecture.embedding_size is {size}, but the word embeddings of a model that writes score "
                "its words, too, and are not factorised here; set it to 0"
            )
    if isinstance(config.student, TransformerStudent) and config.student.embeddings == "teacher":
        raise UserError(
            "student.embeddings=teacher starts an encoder of the student's own, but in "
            f"{task.name} it writes; set student.embeddings=random"
        )
    vocabulary, stored = config.student.vocabulary, set(config.arms) - {"hard", "sequence", "gkd"}
    if vocabulary.trim and vocabulary.min_count > 1 and stored:
        raise UserError(
            f"student.vocabulary.min_count is {vocabulary.min_count}, so the student would cut texts into other tokens "
            "than those that the teacher's soft labels are of; set it to 1, or leave out "
            f"{', '.join(sorted(stored))}"
        )
    own = isinstance(config.teacher, PretrainedTeacher) and not isinstance(tokenizer, TeacherTokenizer)
    if own:
        check_other_tokenizer(config, task)


def check_static(config: Config, task: type[Task]) -> None:
    """Raises UserError for a static student where one vector a text is not enough, and where it has nothing to start
    from."""
    student = config.student
    if not isinstance(student, StaticStudent):
        return
    if task.words or task.writes:
        asks = "writes a text" if task.writes else "asks about each word"
        others = "transformer or student=lstm" if task.writes else "layers or student=lstm"
        raise UserError(
            f"student=static averages a text into one vector, but {task.name} {asks}; choose student={others}"
        )
    if student.start != "random" and isinstance(config.teacher, ProbabilitiesTeacher):
        raise UserError(
            f"student.start is '{student.start}', which takes token vectors of the teacher, but this teacher is a file "
            "of probabilities; set student.start=random"
        )


def check_static_floor(config: Config, task: type[Task]) -> None:
    """Raises UserError where the task or the objective leaves the arm ``static`` nothing to learn."""
    if config.static is None:
        return
    with about("arms has 'static', which trains a static student"):
        check_static(config.static, task)
    if not config.static.objective.terms:
        raise UserError(
            "arms has 'static', which learns from the teacher's answers alone, but all of objective.terms look inside "
            "of the teacher; add one that does not, such as {name: kl}, or leave the arm out"
        )


def check_other_tokenizer(config: Config, task: type[Task]) -> None:
    """Raises UserError for arms and a metric that need a student that writes to have its teacher's tokens."""
    distributions = [arm for arm in config.arms if arm not in ("hard", "sequence")]
    if distributions:
        raise UserError(
            f"arms has {', '.join(map(repr, distributions))}, but the student reads with another tokenizer "
            f"(tokenizer={config.tokenizer.name}) than its teacher, whose soft labels are distributions over other "
            "tokens; choose tokenizer=teacher, or arms that learn from text: arms=[hard,sequence]"
        )
    if config.task.metric in ("perplexity", "next_token_accuracy"):
        raise UserError(
            f"task.metric is '{config.task.metric}', which compares models of one tokenizer alone, but the student "
            f"reads with another than its teacher; set task.metric={'bits_per_byte' if task.own_label else 'bleu'}"
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
