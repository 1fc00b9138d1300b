"""From what a model returns to the one tensor that a task reads, the same in training, parity and export."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from distill.models.loading import takes_types
from distill.models.pooling import masked_mean
from distill.runtime.forward import Forward
from distill.tasks.task import Logits
from distill.text.encoding import Ids


def answer_of(output: Any, mask_RL: Tensor) -> Tensor:
    """Logits [R, C] or [R, L, C]; for spans start and end [R, L, 2]; for a bare encoder sentence embeddings [R, D]."""
    if getattr(output, "logits", None) is not None:
        logits: Tensor = output.logits
        return logits
    if getattr(output, "start_logits", None) is not None:
        return torch.stack([output.start_logits, output.end_logits], dim=-1)
    return sentence_embedding(output.last_hidden_state, mask_RL)


def sentence_embedding(x_RLD: Tensor, mask_RL: Tensor) -> Tensor:
    """[R, L, D] to [R, D]: the mean over real tokens, of length 1 (Reimers and Gurevych 2019, mean pooling)."""
    return torch.nn.functional.normalize(masked_mean(x_RLD, mask_RL), dim=-1)


def forward_of(model: nn.Module, autocast: Callable[[], AbstractContextManager[Any]] = nullcontext) -> Forward:
    """A model as :func:`distill.runtime.respond` runs it: padded arrays to logits of float32, without gradients.

    It runs where its weights are, within ``autocast``, and as it is: the caller puts it into evaluation mode.
    """
    device = next(model.parameters()).device
    left_out = set() if takes_types(model) else {"token_type_ids"}

    def forward(arrays: dict[str, Ids]) -> Logits:
        inputs = {name: torch.from_numpy(array).to(device) for name, array in arrays.items() if name not in left_out}
        with torch.inference_mode(), autocast():
            answer = answer_of(model(**inputs), inputs["attention_mask"])
        logits: Logits = answer.float().cpu().numpy()
        return logits

    return forward
