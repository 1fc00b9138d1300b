"""A term of an objective: a module that knows what it reads, what it counts and, where sizes differ, how to compare."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from distill.config import Points
from distill.objectives.logits import NOWHERE

Loss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(student, teacher or labels, mask) -> (sum, count)"""


def at(points: Points, progress: float) -> float:
    """What :data:`distill.config.Points` are at a share of the steps."""
    before = [point for point in points if point[0] <= progress]
    after = [point for point in points if point[0] > progress]
    if not (before and after):
        return (before[-1:] or after[:1] or [(0.0, 1.0)])[0][1]
    (start, low), (end, high) = before[-1], after[0]
    return low + (high - low) * (progress - start) / (end - start)


@dataclass(frozen=True)
class Seen:
    """What a model, student or teacher, says of a batch, in float32."""

    units: Tensor
    """[B, U, C] logits, or vectors"""
    hidden: tuple[Tensor, ...] = ()
    """Hidden states [R, L, D] of the embeddings and of each layer; of a model that answers at chosen tokens the last
    layer's alone."""
    qkv: tuple[Tensor, ...] = ()
    """Queries, keys and values of each layer, [3, R, L, D]"""


@dataclass(frozen=True)
class Shape:
    """Sizes of a model, which terms are made to fit."""

    vector: int = 0
    """Of its answer, where that is a vector"""
    layers: int = 0
    hidden: int = 0
    heads: int = 0


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

    def __init__(
        self, weight: float, loss: Loss, needs: frozenset[str] = frozenset({"units"}), schedule: Points = ()
    ) -> None:
        super().__init__()
        self.weight = weight
        self.loss = loss
        self.needs = needs
        """Fields of :class:`Seen` that it reads, of the student and, unless it reads labels, of the teacher."""
        self.schedule = schedule
        self.progress = 0.0
        """Share of the steps that were taken; the loop sets it."""

    @property
    def weight_now(self) -> float:
        """As the schedule has it."""
        return self.weight * at(self.schedule, self.progress)

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

    def __init__(self, weight: float, loss: Loss, schedule: Points = ()) -> None:
        super().__init__(weight, loss, schedule=schedule)

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

    def __init__(
        self,
        weight: float,
        loss: Loss,
        sizes: tuple[int, int] | None = None,
        schedule: Points = (),
        growth: Points = (),
    ) -> None:
        """``sizes`` are those of the student's and the teacher's vectors; ``growth`` are factors of the teacher's, over
        the steps (Annealing-KD; Jafari et al. 2021, section 3)."""
        super().__init__(weight, loss, schedule=schedule)
        self.growth = growth
        self.projection: nn.Module = nn.Identity()
        if sizes is not None and sizes[0] != sizes[1]:
            self.projection = nn.Linear(*sizes, bias=False)

    def mask(self, batch: Asked) -> Tensor:
        """[B, U], all real units."""
        return batch.unit_mask

    def forward(self, student: Seen, teacher: Seen | None, batch: Asked) -> Tensor:
        """The student's units against the teacher's."""
        assert teacher is not None
        units = teacher.units
        if self.growth:  # of what is there: the mark of places that are none stays
            units = torch.where(units == NOWHERE, units, units * at(self.growth, self.progress))
        return self.loss(self.projection(student.units), units, self.mask(batch))[0]


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
