"""A term of an objective: a module that knows what it reads, what it counts and, where sizes differ, how to compare."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(student, teacher or labels, mask) -> (sum, count)"""


@dataclass(frozen=True)
class Seen:
    """What a model, student or teacher, says of a batch, in float32."""

    units: Tensor
    """[B, U, C] logits, or vectors"""
    hidden: tuple[Tensor, ...] = ()
    """Hidden states [R, L, D] of some layers; the last one alone where a term asks for ``hidden``."""


class Asked(Protocol):
    """What terms read of a batch."""

    @property
    def inputs(self) -> dict[str, Tensor]:
        """``attention_mask`` [R, L] among them."""

    @property
    def unit_mask(self) -> Tensor:
        """[B, U] of bool: real units."""

    @property
    def labels(self) -> Tensor:
        """[B, U] of indices, negative where there is none; or numbers [B, U, C], NaN where there is none."""


class Term(nn.Module, ABC):
    """One loss, as a sum over what it counts: the loop divides it by the count of the whole step."""

    def __init__(self, weight: float, loss: Loss, needs: frozenset[str] = frozenset({"units"})) -> None:
        super().__init__()
        self.weight = weight
        self.loss = loss
        self.needs = needs
        """Fields of :class:`Seen` that it reads, of the student and, unless it reads labels, of the teacher."""

    reads_labels = False

    @abstractmethod
    def mask(self, batch: Asked) -> Tensor:
        """What it counts, of bool."""

    @abstractmethod
    def forward(self, student: Seen, teacher: Seen | None, batch: Asked) -> Tensor:
        """The sum of the loss over what it counts, not weighted."""


class OnLabels(Term):
    """The data's labels, where a unit has one."""

    reads_labels = True

    def mask(self, batch: Asked) -> Tensor:
        """[B, U], the labelled units."""
        labels = batch.labels
        labelled = ~torch.isnan(labels).any(-1) if labels.is_floating_point() else labels >= 0
        return batch.unit_mask & labelled

    def forward(self, student: Seen, teacher: Seen | None, batch: Asked) -> Tensor:
        """The student's units against the labels."""
        return self.loss(student.units, batch.labels, self.mask(batch))[0]


class OnTeacher(Term):
    """The teacher's units. Where both give vectors of different sizes, a learnt projection of the student's stands
    between them: it is trained and checkpointed with the student, and dropped at export."""

    def __init__(self, weight: float, loss: Loss, sizes: tuple[int, int] | None = None) -> None:
        """``sizes`` are those of the student's and the teacher's vectors."""
        super().__init__(weight, loss)
        self.projection: nn.Module = nn.Identity()
        if sizes is not None and sizes[0] != sizes[1]:
            self.projection = nn.Linear(*sizes, bias=False)

    def mask(self, batch: Asked) -> Tensor:
        """[B, U], all real units."""
        return batch.unit_mask

    def forward(self, student: Seen, teacher: Seen | None, batch: Asked) -> Tensor:
        """The student's units against the teacher's."""
        assert teacher is not None
        return self.loss(self.projection(student.units), teacher.units, self.mask(batch))[0]


class OnHidden(Term):
    """The teacher's last hidden states, at each real token."""

    def __init__(self, weight: float, loss: Loss) -> None:
        super().__init__(weight, loss, frozenset({"hidden"}))

    def mask(self, batch: Asked) -> Tensor:
        """[R, L], the tokens that are no padding."""
        return batch.inputs["attention_mask"].bool()

    def forward(self, student: Seen, teacher: Seen | None, batch: Asked) -> Tensor:
        """The student's last hidden states against the teacher's, of equal size."""
        assert teacher is not None
        return self.loss(student.hidden[-1], teacher.hidden[-1], self.mask(batch))[0]
