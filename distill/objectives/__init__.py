"""The terms a student minimises. Another term is one function here, one dataclass in the schema, one YAML file."""

from distill.objectives.labels import cross_entropy, pseudo_labels
from distill.objectives.logits import kl_divergence, mean_squared_error
from distill.objectives.objective import Objective, WeightedTerm

__all__ = ["Objective", "WeightedTerm", "cross_entropy", "kl_divergence", "mean_squared_error", "pseudo_labels"]
