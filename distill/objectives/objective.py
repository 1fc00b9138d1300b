"""A weighted sum of terms."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from distill.config import CosineTerm, HardTerm, KlTerm, MseTerm, Term
from distill.objectives.labels import binary_cross_entropy, binary_pseudo_labels, cross_entropy, pseudo_labels
from distill.objectives.logits import (
    binary_kl_divergence,
    cosine_distance,
    kl_divergence,
    mean_squared_error,
    squared_error,
)

Loss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(student, teacher or labels, mask) -> (sum, count)"""

HARD: dict[str, Loss] = {
    "categorical": cross_entropy,
    "span": cross_entropy,
    "bernoulli": binary_cross_entropy,
    "number": squared_error,
    "vector": squared_error,  # never counted: no vector stands in the data
}
PSEUDO: dict[str, Loss] = {
    "categorical": pseudo_labels,
    "span": pseudo_labels,
    "bernoulli": binary_pseudo_labels,
    "number": squared_error,
}


@dataclass(frozen=True)
class WeightedTerm:
    """A term: its weight, whether it reads labels or the teacher, and the function."""

    weight: float
    reads_labels: bool
    loss: Loss


class Objective(nn.Module):
    """What the student minimises. Sums and counts are kept apart, so that the loop can divide by the whole step.

    Where student and teacher give vectors of different sizes, a learnt projection of the student's stands between
    them: it is trained and checkpointed with the student, and dropped at export.
    """

    def __init__(self, terms: Sequence[Term], kind: str = "categorical", sizes: tuple[int, int] | None = None) -> None:
        """``kind`` is the task's (see :data:`distill.tasks.task.Kind`); ``sizes`` those of the student's and the
        teacher's vectors."""
        super().__init__()
        self.terms = tuple(_build(term, kind) for term in terms)
        self.projection: nn.Module = nn.Identity()
        if sizes is not None and sizes[0] != sizes[1]:
            self.projection = nn.Linear(*sizes, bias=False)

    @property
    def reads_teacher(self) -> bool:
        """Whether soft labels are needed."""
        return any(not term.reads_labels for term in self.terms)

    def masks(self, labels: Tensor, unit_mask: Tensor) -> list[Tensor]:
        """For each term, the units [B, U] it counts: those with a label, or all real ones."""
        labelled = ~torch.isnan(labels).any(-1) if labels.is_floating_point() else labels >= 0
        return [unit_mask & labelled if term.reads_labels else unit_mask for term in self.terms]

    def forward(
        self, student: Tensor, teacher: Tensor | None, labels: Tensor, masks: Sequence[Tensor], counts: Sequence[float]
    ) -> Tensor:
        """The weighted sum of terms, each divided by its count over the whole step; a term that counts nothing is 0."""
        total = student.sum() * 0.0
        student = self.projection(student)
        for term, mask, count in zip(self.terms, masks, counts, strict=True):
            if count:
                target = labels if term.reads_labels else teacher
                assert target is not None
                total = total + term.weight * term.loss(student, target, mask)[0] / count
        return total


def _build(term: Term, kind: str) -> WeightedTerm:
    match term:
        case HardTerm(weight=weight):
            return WeightedTerm(weight, True, HARD[kind])
        case KlTerm(weight=weight, temperature=temperature):
            divergence = binary_kl_divergence if kind == "bernoulli" else kl_divergence
            return WeightedTerm(weight, False, partial(divergence, temperature=temperature))
        case MseTerm(weight=weight):
            error = squared_error if kind in ("number", "vector") else mean_squared_error
            return WeightedTerm(weight, False, error)
        case CosineTerm(weight=weight):
            return WeightedTerm(weight, False, cosine_distance)
