"""Matrices of a trained model as products of two thinner ones.

Shape suffixes: V vocabulary, D size of embeddings, I and O what a linear layer takes and gives, R rank.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from distill.compression.evidence import Evidence
from distill.config import LowRankStep
from distill.errors import UserError
from distill.models.answers import answer
from distill.models.low_rank import feed_forward_matrices, low_rank_like
from distill.models.students import layers_of
from distill.models.word_embeddings import plain_embeddings
from distill.training.batching import each_tensor
from distill.training.importance import batches_of

UNSEEN = 1e-6
"""Of the mean square of what a layer takes: how much every direction counts that no text shows."""


@torch.no_grad()
def factorise(model: PreTrainedModel, step: LowRankStep, seen: Evidence | None) -> tuple[PreTrainedModel, str]:
    """(the model with matrices in two factors, their ranks in words).

    Of all matrices of a rank, the factors give the one whose outputs on real texts are nearest to those of the matrix,
    in squares (:func:`factors`). Raises UserError where there are no such matrices, or no smaller ones.
    """
    matrices, table = feed_forward_matrices(model), plain_embeddings(model)
    ranks = [
        rank_of(step.feed_forward_share, matrices[0][0].weight, "feed_forward_share"),
        rank_of(step.embedding_share, table.weight, "embedding_share"),
    ]
    places: list[Any] = [linear for linear, _, _ in matrices] if ranks[0] else []
    roots = roots_of(model, [*places, table] if ranks[1] else places, seen)
    thin = low_rank_like(model, *ranks)
    layers = layers_of(thin)
    for linear, layer, name in matrices if ranks[0] else []:
        place: Any = layers[layer].get_submodule(name)
        place.out.weight.copy_(found := factors(linear.weight, roots[linear], ranks[0]))
        place.into.weight.copy_(found.T @ linear.weight)
        if linear.bias is not None:
            place.out.bias.copy_(linear.bias)
    if ranks[1]:
        place = thin.get_input_embeddings()
        place.widen.weight.copy_(found := factors(table.weight.T, roots[table], ranks[1]))
        place.table.weight.copy_(table.weight @ found)
    words = ("feed-forward matrices of rank", "word embeddings of rank")
    return thin, "; ".join(f"{what} {rank:,}" for what, rank in zip(words, ranks, strict=True) if rank)


def rank_of(share: float, matrix: Tensor, key: str) -> int:
    """The rank of two factors that have this share of the numbers of a matrix at most; 0 where it stays one. Raises
    UserError where there is none."""
    rows, columns = matrix.shape
    rank = int(share * rows * columns / (rows + columns))
    if share < 1 and rank < 1:
        raise UserError(
            f"{key} is {share:g}, but two factors of a matrix of {rows:,} x {columns:,} have {rows + columns:,} "
            "numbers at least; give a larger share, or 1 to leave it as it is"
        )
    return rank if share < 1 else 0


def factors(weight_OI: Tensor, root_I: Tensor, rank: int) -> Tensor:
    """[O, R] of length 1 each, at right angles: the directions of what a matrix gives that are largest in squares, of
    which the other factor are the coordinates.

    With C = S Sᵀ the second moments of what it takes, these are the left singular vectors of W S, and their product
    U Uᵀ W has the least E‖Wx - W'x‖² of all matrices of the rank (DRONE, Chen, Yu, Dhillon and Hsieh 2021; with C = 1,
    Eckart and Young 1936). ``root_I`` is S [I, I], or its diagonal [I].
    """
    weight_OI = weight_OI.double()
    weighted_OI = weight_OI * root_I if root_I.ndim == 1 else weight_OI @ root_I
    directions: Tensor = torch.linalg.svd(weighted_OI, full_matrices=False)[0]
    return directions[:, :rank].to(torch.float32)


def roots_of(model: PreTrainedModel, places: list[Any], seen: Evidence | None) -> dict[nn.Module, Tensor]:
    """A root of the second moments of what each linear layer takes over real texts, each read by itself, so that no
    padding counts: [I, I]; for a table of embeddings its diagonal [V], as it takes one token of all.

    Without ``seen`` all directions are alike.
    """
    moments: dict[nn.Module, Tensor] = {}
    for place in places:
        if isinstance(place, nn.Linear) and seen is not None:
            moments[place] = torch.zeros(place.in_features, place.in_features, dtype=torch.float64, device=model.device)
        else:  # of embeddings a row each, of a matrix a column each
            size = len(place.weight) if isinstance(place, nn.Embedding) else place.in_features
            moments[place] = torch.ones(size, dtype=torch.float64, device=model.device)
    if seen is None:
        return moments

    def add(place: Any, given: tuple[Tensor]) -> None:
        if isinstance(place, nn.Embedding):  # a token counts once more than it was seen
            moments[place] += torch.bincount(given[0].flatten(), minlength=place.num_embeddings)
        else:
            x_NI = given[0].flatten(0, -2).double()
            moments[place] += x_NI.T @ x_NI

    hooks = [place.register_forward_pre_hook(add) for place in places]
    model.eval()
    for text in np.concatenate(batches_of(seen.rows)):
        (batch,) = seen.rows.batches(np.array([text]), [np.arange(1)], np.random.default_rng(0), None)
        answer(model, each_tensor(batch.inputs, lambda tensor: tensor.to(model.device)))
    for hook in hooks:
        hook.remove()
    return {place: root_of(moment) for place, moment in moments.items()}


def root_of(moment: Tensor) -> Tensor:
    """[I, I] with its transpose makes the moments, or [V] their diagonal's."""
    if moment.ndim == 1:
        return moment.sqrt()
    unseen = UNSEEN * moment.diagonal().mean().clamp(min=UNSEEN)
    root: Tensor = torch.linalg.cholesky(moment + unseen * torch.eye(len(moment), dtype=moment.dtype).to(moment.device))
    return root
