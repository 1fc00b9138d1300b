"""The terms a student minimises. Another term is one function here, one dataclass in the schema, one YAML file."""

from distill.objectives.labels import binary_cross_entropy, binary_pseudo_labels, cross_entropy, pseudo_labels
from distill.objectives.logits import (
    NOWHERE,
    binary_kl_divergence,
    cosine_distance,
    kl_divergence,
    mean_squared_error,
)
from distill.objectives.objective import PSEUDO, Objective, WeightedTerm

__all__ = [
    "NOWHERE",
    "PSEUDO",
    "Objective",
    "WeightedTerm",
    "binary_cross_entropy",
    "binary_kl_divergence",
    "binary_pseudo_labels",
    "cosine_distance",
    "cross_entropy",
    "kl_divergence",
    "mean_squared_error",
    "pseudo_labels",
]
