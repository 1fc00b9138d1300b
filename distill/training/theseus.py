"""Modules replaced one by one: BERT-of-Theseus (Xu et al. 2020)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from distill.config import Points
from distill.models.students import layer_list
from distill.objectives import Objective
from distill.objectives.terms import at


@contextmanager
def replacing(student: nn.Module, teacher: nn.Module, objective: Objective, chances: Points) -> Iterator[None]:
    """While the student is trained, each of its layers stands in with its chance for the teacher's layers that it is to
    replace, which are frozen; else these are run in its place (Xu et al. 2020, sections 3.1 and 3.2).

    The layers of both are of one kind and width. ``chances`` over the steps, whose share the ``objective`` is told;
    drawn for each layer and forward pass. A student that is not trained is its own layers alone. The student's states
    are so kept near to what the teacher's layers take and give, without a loss that says so.
    """
    own, others = layer_list(student), layer_list(teacher)
    teacher.eval().requires_grad_(False)
    for i, layer in enumerate(own):
        first, last = (round(place * len(others) / len(own)) for place in (i, i + 1))
        layer.forward = partial(_one_or_the_other, layer, layer.forward, list(others)[first:last], objective, chances)
    try:
        yield
    finally:
        for layer in own:
            del layer.forward  # the class has it


def _one_or_the_other(
    layer: nn.Module,
    forward: Any,
    others: Sequence[nn.Module],
    objective: Objective,
    chances: Points,
    states: Any,
    *more: Any,
    **named: Any,
) -> Any:
    if not layer.training or float(torch.rand(())) < at(chances, objective.progress):
        return forward(states, *more, **named)
    given = states
    for other in others:
        given = other(states, *more, **named)
        states = given[0] if isinstance(given, tuple) else given
    return given
