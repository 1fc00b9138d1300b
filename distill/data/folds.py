"""Training texts in folds, so that each can be labelled by a teacher that has not learnt it."""

import random
from collections import Counter
from collections.abc import Sequence

from distill.data.variants import content_of
from distill.errors import UserError
from distill.tasks.cells import names_of
from distill.text.example import Example


def assign_folds(examples: Sequence[Example], count: int, seed: int) -> list[int]:
    """The fold of each example, from 0 to ``count`` - 1; none is empty.

    Examples of one group, and variants of one text, stand in one fold. From the largest of these on, each goes where
    its labels are rarest so far (numbers and spans are no labels), and of equal folds to the smallest, so that folds
    are alike in labels and in size. Raises UserError where there is too little to divide.
    """
    together: dict[object, list[int]] = {}
    for index, example in enumerate(examples):
        together.setdefault(example.group or content_of(example), []).append(index)
    if len(together) < count:
        what = "groups" if any(e.group for e in examples) else "texts"
        raise UserError(
            f"teacher.folds is {count}, but the labelled training texts are {len(together)} {what}; set it to at most "
            "as many, or leave it out"
        )
    order = list(together.values())
    random.Random(f"folds {seed}").shuffle(order)
    order.sort(key=len, reverse=True)  # stable: shuffled among those of one size
    labels = [names_of(e.label) for e in examples]
    total = Counter(name for names in labels for name in names)
    folds: list[list[int]] = [[] for _ in range(count)]
    held: list[Counter[str]] = [Counter() for _ in range(count)]
    for members in order:
        own = Counter(name for index in members for name in labels[index])
        crowd = [sum(own[name] * there[name] / total[name] for name in own) for there in held]
        fold = min(range(count), key=lambda i: (crowd[i], len(folds[i])))
        folds[fold] += members
        held[fold].update(own)
    fold_of = {index: fold for fold, members in enumerate(folds) for index in members}
    return [fold_of[index] for index in range(len(examples))]
