"""The hard loss, for each kind of label."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def cross_entropy(student: Tensor, labels: Tensor, mask: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the student's distribution on the data's labels.

    ``student`` [B, U, C] logits, ``labels`` [B, U] indices, ``mask`` [B, U] of bool. Returns the sum over unmasked
    units in nats, and their number. With ``smoothing`` ε the target is (1 - ε) of the label and ε spread evenly over
    all C classes (Szegedy et al. 2016, section 7; ε = 0.1 in Vaswani et al. 2017, section 5.4).
    """
    safe = labels.masked_fill(~mask, 0)
    logits = student.float().flatten(0, 1)
    loss = functional.cross_entropy(logits, safe.flatten(), reduction="none", label_smoothing=smoothing).view_as(safe)
    return loss.masked_fill(~mask, 0.0).sum(), mask.sum()


def binary_cross_entropy(student: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of C independent yes-or-no answers: the sum over them, as they are one answer together.

    ``student`` [B, U, C] logits, ``labels`` [B, U, C] of 0 and 1, ``mask`` [B, U]. Returns the sum over unmasked units
    in nats, and their number.
    """
    safe = labels.masked_fill(~mask.unsqueeze(-1), 0.0).float()
    loss = functional.binary_cross_entropy_with_logits(student.float(), safe, reduction="none").sum(-1)
    return loss.masked_fill(~mask, 0.0).sum(), mask.sum()


def pseudo_labels(student: Tensor, teacher: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy on the teacher's best label, as if it were the data's; ``teacher`` [B, U, C] logits."""
    return cross_entropy(student, teacher.argmax(-1), mask)


def binary_pseudo_labels(
    student: Tensor, teacher: Tensor, mask: Tensor, thresholds: Sequence[float] = ()
) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy on the labels that the teacher gives: with a logit above its threshold, or above 0."""
    bar = torch.tensor(thresholds, device=teacher.device) if thresholds else 0.0
    return binary_cross_entropy(student, (teacher > bar).float(), mask)
