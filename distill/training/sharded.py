"""A model that fits no device: its parameters are spread over the processes of a run, which answer together."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from distill.models.answers import Kept, forward_of
from distill.runtime.forward import Forward
from distill.tasks.task import Logits
from distill.text.encoding import Ids
from distill.training.devices import Machine

BETWEEN_PROCESSES = ("gloo", "NCCL")
"""Words of an error that is none of the model."""


@contextmanager
def sharded_on(machine: Machine, model: nn.Module, kept: Kept | None = None) -> Iterator[Forward]:
    """The forward pass of a model of which each of P processes has a P-th, for the main process to ask. The others take
    part in what it asks until it leaves the context, and then enter theirs, with nothing to ask.

    Each answers a P-th of the rows of a batch, which may be P times as large as that of one process.
    """
    spread(model, machine)
    of_rows, rank, processes = forward_of(model.eval(), machine.autocast, kept), machine.rank, machine.processes

    def take_part(batch: dict[str, Ids]) -> Logits:
        """[R, …] of arrays [R, L], in every process, where each answers rows rank, rank + P, …"""
        rows = len(batch["input_ids"])
        own = len(range(rank, rows, processes))
        # the processes meet in each layer: one without a row runs one that another answers
        try:
            logits = of_rows({name: array[rank::processes] if own else array[:1] for name, array in batch.items()})
        except RuntimeError as error:
            if any(word in str(error) for word in BETWEEN_PROCESSES):
                raise machine.lost() from error
            raise
        return np.stack(machine.gathered(list(logits[:own]), rows))

    if machine.is_main:
        yield lambda batch: take_part(machine.decide(batch))
        machine.decide(None)
    else:
        while (batch := machine.decide(None)) is not None:
            take_part(batch)
        yield take_part


def spread(model: nn.Module, machine: Machine) -> None:
    """Leaves to each process its part of each parameter, on its device. A layer is whole for the moment in which it is
    run (FSDP: Zhao et al. 2023, arXiv:2304.11277); what is in no list of layers, as embeddings and head, during a pass.
    """
    mesh = init_device_mesh(machine.place.type, (machine.processes,))
    model.requires_grad_(False)  # else autocast keeps a copy of each layer until the pass ends
    for layer in dict.fromkeys(layers_of(model)):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh, reshard_after_forward=True)


def layers_of(module: nn.Module) -> Iterator[nn.Module]:
    """The entries of its lists of layers; a list within a layer is part of it."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from layers_of(child)
