"""A smaller model of the teacher's kind with fewer feed-forward units in each layer.

Shape suffixes: K layers, F feed-forward units.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import PreTrainedModel

from distill.errors import UserError
from distill.models.students import layers_of

SIZE_SETTINGS = ("intermediate_size", "hidden_dim")
"""What configurations call F."""
MEND = (
    "they have to stay as they are: give feed_forward_share=1, and prune to no share of parameters or multiplications"
)


@dataclass(frozen=True)
class FeedForward:
    """The linear layers of a layer's feed-forward."""

    into: tuple[nn.Linear, ...]
    """From states to units: one, or two where units have a gate."""
    out: nn.Linear
    """From units back to states."""


def feed_forwards(model: PreTrainedModel) -> list[FeedForward]:
    """[K], of each layer. Raises UserError where they are no plain linear layers of F units."""
    key = size_setting(model)
    size = int(getattr(model.config, key))
    found = []
    for layer in layers_of(model):
        linear = [m for m in layer.modules() if isinstance(m, nn.Linear)]
        into = tuple(m for m in linear if m.out_features == size != m.in_features)
        out = [m for m in linear if m.in_features == size != m.out_features]
        known = {id(p) for m in (*into, *out) for p in m.parameters()}
        others = [name for name, p in layer.named_parameters() if size in p.shape and id(p) not in known]
        if not into or len(out) != 1 or others:
            raise UserError(
                f"the feed-forward units of {type(model).__name__} cannot be told from other sizes of its layers; "
                f"{MEND}"
            )
        found.append(FeedForward(into, out[0]))
    return found


def size_setting(model: PreTrainedModel) -> str:
    """What the model's configuration calls F."""
    key = next((key for key in SIZE_SETTINGS if isinstance(getattr(model.config, key, None), int)), None)
    if key is None:
        raise UserError(
            f"the configuration of {type(model).__name__} has none of {', '.join(SIZE_SETTINGS)}, so that its "
            f"feed-forward units cannot be counted; {MEND}"
        )
    return key


@torch.no_grad()
def keep_units(model: PreTrainedModel, importance_KF: NDArray[np.float32], share: float) -> None:
    """Keeps this share of the units of each layer, those that matter most, in place.

    What is left out is taken for 0. The model stays one of its class, which loads what ``save_pretrained`` writes.
    """
    count = max(1, round(share * importance_KF.shape[1]))
    for part, importance_F in zip(feed_forwards(model), importance_KF, strict=True):
        kept = torch.from_numpy(np.sort(np.argsort(-importance_F, kind="stable")[:count]))
        for linear in part.into:
            linear.weight = nn.Parameter(linear.weight[kept].clone())
            if linear.bias is not None:
                linear.bias = nn.Parameter(linear.bias[kept].clone())
            linear.out_features = count
        part.out.weight = nn.Parameter(part.out.weight[:, kept].clone())
        part.out.in_features = count
    settings: Any = model.config
    setattr(settings, size_setting(model), count)
