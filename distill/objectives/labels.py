"""The hard loss."""

from torch import Tensor
from torch.nn import functional


def cross_entropy(student: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the student's distribution on the data's labels.

    ``student`` [B, U, C] logits, ``labels`` [B, U] indices, ``mask`` [B, U] of bool. Returns the sum over unmasked
    units in nats, and their number.
    """
    safe = labels.masked_fill(~mask, 0)
    loss = functional.cross_entropy(student.float().flatten(0, 1), safe.flatten(), reduction="none").view_as(safe)
    return loss.masked_fill(~mask, 0.0).sum(), mask.sum()


def pseudo_labels(student: Tensor, teacher: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy on the teacher's best label, as if it were the data's; ``teacher`` [B, U, C] logits."""
    return cross_entropy(student, teacher.argmax(-1), mask)
