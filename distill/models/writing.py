"""What a model writes, many texts together: torch's side of :mod:`distill.runtime.generation`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distill.progress import track
from distill.runtime.forward import batches_by_tokens
from distill.runtime.generation import BEAMS
from distill.text import Encoded, Reading, pad
from distill.text.decoding import REPLACEMENT
from distill.text.encoding import Ids

TOKENS = 2048
"""Padded tokens of the sources, or of the texts, of a batch."""


@torch.inference_mode()
def write_texts(
    model: nn.Module,
    reading: Reading,
    sources: Sequence[Encoded],
    beams: int = BEAMS,
    what: str = "",
    tokens: int = TOKENS,
) -> list[str]:
    """What an encoder-decoder writes from each source by beam search, in the order given; as many tokens at most as it
    reads. A batch has at most so many padded ``tokens`` of the sources: :data:`distill.runtime.forward.ALONE` where
    what it writes depends on padding."""
    written = [""] * len(sources)
    lengths = [len(e.input_ids) for e in sources]
    batches = batches_by_tokens([1] * len(sources), lengths, tokens)
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


@torch.inference_mode()
def write_on(model: nn.Module, reading: Reading, texts: Sequence[Ids]) -> list[str]:
    """Texts, each as :meth:`Reading.prompt` gives it, with what a language model writes in the place of their ends.

    All keep as many tokens as half of the shortest has, and become no longer than they were. What the model cannot read
    at once it goes on with from the last half of what it reads. It samples at temperature 1: the likeliest text of a
    language model repeats itself (Holtzman et al. 2020), and a student that learns from samples learns the teacher's
    distribution.
    """
    begin = max(1, min(reading.max_length, *map(len, texts)) // 2)
    length = max(map(len, texts))
    ids = torch.from_numpy(np.stack([text[:begin] for text in texts])).to(next(model.parameters()).device)
    model.eval()
    while ids.shape[1] < length:
        context = ids if ids.shape[1] < reading.max_length else ids[:, -(reading.max_length // 2) :]
        written = sample(model, context, min(reading.max_length, context.shape[1] + length - ids.shape[1]))
        ids = torch.cat([ids, written[:, context.shape[1] :]], dim=1)
    found = []
    for text, row in zip(texts, ids.tolist(), strict=True):
        own = row[1 : len(text)]  # behind the token before a text
        end = own.index(reading.boundary) if reading.boundary in own else len(own)
        found.append(reading.tokenizer.decode(own[:end]).rstrip(REPLACEMENT).strip())
    return found


def sample(model: Any, ids: Tensor, length: int) -> Tensor:
    """[R, B] ids to [R, L]: each next token drawn from the model's distribution, an end of text like any other."""
    written: Tensor = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=True,
        top_k=0,
        top_p=1.0,
        temperature=1.0,
        max_length=length,
        min_length=length,
        eos_token_id=None,
        pad_token_id=0,
    )
    return written
