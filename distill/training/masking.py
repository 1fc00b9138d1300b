"""Masked language modelling: which tokens are asked for, and what stands in their place."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Masked:
    """A padded batch with tokens to be found."""

    input_ids: Ids
    """[B, L]"""
    asked: NDArray[np.bool_]
    """[B, L], the tokens whose original is asked for"""


def mask_tokens(
    input_ids: Ids,
    maskable: NDArray[np.bool_],
    share: float,
    mask_id: int,
    vocabulary: int,
    random: np.random.Generator,
) -> Masked:
    """BERT's rule (Devlin et al. 2019, section 3.1): of the tokens asked for, 80 % become the mask token, 10 % a random
    one, 10 % stay.

    ``input_ids`` [B, L]; ``maskable`` [B, L] is False at special tokens and padding. In each row with a maskable token
    ``share`` of them are asked for, at least one.
    """
    score = np.where(maskable, random.random(input_ids.shape), np.inf)
    wanted = np.ceil(share * maskable.sum(axis=1)).astype(np.int64)
    rank = score.argsort(axis=1).argsort(axis=1)
    asked = (rank < wanted[:, None]) & maskable
    dice = random.random(input_ids.shape)
    ids = np.where(asked & (dice < 0.8), mask_id, input_ids)
    ids = np.where(asked & (dice >= 0.8) & (dice < 0.9), random.integers(vocabulary, size=input_ids.shape), ids)
    return Masked(ids, asked)
