"""What a student, its tokenizer and its files cannot be in a task."""

from distill.config import (
    Config,
    PretrainedTeacher,
    ProbabilitiesTeacher,
    StaticStudent,
    TeacherTokenizer,
    TrainedTokenizer,
    TransformerStudent,
)
from distill.config.schema import CALIBRATED
from distill.errors import UserError, about
from distill.stages.lesson_checks import fitting
from distill.stages.signal import ON_TRANSFER
from distill.tasks import Task, gives_one_label
from distill.tasks.text_to_text import NEXT_TOKEN_METRICS


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
    """Raises UserError where the task or the objective leaves the arm ``static`` nothing to learn from the teacher."""
    if config.static is None:
        return
    with about("arms has 'static', which trains a static student"):
        check_static(config.static, task)
    if not config.static.objective.compares_answers:
        names = ", ".join(repr(term.name) for term in config.objective.terms)
        raise UserError(
            f"arms has 'static', which learns from the teacher's answers, but of objective.terms ({names}) none with a "
            f"weight above 0 in any step compares them; add one, such as {{name: {fitting(task)}}}, or leave the arm "
            "out"
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
