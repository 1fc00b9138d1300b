"""What can be evaluated, a bundle or a teacher in a folder: its task, a function from examples to units, and
the columns of its data."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from distill.errors import UserError
from distill.results import from_plain
from distill.runtime import ALONE, Columns, in_order, load, respond
from distill.tasks import TASKS, Task
from distill.tasks.task import Logits
from distill.text import Example, Reading, check_known

Subject = tuple[Task, Callable[[Sequence[Example]], list[Logits]], Columns]


def bundle_subject(folder: Path, variant: str | None, threads: int | None) -> Subject:
    """A bundle. Raises UserError where it is none."""
    bundle = load(folder, variant, threads)
    return bundle.task, bundle.logits, bundle.manifest.columns


def teacher_subject(folder: Path) -> Subject:
    """A classifier in the layout of ``save_pretrained``, run by torch. Raises UserError where it has no known head."""
    from distill.config import PretrainedTeacher, Source
    from distill.models import load_teacher
    from distill.models.answers import check_finite, fault_of_padding, forward_of, outcome
    from distill.models.checkpoints import Checkpoint, label_names
    from distill.models.teachers import has_head_for
    from distill.models.writing import TOKENS, write_texts
    from distill.tasks.text_to_text import units_of

    settings = Checkpoint(str(folder)).config()
    heads = [str(a) for a in settings.architectures or ()]
    known = next((task for task in TASKS.values() if has_head_for(settings, task)), None)
    if known is None:
        raise UserError(
            f"{folder} is neither a bundle nor a model of one of the tasks: it is "
            f"{', '.join(heads) or 'of no stated architecture'}"
        )
    task = known(label_names(settings) if known.labelled else ())
    teacher = load_teacher(PretrainedTeacher("pretrained", Source(path=str(folder)), fine_tune="never"), task)
    loaded = teacher.loaded
    reading = Reading(loaded.tokenizer, min(teacher.longest, 4096), special_tokens=loaded.special_tokens)
    forward = forward_of(loaded.model, kept=outcome if task.writes else None)

    def answer(examples: Sequence[Example]) -> list[Logits]:
        check_known(reading, examples, str(folder))
        encoded = task.encode(reading, examples)
        if not task.predicts_tokens:
            known = task.next_token.encode(reading, examples)
            alone = fault_of_padding(loaded.model, reading, task.next_token, known)
            written = write_texts(loaded.model, reading, encoded, tokens=ALONE if alone else TOKENS)
            return [units_of(text) for text in written]
        units = in_order(respond(forward, reading, task, encoded, ALONE))
        check_finite(units, encoded, task, str(folder))
        return units

    return task, answer, usual_columns(task.name)


def usual_columns(task: str) -> Columns:
    """Those that a recipe of the task has where it names none: ``conf/task``."""
    from omegaconf import OmegaConf

    from distill.config.compose import folder

    path = folder("conf") / "task" / f"{task.replace('-', '_')}.yaml"
    choice: Any = OmegaConf.load(path) if path.is_file() else {}
    said = choice.get("data", {})
    return from_plain(Columns, {field.name: said[field.name] for field in fields(Columns) if field.name in said})
