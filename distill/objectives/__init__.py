"""The terms a student minimises. Another term is one function here, one dataclass in the schema, one YAML file."""

from distill.objectives.labels import binary_cross_entropy, binary_pseudo_labels, cross_entropy, pseudo_labels
from distill.objectives.logits import (
    NOWHERE,
    binary_kl_divergence,
    cosine_distance,
    decoupled_kl_divergence,
    jensen_shannon_divergence,
    kl_divergence,
    mean_squared_error,
    reverse_kl_divergence,
    skewed_kl_divergence,
)
from distill.objectives.objective import PSEUDO, Objective
from distill.objectives.terms import OnHidden, OnLabels, OnTeacher, Seen, Shape, Term

__all__ = [
    "NOWHERE",
    "PSEUDO",
    "Objective",
    "OnHidden",
    "OnLabels",
    "OnTeacher",
    "Seen",
    "Shape",
    "Term",
    "binary_cross_entropy",
    "binary_kl_divergence",
    "binary_pseudo_labels",
    "cosine_distance",
    "cross_entropy",
    "decoupled_kl_divergence",
    "jensen_shannon_divergence",
    "kl_divergence",
    "mean_squared_error",
    "pseudo_labels",
    "reverse_kl_divergence",
    "skewed_kl_divergence",
]
