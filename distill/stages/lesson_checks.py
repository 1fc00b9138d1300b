"""What students cannot learn in a task: arms, terms of the objective, and texts that are chosen, made or streamed."""

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
    SpliceStep,
    TeacherTokenizer,
    TransformerStudent,
    TransformerTeacher,
)
from distill.config.schema import ASSISTED
from distill.errors import UserError
from distill.stages.augmentation import INHERITED
from distill.stages.signal import ON_AUGMENTED, ON_TRANSFER, ON_WRITTEN
from distill.tasks import Task


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
                + fitting(task)
            )
    if task.label_free and not any(isinstance(term, (CosineTerm, MseTerm)) for term in config.objective.terms):
        raise UserError(
            f"objective.terms has only 'hard', but no text of {task.name} is labelled; choose objective=cosine"
        )
    check_taught(config, task)


def check_taught(config: Config, task: type[Task]) -> None:
    """Raises UserError for arms that are to learn from the teacher by an objective that does not ask it."""
    objective = config.objective
    if objective.compares_answers:
        return
    untaught = ["pseudo+transfer", "gkd"]
    if not any(isinstance(term, InsideTerm) and term.counts for term in objective.terms):
        untaught += ON_TRANSFER if objective.replacing else (*ON_TRANSFER, "soft", "soft" + ASSISTED, "sequence+soft")
    if arms := [arm for arm in config.arms if arm in untaught]:
        raise UserError(
            f"arms has {' and '.join(map(repr, arms))}, but no term of objective.terms with a weight above 0 in "
            f"any step compares the teacher's answers with the student's; add one, such as {{name: {fitting(task)}}}, "
            "or leave " + ("it out" if len(arms) == 1 else "them out")
        )


def fitting(task: type[Task]) -> str:
    """A term that compares the answers of the task."""
    return {"vector": "cosine", "number": "mse"}.get(task.kind, "kl")


def check_unlabelled(config: Config, task: type[Task]) -> None:
    """Raises UserError where no text has a label, and the teacher's answers are no labels in the task, an arm learns
    from labels, or would be another arm again: all arms learn on all texts then, so that one with +transfer has none
    that the one without it lacks."""
    arms = config.arms
    if config.data.label is not None:
        return
    if task.labels_of is Task.labels_of or task.writes:
        raise UserError(
            f"data.label is null, but in {task.name} the teacher's answers cannot stand in for labels; give labelled "
            "texts and name their column (data.label; of distill compress --labelled FILE)"
        )
    if labelled := next((arm for arm in ("hard", "pretrained") if arm in arms), None):
        raise UserError(f"data.label is null, so there are no labels for the arm {labelled}; set arms=[linear,soft]")
    again = [arm for arm in arms if arm in ON_TRANSFER and arm.replace("+transfer", "") in arms]
    if config.data.stream or config.augment.steps or not again:
        return
    others = [arm for arm in arms if arm not in again]
    raise UserError(
        f"data.label is null, so all arms learn on all texts, and {' and '.join(again)} would be "
        f"{' and '.join(arm.replace('+transfer', '') for arm in again)} again; set arms=[{','.join(others)}], or "
        "choose augment=mask, for texts that it alone learns on"
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
    limit = config.data.transfer_limit
    if limit is None or limit < 1:
        given = "null" if limit is None else limit
        raise UserError(
            f"data.transfer_choice is '{choice}', which chooses data.transfer_limit texts, but that is {given}; give "
            "at least 1, or set data.transfer_choice to random"
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
