"""What happens inside a Transformer: queries, keys and values of its layers, and its sizes."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from distill.config import LayersStudent, ObjectiveConfig, TransformerStudent
from distill.errors import UserError
from distill.models import vector_size
from distill.models.students import chosen_layers
from distill.objectives import Objective, Shape
from distill.tasks import Task

PROJECTIONS = (
    ("query", "key", "value"),  # BERT and its kin, and the encoders here
    ("q_lin", "k_lin", "v_lin"),  # DistilBERT
    ("q", "k", "v"),  # MPNet
)
"""Names of the linear maps that make queries, keys and values."""


def shape_of(model: Any, task: Task) -> Shape:
    """Sizes of a Transformer."""
    config = model.config
    vector = vector_size(model) if task.kind == "vector" else 0
    return Shape(vector, config.num_hidden_layers, config.hidden_size, config.num_attention_heads)


def check_inside(
    objective: ObjectiveConfig, student: LayersStudent | TransformerStudent, teacher: Any, task: Task
) -> None:
    """Raises UserError where terms that look inside do not fit student and teacher, before either is trained."""
    if not objective.looks_inside:
        return
    other = shape_of(teacher, task)
    if isinstance(student, LayersStudent):
        own = replace(other, layers=len(chosen_layers(student, other.layers)))
    else:
        sizes = student.architecture
        own = Shape(other.vector, sizes.layers, sizes.hidden_size, sizes.heads)
    if "qkv" in Objective.of(objective.terms, task.kind, (own, other)).needs:
        projections(teacher)


def projections(model: nn.Module) -> list[list[nn.Linear]]:
    """The linear maps that make queries, keys and values, of each layer that has its own. Raises UserError for a model
    in which they are not found."""
    found = []
    for module in model.modules():
        children = dict(module.named_children())
        for names in PROJECTIONS:
            own = [children.get(name) for name in names]
            if all(isinstance(one, nn.Linear) for one in own):
                found.append(own)
    if not found:
        raise UserError(
            f"the queries, keys and values of {type(model).__name__} were not found, which the objective's terms "
            "'attention' and 'relations' read; leave them out, or choose 'hidden'"
        )
    return found  # type: ignore[return-value]


@contextmanager
def recorded(model: nn.Module) -> Iterator[list[Tensor]]:
    """Runs of the model inside leave queries, keys and values of each layer in the list, [3, R, L, D] each.

    They are taken as the linear maps give them, before any rotation; a layer that is run several times (ALBERT) leaves
    those of each time.
    """
    made: list[Tensor] = []
    of_layer: dict[int, Tensor] = {}

    def keep(place: int, module: nn.Module, arguments: Any, output: Tensor) -> None:
        of_layer[place] = output.float()
        if len(of_layer) == 3:
            made.append(torch.stack([of_layer.pop(i) for i in range(3)]))

    with ExitStack() as hooks:
        for own in projections(model):
            for place, linear in enumerate(own):
                hooks.callback(linear.register_forward_hook(partial(keep, place)).remove)
        yield made
