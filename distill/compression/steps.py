"""The steps of a recipe's compression, one like the other."""

from contextlib import AbstractContextManager, nullcontext

from torch import nn
from transformers import PreTrainedModel

from distill.compression.evidence import Evidence
from distill.compression.factors import factorise
from distill.compression.pruning import prune
from distill.compression.rounding import rounded
from distill.config import CompressionStep, LowRankStep, PruneStep, QuantizationAwareStep

__all__ = ["Evidence", "rounding", "take"]


def take(step: CompressionStep, model: PreTrainedModel, seen: Evidence | None) -> tuple[PreTrainedModel, str]:
    """(the model after the step, what was done in words); the model given may be changed.

    Without ``seen`` the result is a model of the same sizes with other weights, which shows whether there can be one.
    Raises UserError where there cannot.
    """
    if isinstance(step, PruneStep):
        return prune(model, step, seen)
    if isinstance(step, LowRankStep):
        return factorise(model, step, seen)
    return model, "embeddings, weights and activations rounded to int8 while it is trained on"


def rounding(model: nn.Module, step: CompressionStep) -> AbstractContextManager[None]:
    """In which the model computes, and is trained, as after this step."""
    return rounded(model) if isinstance(step, QuantizationAwareStep) else nullcontext()
