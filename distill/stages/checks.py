"""What a recipe may ask of its task, checked before anything is read."""

from distill.config import Config, CosineTerm, KlTerm, MseTerm, ProbabilitiesTeacher
from distill.errors import UserError, nearest
from distill.tasks import TASKS, Task


def check_task(config: Config) -> None:
    """Raises UserError for a task that is unknown, and for arms, terms, data and a teacher that it cannot have."""
    name = config.task.name
    if name not in TASKS:
        raise UserError(f"task.name is '{name}'{nearest(name, TASKS)}")
    check_arms(config, TASKS[name])
    check_objective(config, TASKS[name])
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
    if isinstance(config.teacher, ProbabilitiesTeacher) and kind != "categorical":
        raise UserError(
            f"teacher=probabilities gives distributions over labels, which {name} does not have; give a model"
        )


def check_arms(config: Config, task: type[Task]) -> None:
    """Raises UserError for arms that the task does not have, and where the floor is missing."""
    arms = config.arms
    if task.kind == "span" and "linear" in arms:
        raise UserError("arms has 'linear', but a linear model finds no spans; leave it out")
    if task.kind != "span" and "linear" not in arms:
        raise UserError("arms lacks 'linear', the floor that every other arm is compared with; add it")
    if task.kind in ("number", "vector") and "pseudo+transfer" in arms:
        raise UserError(
            f"arms has 'pseudo+transfer', but the teacher's answers in {task.name} are no labels; leave it out"
        )
    if task.label_free and not set(arms) <= {"linear", "soft"}:
        raise UserError(f"arms is {list(arms)}, but in {task.name} no text is labelled: set arms=[linear,soft]")


def check_objective(config: Config, task: type[Task]) -> None:
    """Raises UserError for terms that cannot read the task's answers."""
    vectors = task.kind == "vector"
    for i, term in enumerate(config.objective.terms):
        where = f"objective.terms[{i}]"
        if isinstance(term, CosineTerm) and not vectors:
            raise UserError(
                f"{where} is 'cosine', which compares vectors, not the answers of {task.name}; choose objective=kl or "
                "mse"
            )
        if isinstance(term, KlTerm) and task.kind in ("number", "vector"):
            raise UserError(
                f"{where} is 'kl', but the answers of {task.name} are no distribution; choose objective="
                + ("cosine" if vectors else "mse")
            )
    if task.label_free and not any(isinstance(term, (CosineTerm, MseTerm)) for term in config.objective.terms):
        raise UserError(
            f"objective.terms has only 'hard', but no text of {task.name} is labelled; choose objective=cosine"
        )
