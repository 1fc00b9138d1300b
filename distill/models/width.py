"""A smaller model of the teacher's class with fewer attention heads, and a hidden size that is smaller with them.

Shape suffixes: K layers, H heads, D hidden size.
"""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from distill.config import LayersStudent
from distill.errors import UserError
from distill.models.narrowing import feed_forwards
from distill.models.projections import projections_of
from distill.models.students import layers_of

MEND = "its width has to stay as it is: give width_share=1, and prune to no share of parameters or multiplications"


@dataclass(frozen=True)
class Attention:
    """The linear layers of a layer's attention."""

    into: tuple[nn.Linear, ...]
    """From states to queries, keys and values, head by head."""
    out: nn.Linear
    """From what the heads found back to states."""


def attentions(model: PreTrainedModel) -> list[Attention]:
    """[K], of each layer. Raises UserError where it is not one attention of plain linear layers of D numbers."""
    size = int(model.config.hidden_size)
    found = []
    for layer in layers_of(model):
        own = projections_of(layer)
        known = {id(linear) for linears in own for linear in linears}
        square = [m for m in layer.modules() if isinstance(m, nn.Linear) and m.in_features == size == m.out_features]
        out = [linear for linear in square if id(linear) not in known]
        if len(own) != 1 or len(out) != 1 or len(square) != 4:
            raise UserError(f"the attention heads of {type(model).__name__} cannot be told apart by its layers; {MEND}")
        found.append(Attention(tuple(own[0]), out[0]))
    return found


def kept_heads(share: float, heads: int) -> int:
    """How many stay."""
    return max(1, round(share * heads))


def keep_width(
    model: PreTrainedModel, importance_KH: NDArray[np.float32], importance_D: NDArray[np.float32], share: float
) -> PreTrainedModel:
    """A model of the same class with this share of the heads of each layer and of the numbers of a state, those that
    matter most; a head is as large as before, and every layer keeps the same numbers of a state.

    Both go together, since transformers' classes compute the size of a head from D and H. Raises UserError for a class
    that knows other sizes which follow from them.
    """
    heads = kept_heads(share, importance_KH.shape[1])
    head_size = len(importance_D) // importance_KH.shape[1]
    settings: Any = copy.deepcopy(model.config)
    if getattr(settings, "embedding_size", None) == settings.hidden_size:  # a table that is not factorised
        settings.embedding_size = heads * head_size
    settings.num_attention_heads, settings.hidden_size = heads, heads * head_size
    narrow = type(model)(settings)
    states_D = most_important(importance_D, heads * head_size)
    cut: dict[tuple[int, int], Tensor] = {}  # by parameter and axis
    for attention, importance_H in zip(attentions(model), importance_KH, strict=True):
        kept_H = most_important(importance_H, heads)
        kept_D = (kept_H[:, None] * head_size + torch.arange(head_size)).flatten()
        cut |= {(id(p), 0): kept_D for linear in attention.into for p in linear.parameters()}
        cut[id(attention.out.weight), 1] = kept_D
    old = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers())
    weights = {}
    for name, new in narrow.state_dict().items():
        tensor = old[name]
        for axis, (before, after) in enumerate(zip(tensor.shape, new.shape, strict=True)):
            if before == after:
                continue
            times, rest = divmod(before, len(importance_D))  # several states side by side, as of a pair
            if rest or after != times * len(states_D):
                raise UserError(
                    f"{type(model).__name__} has {name} of {list(tensor.shape)} numbers, which are not those of a "
                    f"state; {MEND}"
                )
            own_D = cut.get((id(old[name]), axis), states_D)
            kept = torch.cat([own_D + time * len(importance_D) for time in range(times)])
            tensor = tensor.index_select(axis, kept.to(tensor.device))
        weights[name] = tensor.detach().clone()
    narrow.load_state_dict(weights)
    return narrow.to(device=model.device, dtype=model.dtype).train(model.training)


def check_narrowed(config: LayersStudent, model: PreTrainedModel) -> None:
    """Raises UserError where a student that is narrower than its teacher cannot be made, before anything is trained."""
    if config.width_share < 1:
        sizes: Any = model.config
        importance_KH = np.zeros((len(attentions(model)), sizes.num_attention_heads), np.float32)
        model = keep_width(model, importance_KH, np.zeros(sizes.hidden_size, np.float32), config.width_share)
    if config.feed_forward_share < 1:
        feed_forwards(model)


def most_important(importance_N: NDArray[np.float32], count: int) -> Tensor:
    """[count], the places of the largest, in order."""
    return torch.from_numpy(np.sort(np.argsort(-importance_N, kind="stable")[:count]))
