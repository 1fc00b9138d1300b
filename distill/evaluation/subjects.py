"""What can be evaluated, a bundle or a teacher in a folder: its task, and a function from examples to units."""

from collections.abc import Callable, Sequence
from pathlib import Path

from distill.errors import UserError
from distill.runtime import load
from distill.tasks import TASKS, Task
from distill.tasks.task import Logits
from distill.text import Encoder, Example

Subject = tuple[Task, Callable[[Sequence[Example]], list[Logits]]]


def bundle_subject(folder: Path, variant: str | None, threads: int | None) -> Subject:
    """A bundle. Raises UserError where it is none."""
    bundle = load(folder, variant, threads)
    return bundle.task, bundle.logits


def teacher_subject(folder: Path) -> Subject:
    """A classifier in the layout of ``save_pretrained``, run by torch. Raises UserError where it has no known head."""
    import torch

    from distill.config import PretrainedTeacher, Source
    from distill.models import load_teacher
    from distill.models.answers import answer_of
    from distill.models.loading import load_config, takes_types
    from distill.models.teachers import has_head_for
    from distill.text import pad, rows_of

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
    model = teacher.loaded.model
    encoder = Encoder(teacher.loaded.tokenizer, min(teacher.longest, 4096))

    def answer(examples: Sequence[Example]) -> list[Logits]:
        units: list[Logits] = []
        for encoded in task.encode(encoder, examples):
            batch = {name: torch.from_numpy(array) for name, array in pad(rows_of([encoded]), encoder.pad_id).items()}
            if not takes_types(model):
                del batch["token_type_ids"]
            with torch.inference_mode():
                units += task.units(answer_of(model(**batch), batch["attention_mask"]).numpy(), [encoded])
        return units

    return task, answer
