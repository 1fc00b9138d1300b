"""What the student minimises: a weighted sum of terms."""

from collections.abc import Sequence
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn

from distill.config import (
    AttentionTerm,
    ClsTerm,
    CosineTerm,
    DecoupledKlTerm,
    HardTerm,
    HiddenTerm,
    InsideTerm,
    JsdTerm,
    KlTerm,
    MseTerm,
    RelationsTerm,
    ReverseKlTerm,
    SkewedKlTerm,
)
from distill.config import Term as TermConfig
from distill.errors import UserError
from distill.objectives.inside import (
    OnAttention,
    OnFirstTokens,
    OnStates,
    cka_distance,
    normalised_error,
    pairs_of,
    relation_divergence,
    score_error,
    weight_divergence,
)
from distill.objectives.labels import binary_cross_entropy, binary_pseudo_labels, cross_entropy, pseudo_labels
from distill.objectives.logits import (
    binary_kl_divergence,
    cosine_distance,
    decoupled_kl_divergence,
    jensen_shannon_divergence,
    kl_divergence,
    mean_squared_error,
    reverse_kl_divergence,
    skewed_kl_divergence,
    squared_error,
)
from distill.objectives.terms import Asked, Loss, OnLabels, OnTeacher, Seen, Shape, Term

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
        self.progress = 0.0
        """Share of the steps that were taken."""

    @classmethod
    def of(
        cls, terms: Sequence[TermConfig], kind: str = "categorical", shapes: tuple[Shape, Shape] = (Shape(), Shape())
    ) -> Self:
        """As a recipe has it. ``kind`` is the task's (see :data:`distill.tasks.task.Kind`); ``shapes`` those of the
        student and the teacher, as far as terms ask for them. Raises UserError for terms that do not fit them."""
        return cls([_build_term(term, kind, shapes) for term in terms])

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
        processes. The total of a term that counts nothing here is None, and the term is left out, as
        one is whose schedule is at 0."""
        loss = student.units.sum() * 0.0
        for term, total in zip(self.parts, totals, strict=True):
            if total is not None and term.weight_now:
                loss = loss + term.weight_now * term(student, teacher, batch) / total
        return loss

    def step_to(self, progress: float) -> None:
        """Says what share of the steps was taken, for schedules."""
        self.progress = progress
        for term in self.parts:
            term.progress = progress


def _build_term(term: TermConfig, kind: str, shapes: tuple[Shape, Shape]) -> Term:
    """A term of an objective as a recipe has it; see :meth:`Objective.of`."""
    weight, schedule = term.weight, term.schedule
    vectors = (shapes[0].vector, shapes[1].vector)
    match term:
        case HardTerm(smoothing=smoothing):
            loss = partial(cross_entropy, smoothing=smoothing) if smoothing else HARD[kind]
            return OnLabels(weight, loss, schedule)
        case KlTerm(temperature=temperature):
            divergence = binary_kl_divergence if kind == "bernoulli" else kl_divergence
            return OnTeacher(weight, partial(divergence, temperature=temperature), schedule=schedule)
        case ReverseKlTerm(temperature=temperature):
            return OnTeacher(weight, partial(reverse_kl_divergence, temperature=temperature), schedule=schedule)
        case JsdTerm(temperature=temperature, beta=beta):
            loss = partial(jensen_shannon_divergence, temperature=temperature, beta=beta)
            return OnTeacher(weight, loss, schedule=schedule)
        case SkewedKlTerm(temperature=temperature, skew=skew, reverse=reverse):
            loss = partial(skewed_kl_divergence, temperature=temperature, skew=skew, reverse=reverse)
            return OnTeacher(weight, loss, schedule=schedule)
        case DecoupledKlTerm(temperature=temperature, alpha=alpha, beta=beta):
            loss = partial(decoupled_kl_divergence, temperature=temperature, alpha=alpha, beta=beta)
            return OnTeacher(weight, loss, schedule=schedule)
        case MseTerm(growth=growth):
            error = squared_error if kind in ("number", "vector") else mean_squared_error
            return OnTeacher(weight, error, vectors, schedule, growth)
        case CosineTerm():
            return OnTeacher(weight, cosine_distance, vectors, schedule)
    return _build_inside(term, shapes)


def _build_inside(term: InsideTerm, shapes: tuple[Shape, Shape]) -> Term:
    own, other = shapes
    weight, schedule = term.weight, term.schedule
    first = 0 if isinstance(term, HiddenTerm) else 1
    last = own.layers - 1 if isinstance(term, ClsTerm) else own.layers
    pairs = pairs_of(term.layers, own.layers, other.layers, first, last)
    sizes = (own.hidden, other.hidden)
    match term:
        case HiddenTerm(distance="cka"):
            return OnStates(weight, cka_distance, pairs, schedule=schedule)
        case HiddenTerm(distance=distance):
            return OnStates(weight, {"mse": squared_error, "cosine": cosine_distance}[distance], pairs, sizes, schedule)
        case ClsTerm():
            return OnFirstTokens(weight, normalised_error, pairs, sizes, schedule)
        case AttentionTerm(compared=compared):
            if own.heads != other.heads:
                raise UserError(
                    f"objective.terms: 'attention' compares heads one by one, but the student has {own.heads} and "
                    f"the teacher {other.heads}; give the student as many, or choose 'relations', which asks for none"
                )
            loss = partial({"scores": score_error, "weights": weight_divergence}[compared], heads=own.heads)
            return OnAttention(weight, loss, pairs, schedule)
        case RelationsTerm(of=of, heads=heads):
            heads = heads or other.heads
            for name, size in (("student", own.hidden), ("teacher", other.hidden)):
                if size % heads:
                    raise UserError(
                        f"objective.terms: 'relations' cuts vectors into {heads} heads, but the {name}'s {size} "
                        "dimensions are no multiple of that; set heads to a number that both are multiples of"
                    )
            return OnAttention(weight, partial(relation_divergence, heads=heads, of=of), pairs, schedule)
