"""What of a model becomes ONNX graphs: one for each role that the runtime runs."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distill.models.answers import named_output
from distill.models.loading import takes_types
from distill.tasks import Task

Axes = dict[int, str]
BY_TOKEN: Axes = {0: "batch", 1: "sequence"}


@dataclass(frozen=True)
class GraphSpec:
    """One graph to export.

    Roles are ``model``, from ids to logits; ``encoder`` and ``decoder`` of a model that writes. A decoder that keeps
    what it has read takes it as plain tensors among ``example`` and gives it back among ``outputs``; the length of
    these is a free axis that starts at 0, so that one graph reads a prompt and writes on.
    """

    role: str
    module: nn.Module
    """Takes the tensors of ``example`` by position and gives a tuple of those that ``outputs`` names."""
    example: dict[str, Tensor]
    """A small value of each input, in order."""
    axes: dict[str, Axes]
    """The free axes of each input and output, and what they are called."""
    outputs: tuple[str, ...]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.example)


class _Named(nn.Module):
    """The model with its output narrowed to the tensors named, its inputs by position."""

    def __init__(self, model: nn.Module, outputs: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.outputs = tuple(outputs)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        output = self.model(**inputs)
        return tuple(named_output(self.model, output, attention_mask, name) for name in self.outputs)


def graph_inputs(model: nn.Module) -> tuple[str, ...]:
    """Names of the inputs that the graph of this model has."""
    both = ("input_ids", "attention_mask")
    return (*both, "token_type_ids") if takes_types(model) else both


def graphs_of(model: nn.Module, task: Task) -> list[GraphSpec]:
    """The graphs that ``model`` becomes for a task: for all that there are today one, of the role ``model``.

    The model is called as transformers' are, ``model(input_ids=…, attention_mask=…[, token_type_ids=…])``, with inputs
    [B, L] of int64. The graph's outputs are the attributes of what it returns that ``task.outputs`` names, and
    ``sentence_embedding``, which is made of ``last_hidden_state``; B and L are free.

    The model given is not changed: the specifications hold a copy of it, in evaluation mode, on the CPU in fp32, with
    the attention that is written out in matrix products, which makes the smallest graph.
    """
    module = _Named(copy.deepcopy(model).to("cpu", torch.float32), task.outputs).eval()
    set_attention = getattr(module.model, "set_attn_implementation", None)
    if set_attention is not None:
        set_attention("eager")
    ids = torch.full((2, 5), 2)
    mask = torch.ones_like(ids)
    mask[1, 3:] = 0  # a padded row: models may leave the mask out where it says nothing
    values = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    example = {name: values[name] for name in graph_inputs(model)}
    axes = dict.fromkeys(example, BY_TOKEN)
    axes |= {name: BY_TOKEN if by_token(task, name) else {0: "batch"} for name in task.outputs}
    return [GraphSpec("model", module, example, axes, task.outputs)]


def by_token(task: Task, output: str) -> bool:
    """Whether an output of the task's graph has a row for each token, not for the whole text."""
    return task.words or output == "last_hidden_state"
