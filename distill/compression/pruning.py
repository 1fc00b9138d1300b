"""Layers, attention heads and feed-forward units left out of a trained model.

Shape suffixes: K layers, F feed-forward units, H attention heads, D hidden size.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from distill.compression.evidence import Evidence
from distill.config import PruneStep
from distill.errors import UserError
from distill.models import keep_units, keep_width, parameter_count, student_from_layers
from distill.models.narrowing import feed_forwards
from distill.models.students import layers_of
from distill.models.width import attentions
from distill.training.importance import Importance, batches_of, importance_of, loss_on


def prune(model: PreTrainedModel, step: PruneStep, seen: Evidence | None) -> tuple[PreTrainedModel, str]:
    """(a smaller model of the same class, what it kept in words); the model given may be changed.

    Layers go first, then heads, hidden size and units of those that are left. Without ``seen`` it is as large, and any
    parts are left: whether it can be made is then known. Raises UserError where it cannot.
    """
    available = model.config.num_hidden_layers
    layers, room = list(range(available)), room_of(model, step)
    if step.layers:
        layers = layers_kept(model, step.layers, seen)
        model = student_from_layers(model, layers).to(model.device).eval()
    given = step.width_share, step.feed_forward_share
    width_share, units_share = given if room is None else shares_within(model, room)
    units, width = units_share < 1, width_share < 1
    matters = nothing_known(model, units, width)
    if seen is not None and (units or width):
        matters = importance_of(model, seen.rows, units, width, signal=None if seen.taught is None else seen.taught[1])
    if width:
        model = keep_width(model, matters.heads_KH, matters.states_D, width_share)
    if units:  # last: as many units as a state has numbers could not be told from them
        keep_units(model, matters.units_KF, units_share)
    words = [f"{len(layers)} of {available} layers ({', '.join(map(str, layers))})"] if step.layers else []
    if width:
        words.append(f"{model.config.num_attention_heads} of {matters.heads_KH.shape[1]} heads a layer")
    if units:
        kept, before = max(1, round(units_share * matters.units_KF.shape[1])), matters.units_KF.shape[1]
        words.append(f"{kept:,} of {before:,} feed-forward units a layer")
    return model, "; ".join(words)


def layers_kept(model: PreTrainedModel, count: int, seen: Evidence | None) -> list[int]:
    """The numbers of the layers that are kept: one after another, that is left out without which the loss is least
    (greedy layer pruning, Peer, Stabinger, Engl and Rodríguez-Sánchez 2022).

    Raises UserError where the model has no more than ``count``.
    """
    kept = list(range(model.config.num_hidden_layers))
    if count >= len(kept):
        raise UserError(f"layers is {count}, but the model has {len(kept)}; give fewer, or 0 for all")
    if seen is None:
        return [round(i * len(kept) / count) for i in range(count)]
    while len(kept) > count:
        without = [[layer for layer in kept if layer != out] for out in kept]
        kept = min(without, key=lambda layers: loss_with(model, layers, seen))
    return kept


@torch.no_grad()
def loss_with(model: PreTrainedModel, layers: list[int], seen: Evidence) -> float:
    """The loss of the model with these layers alone, over the texts that are looked at."""
    loss_of = loss_on(student_from_layers(model, layers).to(model.device).eval(), seen.rows, seen.taught)
    return math.fsum(float(loss_of(texts)[0]) for texts in batches_of(seen.rows))


@dataclass(frozen=True)
class Room:
    """How much of a model may be left."""

    key: str
    """What the step names, of :data:`COUNTS`."""
    share: float
    before: int
    """What the model as it was given has of them."""


def room_of(model: PreTrainedModel, step: PruneStep) -> Room | None:
    """None where a step gives the shares of heads and units themselves."""
    for key, count in COUNTS.items():
        if (share := getattr(step, key)) is not None:
            return Room(key, share, count(model))
    return None


def multiplications(model: PreTrainedModel) -> int:
    """Multiply-accumulate operations that a token takes in the linear layers: one for each number of their matrices.

    Embeddings are looked up, and heads answer once a text. The products of attention, one more for each two tokens and
    number of a state, are left out: they are the fewer, the shorter the texts.
    """
    linear = (m for layer in layers_of(model) for m in layer.modules() if isinstance(m, nn.Linear))
    return sum(one.weight.numel() for one in linear)


COUNTS = {"parameters": parameter_count, "multiplications": multiplications}
"""What a step may name a share of."""


def shares_within(model: PreTrainedModel, room: Room) -> tuple[float, float]:
    """(share of the heads, share of the units) that are kept.

    For each number of heads as many units as there is room for, and of these pairs the one whose shares are nearest to
    each other. Raises UserError where one head and one unit a layer are more than that.
    """
    count, most = COUNTS[room.key], room.share * room.before
    parts, heads, units = feed_forwards(model), int(model.config.num_attention_heads), units_of(model)
    head_size = parts[0].out.out_features // heads
    matrices = sum(len(part.into) + 1 for part in parts)
    biases = sum(linear.bias is not None for part in parts for linear in part.into) * (room.key == "parameters")
    found, least = list[tuple[float, float]](), math.inf
    for kept in range(heads, 0, -1):
        narrow = model if kept == heads else keep_width(model, *unknown_width(model), kept / heads)
        a_unit = matrices * kept * head_size + biases  # its numbers in all layers
        fitting = units - math.ceil(max(0.0, count(narrow) - most) / a_unit)
        least = count(narrow) - (units - 1) * a_unit
        found += [(kept / heads, fitting / units)] if fitting > 0 else []
    if found:
        return min(found, key=lambda both: abs(both[0] - both[1]))
    trim = ", or trim a vocabulary that is whole (student.vocabulary.trim=true)" if room.key == "parameters" else ""
    raise UserError(
        f"{room.key} is {room.share:g}, {most:,.0f} of {room.before:,}, but with one head and one feed-forward unit a "
        f"layer there are {least:,}; give a larger share, leave out layers{trim}"
    )


def nothing_known(model: PreTrainedModel, units: bool, width: bool) -> Importance:
    """An importance by which all parts are alike."""
    units_KF = np.zeros((len(feed_forwards(model)), units_of(model)) if units else (0, 0), np.float32)
    heads_KH, states_D = unknown_width(model) if width else (np.zeros((0, 0), np.float32), np.zeros(0, np.float32))
    return Importance(units_KF, heads_KH, states_D)


def unknown_width(model: PreTrainedModel) -> tuple[Any, Any]:
    """[K, H] and [D], by which all heads and states are alike."""
    sizes: Any = model.config
    heads_KH = np.zeros((len(attentions(model)), sizes.num_attention_heads), np.float32)
    return heads_KH, np.zeros(sizes.hidden_size, np.float32)


def units_of(model: PreTrainedModel) -> int:
    """F"""
    return feed_forwards(model)[0].out.in_features
