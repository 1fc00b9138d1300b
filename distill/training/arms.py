"""The arms: what is compared, and in what each differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from distill.config import HardTerm, ObjectiveConfig

if TYPE_CHECKING:
    from distill.objectives import Objective

DIFFERS_IN = {
    "linear": "TF-IDF and logistic regression on the labelled texts: the honest floor",
    "teacher": "the model that is distilled",
    "hard": "the data's labels on the labelled texts",
    "soft": "the teacher's soft labels on the same texts, with weights, order, steps and seeds of `hard`",
    "soft+transfer": "the teacher's soft labels on the texts without labels, too",
    "pseudo+transfer": "the teacher's answers as hard labels on the texts of `soft+transfer`",
}


@dataclass(frozen=True)
class Arm:
    """One way of training the student."""

    name: str
    objective: Objective
    transfer: bool
    """Learns on texts without labels, too."""

    @property
    def differs_in(self) -> str:
        """In words."""
        return DIFFERS_IN[self.name]


def make_arm(name: str, config: ObjectiveConfig) -> Arm:
    """The arm of this name; ``config`` is the objective of the arms that read the teacher."""
    from distill.objectives import Objective, WeightedTerm, pseudo_labels  # torch: not needed for the names above

    if name == "hard":
        return Arm(name, Objective([HardTerm("hard")]), False)
    objective = Objective(config.terms)
    if name == "pseudo+transfer":
        objective.terms = tuple(
            term if term.reads_labels else WeightedTerm(term.weight, False, pseudo_labels) for term in objective.terms
        )
    return Arm(name, objective, name.endswith("+transfer"))
