"""The terms of an objective: dataclasses, one a term, told apart by ``name``."""

from dataclasses import dataclass, field
from typing import Literal

Points = tuple[tuple[float, float], ...]
"""Values at shares of the steps, from 0 to 1, with straight lines between them; of two at one share the later holds
from there on. Empty: 1 throughout."""
Layers = tuple[tuple[int, int], ...]
"""Layers of the student, each with the teacher's it is compared with. 0 is the embeddings, 1 the first layer, -1 the
last. Empty: the student's layers spread evenly over the teacher's, as TinyBERT has them."""


@dataclass(frozen=True)
class _Term:
    name: str
    weight: float = 1.0
    schedule: Points = field(default=(), kw_only=True)
    """Factors of the weight: ``[[0.5, 1], [0.5, 0]]`` ends the term half way."""

    @property
    def counts(self) -> bool:
        """Whether there are steps in which it has a weight."""
        return bool(self.weight) and (not self.schedule or any(factor for _, factor in self.schedule))


@dataclass(frozen=True)
class HardTerm(_Term):
    """Cross-entropy on the data's labels."""

    name: Literal["hard"]
    smoothing: float = 0.0
    """Share of a label's probability that is spread evenly over all classes (Szegedy et al. 2016, section 7)."""


@dataclass(frozen=True)
class KlTerm(_Term):
    """Hinton's divergence from the teacher's softened distribution, times the temperature squared."""

    name: Literal["kl"]
    temperature: float = 2.0


@dataclass(frozen=True)
class ReverseKlTerm(_Term):
    """The divergence the other way round, of the student from the teacher: it is drawn to the likeliest answers."""

    name: Literal["reverse_kl"]
    temperature: float = 1.0


@dataclass(frozen=True)
class JsdTerm(_Term):
    """Generalised Jensen-Shannon divergence: between both, at β."""

    name: Literal["jsd"]
    temperature: float = 1.0
    beta: float = 0.5


@dataclass(frozen=True)
class SkewedKlTerm(_Term):
    """Divergence from a mixture of both distributions, which is never far off (DistiLLM)."""

    name: Literal["skewed_kl"]
    temperature: float = 1.0
    skew: float = 0.1
    """Share in the mixture of the distribution that is compared with it: the teacher's, or, in ``reverse``, the
    student's."""
    reverse: bool = False


@dataclass(frozen=True)
class DecoupledKlTerm(_Term):
    """Hinton's divergence in two parts, each with a weight of its own (DKD)."""

    name: Literal["dkd"]
    temperature: float = 2.0
    alpha: float = 1.0
    """Weight of the teacher's likeliest class against all others together."""
    beta: float = 2.0
    """Weight of the others among themselves."""


@dataclass(frozen=True)
class MseTerm(_Term):
    """Mean squared error between logits."""

    name: Literal["mse"]
    growth: Points = ()
    """Factors of the teacher's logits (annealing)."""


@dataclass(frozen=True)
class CosineTerm(_Term):
    """One minus the cosine between the student's and the teacher's vectors."""

    name: Literal["cosine"]


@dataclass(frozen=True)
class HiddenTerm(_Term):
    """Hidden states of layers, at each token. Where sizes differ, a learnt projection stands between them."""

    name: Literal["hidden"]
    distance: Literal["mse", "cosine", "cka"] = "mse"
    layers: Layers = ()


@dataclass(frozen=True)
class ClsTerm(_Term):
    """The first token's hidden states, each of length 1 (PKD). Without ``layers``, of all but the last."""

    name: Literal["cls"]
    layers: Layers = ()


@dataclass(frozen=True)
class AttentionTerm(_Term):
    """What each head looks at: its scores before the softmax (TinyBERT), or its weights behind it (MiniLM)."""

    name: Literal["attention"]
    compared: Literal["scores", "weights"] = "scores"
    layers: Layers = ()


@dataclass(frozen=True)
class RelationsTerm(_Term):
    """How queries, keys and values of all tokens stand to one another (MiniLM, MiniLMv2): sizes may differ."""

    name: Literal["relations"]
    of: tuple[Literal["queries", "keys", "values"], ...] = ("queries", "keys", "values")
    heads: int | None = None
    """Parts that the vectors are cut into, the same number for both. None: the teacher's heads."""
    layers: Layers = ((-1, -1),)


InsideTerm = HiddenTerm | ClsTerm | AttentionTerm | RelationsTerm
"""Read what happens inside both models, on the same tokens."""
Divergence = KlTerm | ReverseKlTerm | JsdTerm | SkewedKlTerm | DecoupledKlTerm
"""Compare two distributions over classes."""
Term = (
    HardTerm
    | KlTerm
    | ReverseKlTerm
    | JsdTerm
    | SkewedKlTerm
    | DecoupledKlTerm
    | MseTerm
    | CosineTerm
    | HiddenTerm
    | ClsTerm
    | AttentionTerm
    | RelationsTerm
)
