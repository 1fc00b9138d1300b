"""What can be known to fail of who teaches: folds, several teachers, assistants."""

from distill.config import Config, LayersStudent, PretrainedTeacher, StaticStudent
from distill.config.schema import ASSISTED
from distill.errors import UserError
from distill.stages.signal import ON_WRITTEN, WITHOUT_ANSWERS
from distill.stages.teacher import NO_FOLDS
from distill.tasks import Task
from distill.tasks.text_to_text import NEXT_TOKEN_METRICS
from distill.training.devices import processes_of_run


def check_teaching(config: Config, task: type[Task]) -> None:
    """Raises UserError for teachers that cannot teach in the task, or that no arm learns from."""
    check_folds(config, task)
    check_ensemble(config, task)
    check_assistant(config, task)
    check_sharded(config, task)


def check_folds(config: Config, task: type[Task]) -> None:
    """Raises UserError for cross-fitting where no teacher is trained on labelled texts, or no student reads it."""
    if config.folds == 1:
        return
    why, teacher = "", config.teacher
    if task.kind == "token":
        why = f"but soft labels of {task.name} are of the likeliest tokens alone, and have no mean; leave it out"
    elif task.kind == "vector":
        why = f"but in {task.name} the teacher is taken as it is, and learns no text by heart; leave it out"
    elif config.data.label is None:
        why = "but data.label is null, and cross-fitting trains teachers on labels; leave it out"
    elif isinstance(teacher, PretrainedTeacher) and teacher.fine_tune == "never":
        why = NO_FOLDS
    elif all(arm in WITHOUT_ANSWERS for arm in config.arms):
        why = "but arms has none that learns from soft labels; leave it out, or add 'soft'"
    if why:
        raise UserError(f"teacher.folds is {config.folds}, {why}")


def check_ensemble(config: Config, task: type[Task]) -> None:
    """Raises UserError for several teachers whose answers have no mean, or that no student learns from."""
    how, mend, why = config.ensemble, "leave ensemble out", ""
    if not how.teachers:
        if how.by_confidence:
            raise UserError("ensemble.by_confidence is true, but ensemble.teachers is empty; name further teachers")
        return
    if task.writes or task.kind == "token":
        why = f"but in {task.name} each answers with a distribution over tokens, and each has tokens of its own"
    elif task.kind == "vector":
        why = f"but in {task.name} a teacher answers with a vector, and each has a space of its own"
    elif task.kind == "number" and how.by_confidence:
        why = f"and by_confidence is true, but the numbers of {task.name} have no confidence"
        mend = "set ensemble.by_confidence=false"
    elif all(arm in WITHOUT_ANSWERS for arm in config.arms):
        why, mend = "but arms has none that learns from soft labels", "leave ensemble out, or add 'soft'"
    elif config.folds > 1 or any(one.folds > 1 for one in how.teachers):
        why, mend = "but cross-fitting trains one teacher without its folds", "leave folds out"
    if why:
        raise UserError(f"ensemble.teachers has {len(how.teachers)} beside the first, {why}; {mend}")


def check_assistant(config: Config, task: type[Task]) -> None:
    """Raises UserError for arms without an assistant, an assistant without arms, and what assistants cannot teach."""
    arm = next((arm for arm in config.arms if arm.endswith(ASSISTED)), None)
    if arm is None and config.assistant:
        raise UserError(
            f"assistant is set, but no arm of {list(config.arms)} is taught by one; add 'soft+assistant' or "
            "'soft+transfer+assistant', or leave it out"
        )
    if arm is None:
        return
    if not config.assistant:
        raise UserError(
            f"arms has '{arm}', but there is no assistant to teach it; set one, such as 'assistant={{name: layers, "
            "count: 4}', or leave the arm out"
        )
    if config.objective.along:
        raise UserError(
            f"arms has '{arm}', but objective.terms or objective.replacing look inside of the teacher, and an "
            "assistant teaches by its answers alone; choose objective=kl or mse, or leave the arm out"
        )
    for i, student in enumerate(config.assistant):
        if task.writes and student.vocabulary.trim:
            raise UserError(
                f"assistant[{i}].vocabulary.trim is true, but in {task.name} soft labels are of the teacher's tokens, "
                "and an assistant has to have all of them; set it to false"
            )


def check_sharded(config: Config, task: type[Task]) -> None:
    """Raises UserError where a teacher of which each process has a part is asked for more than its answers to texts."""
    for where, one in sharded_teachers(config).items():
        if one.fine_tune != "never":
            raise UserError(
                f"{where}.sharded is true, but {where}.fine_tune is {one.fine_tune}, and a teacher that is spread over "
                "processes is not trained here; fine-tune it elsewhere, give the folder that save_pretrained wrote, "
                f"and set {where}.fine_tune=never"
            )
    if not config.sharded:
        return
    students = [one.student for one in (config, *config.assisted, config.static) if one is not None]
    arm = next((arm for arm in config.arms if arm in (*ON_WRITTEN, "gkd")), None)
    by_tokens = config.task.metric in {metric.name for metric in NEXT_TOKEN_METRICS}
    why, mend = "", ""
    if config.objective.along:
        why = "objective.terms or objective.replacing look inside of it while students are trained"
        mend = "choose objective=kl or mse"
    elif arm is not None:
        why, mend = f"arms has '{arm}', for which it writes or runs beside the student", "leave that arm out"
    elif task.writes and not task.own_label and not by_tokens:
        why, mend = f"the metric of {task.name} compares what it writes", "set task.metric=perplexity"
    elif any(isinstance(student, LayersStudent) and student.narrowed for student in students):
        why = "which of its parts matter for the student is told by gradients of all of them"
        mend = "set student.feed_forward_share and student.width_share to 1"
    elif any(isinstance(student, StaticStudent) and student.start != "random" for student in students):
        why = "a static student starts from what it says of each token alone"
        mend = "set student.start=random, and leave the arm 'static' out"
    elif config.augment.asks_masked_lm:
        why, mend = "augment.steps has 'masked_lm', which asks it for words", "choose augment=words"
    if why:
        raise UserError(f"teacher.sharded is true, so no process has the whole teacher, but {why}; {mend}")


def check_processes(config: Config) -> None:
    """Raises UserError where a teacher is to be in parts, but one process is all there is."""
    where = next(iter(sharded_teachers(config)), None)
    if where is not None and processes_of_run() == 1:
        raise UserError(
            f"{where}.sharded is true, but this run has one process, and the teacher is spread over several; start it "
            f"with python -m torch.distributed.run --nproc_per_node 2 -m distill run …, or set {where}.sharded=false"
        )


def sharded_teachers(config: Config) -> dict[str, PretrainedTeacher]:
    """Those of which each process has a part, by their keys."""
    others = {f"ensemble.teachers[{i}]": one for i, one in enumerate(config.ensemble.teachers)}
    found = {"teacher": config.teacher, **others}
    return {where: one for where, one in found.items() if isinstance(one, PretrainedTeacher) and one.sharded}
