"""What a model writes, many texts together: torch's side of :mod:`distill.runtime.generation`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from distill.progress import track
from distill.runtime.forward import batches_by_tokens
from distill.runtime.generation import BEAMS
from distill.text import Encoded, Reading, pad

TOKENS = 2048
"""Padded tokens of the sources of a batch."""


@torch.inference_mode()
def write_texts(
    model: nn.Module, reading: Reading, sources: Sequence[Encoded], beams: int = BEAMS, what: str = ""
) -> list[str]:
    """What an encoder-decoder writes from each source by beam search, in the order given; as many tokens at most as it
    reads."""
    written = [""] * len(sources)
    lengths = [len(e.input_ids) for e in sources]
    batches = batches_by_tokens([1] * len(sources), lengths, TOKENS)
    device = next(model.parameters()).device
    writer: Any = model.eval()
    for rows in track(batches, what) if what else batches:
        inputs = pad([sources[row] for row in rows], reading.pad_id)
        ids = writer.generate(
            input_ids=torch.from_numpy(inputs["input_ids"]).to(device),
            attention_mask=torch.from_numpy(inputs["attention_mask"]).to(device),
            num_beams=beams,
            do_sample=False,
            max_length=reading.max_length,
        )
        for row, text in zip(rows, reading.tokenizer.decode_batch(ids.tolist()), strict=True):
            written[row] = text.strip()
    return written
