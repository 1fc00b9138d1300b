"""From what a model returns to the one tensor that a task reads, the same in training, parity and export."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distill.errors import UserError
from distill.models.loading import takes_types
from distill.models.pooling import POOLINGS
from distill.runtime.forward import ALONE, Forward, in_order, respond
from distill.tasks.task import Logits, Task
from distill.text import Encoded, Reading, rows_of
from distill.text.encoding import Ids

COMPARED_TEXTS = 8
"""How many texts are answered alone and then in one batch."""
SAME = 1e-3
"""Logits that differ by no more than this, and by no more than this share of their size, are the same."""


def answer(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    """What the model says of a padded batch, as :func:`answer_of` reads it."""
    return answer_of(model(**model_inputs(model, inputs)), inputs["attention_mask"], pooling_of(model))


def model_inputs(model: nn.Module, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Token types only for a model that is given them; the target for one that writes it."""
    if "target_ids" in inputs:  # it is padded behind, where no token before looks
        given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        return {**given, "decoder_input_ids": inputs["target_ids"]}
    if takes_types(model):
        return inputs
    return {name: tensor for name, tensor in inputs.items() if name != "token_type_ids"}


def answer_of(output: Any, mask_RL: Tensor, pooling: str = "mean") -> Tensor:
    """Logits [R, C] or [R, L, C]; for spans start and end [R, L, 2]; for a bare encoder sentence embeddings [R, D]."""
    if getattr(output, "logits", None) is not None:
        logits: Tensor = output.logits
        return logits
    if getattr(output, "start_logits", None) is not None:
        return torch.stack([output.start_logits, output.end_logits], dim=-1)
    return sentence_embedding(output.last_hidden_state, mask_RL, pooling)


def named_output(model: nn.Module, output: Any, mask_RL: Tensor, name: str) -> Tensor:
    """The output of the task's graph that has this name, of what the model returned."""
    if name == "sentence_embedding":
        return sentence_embedding(output.last_hidden_state, mask_RL, pooling_of(model))
    found: Tensor = getattr(output, name)
    return found


def pooling_of(model: nn.Module) -> str:
    """How the states of a bare encoder become one vector: one of :data:`POOLINGS`, as its configuration says."""
    return str(getattr(getattr(model, "config", None), "sentence_pooling", "mean"))


def sentence_embedding(x_RLD: Tensor, mask_RL: Tensor, pooling: str) -> Tensor:
    """[R, L, D] to [R, D]: one vector for all real tokens, of length 1 (Reimers and Gurevych 2019, section 3)."""
    return torch.nn.functional.normalize(POOLINGS[pooling](x_RLD, mask_RL), dim=-1)


TOP = 32
"""Tokens whose probabilities are kept of a soft label in language modelling."""

Kept = Callable[[Tensor, Tensor], Tensor]
"""What is kept of the logits [R, L, V] for rows of ids [R, L]: [R, L, C]."""


def most_likely(logits_RLV: Tensor, ids_RL: Tensor) -> Tensor:
    """[R, L, 2k + 1]: the k most likely tokens, their log probabilities, and that of all others together; k is
    :data:`TOP`, or V where that is less. 260 bytes a token."""
    logs = logits_RLV.log_softmax(-1)
    kept, ids = logs.topk(min(TOP, logs.shape[-1]), dim=-1)
    rest = (1 - kept.double().exp().sum(-1, keepdim=True)).clamp(min=1e-12).log()
    return torch.cat([ids.float(), kept, rest.float()], dim=-1)


def outcome(logits_RLV: Tensor, ids_RL: Tensor) -> Tensor:
    """[R, L, 3], as :func:`distill.tasks.language_modelling.outcome`."""
    following = ids_RL.roll(-1, dims=1).unsqueeze(-1)
    log_p = logits_RLV.gather(-1, following) - logits_RLV.logsumexp(-1, keepdim=True)
    return torch.cat([log_p, logits_RLV.argmax(-1, keepdim=True).float(), following.float()], dim=-1)


def forward_of(
    model: nn.Module,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    kept: Kept | None = None,
) -> Forward:
    """A model as :func:`distill.runtime.respond` runs it: padded arrays to logits of float32, or what is ``kept`` of
    them, without gradients.

    It runs where its weights are, within ``autocast``, and as it is: the caller puts it into evaluation mode.
    """
    device = next(model.parameters()).device

    def forward(arrays: dict[str, Ids]) -> Logits:
        inputs = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        with torch.inference_mode(), autocast():
            found = answer(model, inputs).float()
            if kept is not None:
                found = kept(found, inputs.get("target_ids", inputs["input_ids"]))
        logits: Logits = found.cpu().numpy()
        return logits

    return forward


def fault_of_padding(model: nn.Module, reading: Reading, task: Task, encoded: Sequence[Encoded]) -> str:
    """Why a model cannot be asked about several texts at once, in words; empty where it can.

    Some texts, from the shortest to the longest, are answered each by itself and then in one batch, where they are
    padded: a model may look for another padding id, or divide a batch by its length. Raises UserError where it answers
    none at all, or with NaN.
    """
    if not encoded:
        return ""
    lengths = [max(len(row.input_ids) for row in rows_of([one])) for one in encoded]
    order = np.argsort(lengths, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, COMPARED_TEXTS).astype(int))]
    few = [encoded[int(i)] for i in chosen]
    forward = forward_of(model.eval(), kept=outcome if task.writes else None)
    what = type(model).__name__
    try:
        alone = in_order(respond(forward, reading, task, few, ALONE))
    except Exception as error:
        raise UserError(f"{what} does not answer a text: {error}") from error
    check_finite(alone, few, task, what)
    try:
        together = in_order(respond(forward, reading, task, few, len(rows_of(few)) * max(lengths)))
    except Exception as error:
        return f"{what} does not answer several texts at once: {error}"
    if all(np.allclose(a, b, SAME, SAME, equal_nan=True) for a, b in zip(alone, together, strict=True)):
        return ""
    apart = max(float(np.abs(np.nan_to_num(a - b)).max(initial=0.0)) for a, b in zip(alone, together, strict=True))
    return f"{what} answers otherwise where a text is padded to the length of another (logits differ by {apart:.2g})"


def check_finite(units: Sequence[Logits], encoded: Sequence[Encoded], task: Task, what: str) -> None:
    """Raises UserError where a model's answer is not a number. A word without a piece has none by right."""
    for unit, one in zip(units, encoded, strict=True):
        said = unit[one.word_starts >= 0] if task.words else unit
        if not np.isfinite(said).all():
            raise UserError(
                f"{what} answers with NaN or infinity: its weights are damaged, or too large for the precision; give "
                "another checkpoint, or set precision=fp32"
            )
