"""What the student minimises: a weighted sum of terms."""

from collections.abc import Sequence
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn

from distill.config import CosineTerm, HardTerm, JsdTerm, KlTerm, MseTerm, ReverseKlTerm
from distill.config import Term as TermConfig
from distill.objectives.labels import binary_cross_entropy, binary_pseudo_labels, cross_entropy, pseudo_labels
from distill.objectives.logits import (
    binary_kl_divergence,
    cosine_distance,
    jensen_shannon_divergence,
    kl_divergence,
    mean_squared_error,
    reverse_kl_divergence,
    squared_error,
)
from distill.objectives.terms import Asked, Loss, OnLabels, OnTeacher, Seen, Term

HARD: dict[str, Loss] = {
    "categorical": cross_entropy,
    "span": cross_entropy,
    "token": cross_entropy,
    "bernoulli": binary_cross_entropy,
    "number": squared_error,
    "vector": squared_error,  # never counted: no vector stands in the data
}
PSEUDO: dict[str, Loss] = {
    "categorical": pseudo_labels,
    "span": pseudo_labels,
    "token": pseudo_labels,
    "bernoulli": binary_pseudo_labels,
    "number": squared_error,
}


class Objective(nn.Module):
    """The terms a student minimises. Sums and counts are kept apart, so that the loop divides by the whole step."""

    def __init__(self, terms: Sequence[Term]) -> None:
        super().__init__()
        self.terms = nn.ModuleList(terms)

    @classmethod
    def of(cls, terms: Sequence[TermConfig], kind: str = "categorical", sizes: tuple[int, int] | None = None) -> Self:
        """As a recipe has it. ``kind`` is the task's (see :data:`distill.tasks.task.Kind`); ``sizes`` those of the
        student's and the teacher's vectors."""
        return cls([_build(term, kind, sizes) for term in terms])

    @property
    def parts(self) -> list[Term]:
        """The terms, typed."""
        return [term for term in self.terms if isinstance(term, Term)]

    @property
    def reads_teacher(self) -> bool:
        """Whether a signal is needed."""
        return any(not term.reads_labels for term in self.parts)

    @property
    def needs(self) -> frozenset[str]:
        """Fields of :class:`Seen` that some term reads."""
        return frozenset().union(*(term.needs for term in self.parts))

    def counts(self, batch: Asked) -> Tensor:
        """[T], how much each term counts in a batch."""
        return torch.stack([term.mask(batch).sum() for term in self.parts])

    def forward(
        self, student: Seen, teacher: Seen | None, batch: Asked, totals: Sequence[Tensor | float | None]
    ) -> Tensor:
        """The weighted sum of terms, each divided by its count over the whole step: over all its forward passes and
        processes. The total of a term that counts nothing here is None, and the term is left out."""
        loss = student.units.sum() * 0.0
        for term, total in zip(self.parts, totals, strict=True):
            if total is not None:
                loss = loss + term.weight * term(student, teacher, batch) / total
        return loss


def _build(term: TermConfig, kind: str, sizes: tuple[int, int] | None) -> Term:
    match term:
        case HardTerm(weight=weight, smoothing=smoothing):
            return OnLabels(weight, partial(cross_entropy, smoothing=smoothing) if smoothing else HARD[kind])
        case KlTerm(weight=weight, temperature=temperature):
            divergence = binary_kl_divergence if kind == "bernoulli" else kl_divergence
            return OnTeacher(weight, partial(divergence, temperature=temperature), sizes)
        case ReverseKlTerm(weight=weight, temperature=temperature):
            return OnTeacher(weight, partial(reverse_kl_divergence, temperature=temperature))
        case JsdTerm(weight=weight, temperature=temperature, beta=beta):
            return OnTeacher(weight, partial(jensen_shannon_divergence, temperature=temperature, beta=beta))
        case MseTerm(weight=weight):
            error = squared_error if kind in ("number", "vector") else mean_squared_error
            return OnTeacher(weight, error, sizes)
        case CosineTerm(weight=weight):
            return OnTeacher(weight, cosine_distance, sizes)
