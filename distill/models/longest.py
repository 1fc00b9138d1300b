"""How long a text a model reads: found out by asking it, since families number positions in ways of their own."""

from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from distill.errors import UserError
from distill.models.checkpoints import UNLIMITED

PROBE = 8
"""Tokens of the text that it is asked about."""


class _Lookups(TorchFunctionMode):
    """Remembers each look-up in a table of embeddings: the ids of the first tokens, and the rows of the table."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[list[int], int]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is functional.embedding:
            ids, table = args[:2]
            self.found.append((ids.flatten()[:PROBE].tolist(), len(table)))
        return func(*args, **(kwargs or {}))


def longest_input(model: PreTrainedModel, ids: int) -> int:
    """Tokens of the longest text, special tokens counted; ``ids`` is the number of ids of its tokenizer."""
    stated = getattr(model.config, "max_position_embeddings", None) or UNLIMITED
    limits = [rows - first for first, rows in position_tables(model, ids)]
    return min(*limits, stated if stated > 0 else UNLIMITED, UNLIMITED)  # XLNet states -1


def first_position(model: PreTrainedModel, ids: int) -> int:
    """The number of a text's first position: 0 but in RoBERTa and its kin, which count from the padding id + 1 on."""
    return max((first for first, _ in position_tables(model, ids)), default=0)


@torch.no_grad()
def position_tables(model: PreTrainedModel, ids: int) -> list[tuple[int, int]]:
    """(number of a text's first position, rows) of each table that has a row for a position.

    Found by a text of one token over and over: word embeddings are then asked for one and the same row, positions for
    one after another. Raises UserError where the model does not answer.
    """
    pad_id = getattr(model.config, "pad_token_id", None)
    text = torch.full((1, PROBE), next(i for i in range(ids - 1, -1, -1) if i != pad_id), device=model.device)
    with _Lookups() as lookups:
        try:
            target = {"decoder_input_ids": text} if getattr(model.config, "is_encoder_decoder", False) else {}
            model(input_ids=text, attention_mask=torch.ones_like(text), **target)
        except Exception as error:
            raise UserError(f"{type(model).__name__} does not answer a text of {PROBE} tokens: {error}") from error
    return [
        (rows_of[0], rows) for rows_of, rows in lookups.found if rows_of == list(range(rows_of[0], rows_of[0] + PROBE))
    ]
