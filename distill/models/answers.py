"""From what a model returns to the one tensor that a task reads, the same in training, parity and export."""

from typing import Any

import torch
from torch import Tensor

from distill.models.pooling import masked_mean


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
