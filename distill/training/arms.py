"""The arms: what is compared, and in what each differs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from distill.config import HardTerm, ObjectiveConfig

if TYPE_CHECKING:
    from distill.objectives import Objective, Shape

DIFFERS_IN = {
    "static": "a second floor: one vector a token, the teacher's at the start, averaged; it learns from the soft "
    "labels on the texts of soft+transfer, or of soft where that is no arm",
    "teacher": "the model that is distilled",
    "hard": "the data's labels on the labelled texts",
    "hard+augmented": "the data's labels on the same texts, and on those made of them, each with the label of the text "
    "it was made of (of a splice: of the longer part): all texts of `soft+transfer` that have a label",
    "soft": "the teacher's soft labels on the same texts, with weights, order, steps and seeds of hard",
    "soft+transfer": "the teacher's soft labels on the texts without labels, too",
    "soft+assistant": "the soft labels of an assistant in the place of the teacher's, on the texts of soft; first "
    "weights, order, steps and seeds are those of soft (Mirzadeh et al. 2020)",
    "soft+transfer+assistant": "the soft labels of an assistant in the place of the teacher's, on the texts of "
    "soft+transfer; first weights, order, steps and seeds are those of soft+transfer (Mirzadeh et al. 2020)",
    "pretrained": "the data's labels, after the teacher taught it to find masked tokens (DistilBERT)",
    "sequence": "what the teacher writes of the same texts, in the place of the data's: from the sources by beam "
    "search, or, in language modelling, from the texts' beginnings by sampling",
    "sequence+soft": "the texts of `sequence`, and the teacher's soft labels at each of their tokens",
    "gkd": "the teacher's distribution on what the student itself writes, from the beginnings of the texts (GKD)",
    "pseudo+transfer": "the teacher's answers as hard labels on the texts of `soft+transfer`",
}

ENSEMBLE = "the models that are distilled, as one: the weighted mean of their probabilities"
"""The row of the teacher where there are several."""


def objective_of(
    name: str,
    config: ObjectiveConfig,
    kind: str = "categorical",
    shapes: tuple[Shape, Shape] | None = None,
    thresholds: Sequence[float] = (),
) -> Objective:
    """What the student of the arm of this name minimises; ``config`` is that of the arms that read the teacher.

    ``kind`` is the task's, ``shapes`` those of student and teacher where terms ask for them, ``thresholds`` the logits
    above which the teacher gives a label, where several labels may hold.
    """
    from distill.objectives import (  # torch: not needed for the names above
        Objective,
        OnTeacher,
        Shape,
        binary_pseudo_labels,
    )
    from distill.objectives.objective import PSEUDO

    if name in ("hard", "hard+augmented", "pretrained", "sequence"):
        return Objective.of([HardTerm("hard", smoothing=config.smoothing)], kind)
    if name == "gkd":  # what a student writes has no labels
        config = config.without(HardTerm)
    objective = Objective.of(config.terms, kind, shapes or (Shape(), Shape()))
    if name == "pseudo+transfer":
        loss = partial(binary_pseudo_labels, thresholds=thresholds) if kind == "bernoulli" else PSEUDO[kind]
        terms = [
            OnTeacher(term.weight, loss, schedule=term.schedule) if isinstance(term, OnTeacher) else term
            for term in objective.parts
        ]
        return Objective(terms)
    return objective
