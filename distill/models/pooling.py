"""From the states of tokens to one vector for a text, and for a pair of texts that are read apart.

Shape suffixes: B batch, L length, M length of the longer text of a pair, D size of a state.
"""

import torch
from torch import Tensor


def masked_mean(x_BLD: Tensor, mask_BL: Tensor) -> Tensor:
    """[B, L, D] to [B, D]: the mean over real tokens."""
    weight_BL1 = mask_BL.to(x_BLD.dtype).unsqueeze(-1)
    return (x_BLD * weight_BL1).sum(1) / weight_BL1.sum(1).clamp(min=1.0)


def masked_max(x_BLD: Tensor, mask_BL: Tensor) -> Tensor:
    """[B, L, D] to [B, D]: the largest value over real tokens, in each dimension."""
    return x_BLD.masked_fill(mask_BL.unsqueeze(-1) == 0, -1e4).amax(1)


def first_token(x_BLD: Tensor, mask_BL: Tensor) -> Tensor:
    """[B, L, D] to [B, D]: the state of the first token, such as ``[CLS]``."""
    return x_BLD[:, 0]


POOLINGS = {"mean": masked_mean, "cls": first_token, "max": masked_max}
"""By the names that sentence-transformers has for them."""


def read_apart(
    input_ids_BL: Tensor, mask_BL: Tensor, token_type_ids_BL: Tensor | None, opening: int, pad_id: int
) -> tuple[Tensor, Tensor]:
    """Pairs in one row each, as two rows each: ids and mask [2B, M], the first texts and then the second ones.

    The token types tell where the second text begins; where none are given it is empty. The first ``opening`` tokens of
    the pair, such as ``[CLS]``, stand before the second text too, so that the same text twice is the same row twice. A
    row of no token reads one padding token, so that there is something to pool over.
    """
    if token_type_ids_BL is None:
        token_type_ids_BL = torch.zeros_like(input_ids_BL)
    second_B1 = (mask_BL * token_type_ids_BL).sum(1, keepdim=True)
    first_B1 = mask_BL.sum(1, keepdim=True) - second_B1
    length_2B1 = torch.cat([first_B1, second_B1 + opening])
    place_1M = torch.arange(input_ids_BL.shape[1], device=input_ids_BL.device)[None, : length_2B1.max()]
    second_place_BM = torch.where(place_1M < opening, place_1M, place_1M - opening + first_B1)
    place_2BM = torch.cat([place_1M.expand_as(second_place_BM), second_place_BM])
    ids_2BM = input_ids_BL.repeat(2, 1).gather(1, place_2BM.clamp(max=input_ids_BL.shape[1] - 1))
    ids_2BM = ids_2BM.masked_fill(place_1M >= length_2B1, pad_id)
    return ids_2BM, (place_1M < length_2B1.clamp(min=1)).to(mask_BL.dtype)


def compared(x_2BD: Tensor) -> Tensor:
    """The vectors of two texts, [2B, D] as :func:`read_apart` orders them, to ``u, v, |u - v|, u * v``, [B, 4D].

    Conneau et al. 2017 (InferSent), section 3.1; for students of BERT Tang et al. 2019, section 3.1.
    """
    u_BD, v_BD = x_2BD.chunk(2)
    return torch.cat([u_BD, v_BD, (u_BD - v_BD).abs(), u_BD * v_BD], dim=-1)
