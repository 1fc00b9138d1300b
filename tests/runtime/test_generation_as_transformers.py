"""Greedy and beam search write what transformers' ``generate`` writes, token by token, through the ONNX graphs."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny_writers import CAUSAL, OWN, SEQ2SEQ, tiny_writer

from distill.config.schema import ExportConfig
from distill.export.onnx_export import export_graphs
from distill.models.graphs import graphs_of
from distill.runtime import GenerationSettings, Graphs, generate

PROMPTS = [[5], [17, 40, 3, 22, 9, 31, 31], [8, 50, 12]]
MANY_ENDS = tuple(range(2, 60, 5))
"""A random model hardly ever writes a single one."""
CASES: list[dict[str, Any]] = [
    {"end_ids": (2,)},
    {"end_ids": MANY_ENDS, "repetition_penalty": 1.4},
    {"end_ids": (2,), "beams": 2},
    {"end_ids": MANY_ENDS, "beams": 4},
    {"end_ids": MANY_ENDS, "beams": 3, "length_penalty": 0.0},
    {"end_ids": MANY_ENDS, "beams": 4, "length_penalty": 2.0, "early_stopping": True},
    {"end_ids": MANY_ENDS, "beams": 3, "length_penalty": -1.0},
    {"end_ids": MANY_ENDS[:2], "beams": 5, "length_penalty": 0.6, "early_stopping": "never"},
    {"end_ids": MANY_ENDS[:4], "beams": 3, "repetition_penalty": 1.3, "max_new_tokens": 15},
]


def written_by_transformers(model: Any, prompt: list[int], settings: GenerationSettings) -> tuple[int, ...]:
    ids = torch.tensor([prompt])
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        num_beams=settings.beams,
        max_new_tokens=settings.max_new_tokens,
        length_penalty=settings.length_penalty,
        early_stopping=settings.early_stopping,
        repetition_penalty=settings.repetition_penalty,
        eos_token_id=list(settings.end_ids),
        pad_token_id=0,
    )
    new = output[0, 1 if model.config.is_encoder_decoder else len(prompt) :].tolist()
    ends = [place for place, token in enumerate(new) if token in settings.end_ids]
    return tuple(new[: ends[0] + 1] if ends else new)


@pytest.mark.parametrize("family", [*CAUSAL, *SEQ2SEQ, *OWN])
def test_texts_are_those_of_transformers(family: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    model = tiny_writer(family)
    graphs = Graphs(export_graphs(graphs_of(model), tmp_path_factory.mktemp(family), ExportConfig()), 1)
    prompts = [np.array(prompt) for prompt in PROMPTS]
    finishes = set()
    for case in CASES:
        settings = GenerationSettings(**{"max_new_tokens": 10, "start_id": 0, **case})
        found = {generated.row: generated for generated in generate(graphs, prompts, settings)}
        finishes |= {generated.finish for generated in found.values()}
        for row, prompt in enumerate(PROMPTS):
            assert found[row].ids == written_by_transformers(model, prompt, settings), (case, prompt)
    assert finishes == {"end", "length"}
