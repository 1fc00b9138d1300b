"""A weighted sum of terms."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from distill.config import HardTerm, KlTerm, MseTerm, Term
from distill.objectives.labels import cross_entropy
from distill.objectives.logits import kl_divergence, mean_squared_error

Loss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(student, teacher or labels, mask) -> (sum, count)"""


@dataclass(frozen=True)
class WeightedTerm:
    """A term: its weight, whether it reads labels or the teacher, and the function."""

    weight: float
    reads_labels: bool
    loss: Loss


class Objective:
    """What the student minimises. Sums and counts are kept apart, so that the loop can divide by the whole step."""

    def __init__(self, terms: Sequence[Term]) -> None:
        self.terms = tuple(_build(term) for term in terms)

    @property
    def reads_teacher(self) -> bool:
        """Whether soft labels are needed."""
        return any(not term.reads_labels for term in self.terms)

    def masks(self, labels: Tensor, unit_mask: Tensor) -> list[Tensor]:
        """For each term, the units [B, U] it counts: those with a label, or all real ones."""
        return [unit_mask & (labels >= 0) if term.reads_labels else unit_mask for term in self.terms]

    def __call__(
        self, student: Tensor, teacher: Tensor | None, labels: Tensor, masks: Sequence[Tensor], counts: Sequence[float]
    ) -> Tensor:
        """The weighted sum of terms, each divided by its count over the whole step; a term that counts nothing is 0."""
        total = student.sum() * 0.0
        for term, mask, count in zip(self.terms, masks, counts, strict=True):
            if count:
                target = labels if term.reads_labels else teacher
                assert target is not None
                total = total + term.weight * term.loss(student, target, mask)[0] / count
        return total


def _build(term: Term) -> WeightedTerm:
    match term:
        case HardTerm(weight=weight):
            return WeightedTerm(weight, True, cross_entropy)
        case KlTerm(weight=weight, temperature=temperature):
            return WeightedTerm(weight, False, partial(kl_divergence, temperature=temperature))
        case MseTerm(weight=weight):
            return WeightedTerm(weight, False, mean_squared_error)
