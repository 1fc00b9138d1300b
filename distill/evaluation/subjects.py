"""What can be evaluated, a bundle or a teacher in a folder: its task, and a function from examples to units."""

from collections.abc import Callable, Sequence
from pathlib import Path

from distill.errors import UserError
from distill.runtime import ALONE, in_order, load, respond
from distill.tasks import TASKS, Task
from distill.tasks.task import Logits
from distill.text import Example, Reading

Subject = tuple[Task, Callable[[Sequence[Example]], list[Logits]]]


def bundle_subject(folder: Path, variant: str | None, threads: int | None) -> Subject:
    """A bundle. Raises UserError where it is none."""
    bundle = load(folder, variant, threads)
    return bundle.task, bundle.logits


def teacher_subject(folder: Path) -> Subject:
    """A classifier in the layout of ``save_pretrained``, run by torch. Raises UserError where it has no known head."""
    from distill.config import PretrainedTeacher, Source
    from distill.models import load_teacher
    from distill.models.answers import forward_of
    from distill.models.loading import load_config
    from distill.models.teachers import has_head_for

    settings = load_config(str(folder), None, False)
    heads = [str(a) for a in settings.architectures or ()]
    known = next((task for task in TASKS.values() if has_head_for(settings, task)), None)
    if known is None:
        raise UserError(
            f"{folder} is neither a bundle nor a classifier: it is {', '.join(heads) or 'of no stated architecture'}"
        )
    labels = tuple(settings.id2label[i] for i in sorted(settings.id2label))
    task = known(labels if known.labelled else ())
    teacher = load_teacher(PretrainedTeacher("pretrained", Source(path=str(folder)), fine_tune="never"), task)
    reading = Reading(teacher.loaded.tokenizer, min(teacher.longest, 4096))
    forward = forward_of(teacher.loaded.model)
    return task, lambda examples: in_order(respond(forward, reading, task, examples, ALONE))
