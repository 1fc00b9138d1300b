"""What the exporter is given of a model: one graph."""

from dataclasses import dataclass

from torch import Tensor, nn

Axes = dict[int, str]
BY_TOKEN: Axes = {0: "batch", 1: "sequence"}
BY_SOURCE: Axes = {0: "batch", 1: "source"}


@dataclass(frozen=True)
class GraphSpec:
    """One graph to export.

    Roles are ``model``, from ids to logits; ``encoder`` and ``decoder`` of a model that writes. A decoder that keeps
    what it has read takes it as plain tensors among ``example`` and gives it back among ``outputs``. Of keys and values
    the length is a free axis that starts at 0, so that one graph reads a prompt and writes on; the states of a
    recurrent network have none.
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
