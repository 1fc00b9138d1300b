"""What a model looks at: the weights of its attention, whole and on one text.

Shape suffixes: B batch, H heads, L length, S length of what is looked at.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from distill.models.answers import model_inputs
from distill.models.writing import write_texts
from distill.results import AttentionMap
from distill.tasks import Task
from distill.text import Example, Reading, pad
from distill.text.decoding import REPLACEMENT

MOST_TOKENS = 40
"""Of a text that are shown."""


def attention_weights(model: Any, inputs: dict[str, Tensor]) -> list[Tensor]:
    """[B, H, L, S] of each layer; empty for a model without attention.

    Of an encoder-decoder those are the weights that the target gives to the source.
    """
    if getattr(model.config, "_attn_implementation", None) not in (None, "eager"):
        model.set_attn_implementation("eager")  # fused kernels keep the weights to themselves
    output = model(**model_inputs(model, inputs), output_attentions=True)
    name = "cross_attentions" if model.config.is_encoder_decoder else "attentions"
    return [weights for weights in getattr(output, name, None) or () if weights is not None]


@torch.inference_mode()
def attention_maps(model: Any, reading: Reading, task: Task, example: Example) -> tuple[AttentionMap, ...]:
    """Where each token of a text looks, the mean over the heads of each layer; a text that is long is cut.

    An encoder-decoder writes the text's target, and each token that it writes looks at the source.
    """
    encoded = replace(task.encode(reading, [Example(example.text, example.pair)])[0], more=())
    if model.config.is_encoder_decoder:
        (written,) = write_texts(model, reading, [encoded])
        encoded = replace(encoded, target_ids=reading.encode_targets([written])[0])
    inputs = {name: torch.from_numpy(ids) for name, ids in pad([encoded], reading.pad_id).items()}
    columns = tokens_of(reading, encoded.input_ids)
    rows = tokens_of(reading, encoded.target_ids[1:]) if model.config.is_encoder_decoder else columns
    return tuple(
        AttentionMap(
            f"layer {number}",
            rows[:MOST_TOKENS],
            columns[:MOST_TOKENS],
            tuple(map(tuple, weights_BHLS[0].mean(0)[: len(rows), :MOST_TOKENS][:MOST_TOKENS].float().tolist())),
        )
        for number, weights_BHLS in enumerate(attention_weights(model, inputs), start=1)
        if weights_BHLS.shape[-1] == len(columns)  # else two texts are read apart
    )


def tokens_of(reading: Reading, ids: Any) -> tuple[str, ...]:
    """What each says; as the vocabulary writes it where that is a blank, or a part of a character."""
    found = []
    for token in map(int, ids):
        said = reading.tokenizer.decode([token], skip_special_tokens=False).strip()
        found.append(said if said and REPLACEMENT not in said else str(reading.tokenizer.id_to_token(token)))
    return tuple(found)
