"""The one thing that is trained: a student with the terms it minimises."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from distill.objectives import Objective, Seen
from distill.training.batching import Batch, each_tensor
from distill.training.devices import Machine
from distill.training.memory import is_out_of_memory
from distill.training.problem import Problem, Step
from distill.training.signal import Autocast, Signal, look


class Learner(nn.Module):
    """Student and terms together: what is moved, optimised, clipped, synchronised and checkpointed. The weights of the
    terms are dropped at export."""

    def __init__(self, student: nn.Module, objective: Objective, autocast: Autocast = nullcontext) -> None:
        super().__init__()
        self.student = student
        self.objective = objective
        self.autocast = autocast
        """For the student alone: losses are computed in float32."""

    def forward(self, batch: Batch, teacher: Seen | None, totals: Sequence[Tensor | float | None]) -> Tensor:
        """The loss of one forward pass; see :meth:`Objective.forward`."""
        seen = look(self.student, batch, self.objective.needs, self.autocast)
        loss: Tensor = self.objective(seen, teacher, batch, totals)
        return loss


def add_gradients(learner: Learner, signal: Signal | None, step: Step, machine: Machine) -> Tensor:
    """Leaves the gradient of a whole step in the learner's parameters, the same in every process.

    Returns this process's part of the loss, a number of float64 on the device: nothing waits for it here. What does not
    fit in memory is done again in smaller forward passes.
    """
    device = machine.place
    total = machine.total(step.counts.to(device, non_blocking=True))
    totals = [one if own else None for one, own in zip(total.unbind(), step.counts.tolist(), strict=True)]
    step = step.fitted()
    while (loss := passes(learner, signal, step, totals, device)) is None:
        learner.zero_grad(set_to_none=True)
        step = step.smaller()
    machine.sum_gradients(learner.parameters())
    return loss


def passes(
    learner: Learner, signal: Signal | None, step: Step, totals: Sequence[Tensor | float | None], device: torch.device
) -> Tensor | None:
    """Adds up the gradients of the forward passes of a step. Returns their loss; None where one did not fit in
    memory, and all are to be done again."""
    loss = torch.zeros((), dtype=torch.float64, device=device)
    try:
        for batch in step.batches:
            batch = each_tensor(batch, lambda tensor: tensor.to(device, non_blocking=True))
            if signal is not None:
                batch = signal.prepared(batch, learner.student)
            part = learner(batch, None if signal is None else signal.of(batch), totals)
            part.backward()
            loss += part.detach()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None
    return loss


def make_optimizer(
    learner: Learner, problem: Problem
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW, and a learning rate that rises for the warm-up and then falls to 0."""
    budget = problem.budget
    device = next(learner.parameters()).device
    optimizer = torch.optim.AdamW(
        parameter_groups(learner, budget.weight_decay), lr=problem.rate, fused=device.type in ("cpu", "cuda")
    )
    warmup = max(1, round(budget.steps * budget.warmup))

    def share(step: int) -> float:
        return min((step + 1) / warmup, max(0.0, (budget.steps - step) / max(1, budget.steps - warmup)))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, share)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices, none on biases and normalisations (vectors)."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
