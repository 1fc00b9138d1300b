"""Terms on the teacher's logits. Everything is computed in float32: bf16 makes KL negative."""

from torch import Tensor
from torch.nn import functional

NOWHERE = -1e4
"""The logit of a class that is none: a place behind the end of a shorter passage. Its probability is exactly 0."""


def kl_divergence(student: Tensor, teacher: Tensor, mask: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Hinton's soft loss: T² · KL(softmax(teacher / T) ‖ softmax(student / T)) (Hinton et al. 2015, section 2).

    ``student`` and ``teacher`` [B, U, C] logits, ``mask`` [B, U] of bool. Returns the sum over unmasked units in nats,
    and their number: divided once, over units, never over classes, as DistilBERT does. The factor T² keeps the
    gradient's size independent of T. When to use it: classification with more than a few labels, T from 2 to 4. A
    teacher's logit may be -inf (probability 0).
    """
    student_log = functional.log_softmax(student.float() / temperature, dim=-1)
    teacher_log = functional.log_softmax(teacher.float().masked_fill(~mask.unsqueeze(-1), 0.0) / temperature, dim=-1)
    # p log p is 0 where p is 0; clamping keeps 0 * -inf out of value and gradient.
    teacher_log = teacher_log.clamp(min=-1e4)
    loss = (teacher_log.exp() * (teacher_log - student_log)).sum(-1) * temperature**2
    return loss.masked_fill(~mask, 0.0).sum(), mask.sum()


def binary_kl_divergence(student: Tensor, teacher: Tensor, mask: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The same for C independent yes-or-no answers: T² · Σ KL(Bernoulli(σ(teacher / T)) ‖ Bernoulli(σ(student / T))).

    Shapes and result as for :func:`kl_divergence`; the sum over C, which is the divergence of the joint distributions.
    """
    student_scaled = student.float() / temperature
    teacher_scaled = teacher.float().masked_fill(~mask.unsqueeze(-1), 0.0).clamp(min=-1e4, max=1e4) / temperature
    p = teacher_scaled.sigmoid()
    # log σ(x) - log σ(y) for yes and no; log σ(-x) = log σ(x) - x
    yes = functional.logsigmoid(teacher_scaled) - functional.logsigmoid(student_scaled)
    no = functional.logsigmoid(-teacher_scaled) - functional.logsigmoid(-student_scaled)
    loss = (p * yes + (1 - p) * no).sum(-1) * temperature**2
    return loss.masked_fill(~mask, 0.0).sum(), mask.sum()


def mean_squared_error(student: Tensor, teacher: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance of logits, mean over classes (Ba and Caruana 2014, equation 1, there without the mean).

    ``student`` and ``teacher`` [B, U, C], ``mask`` [B, U] of bool. Returns the sum over unmasked units, and their
    number. When to use it: two labels, or an LSTM student (Tang et al. 2019). Logits of -inf are taken as
    -30, and places that are none (``NOWHERE``) are left out of the mean.
    """
    safe = teacher.float().masked_fill(~mask.unsqueeze(-1), 0.0)
    real = (safe != NOWHERE).float()
    loss = ((student.float() - safe.clamp(min=-30.0)).square() * real).sum(-1) / real.sum(-1).clamp(min=1.0)
    return loss.masked_fill(~mask, 0.0).sum(), mask.sum()


def squared_error(student: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance of numbers or vectors, mean over their dimensions, whatever their size.

    ``student`` and ``target`` [B, U, C], ``mask`` [B, U] of bool. Returns the sum over unmasked units, and
    their number.
    """
    safe = target.float().masked_fill(~mask.unsqueeze(-1), 0.0)
    return (student.float() - safe).square().mean(-1).masked_fill(~mask, 0.0).sum(), mask.sum()


def cosine_distance(student: Tensor, teacher: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """1 - cos(student, teacher), for vectors (DistilBERT's third loss, Sanh et al. 2019).

    ``student`` and ``teacher`` [B, U, D], ``mask`` [B, U]. Returns the sum over unmasked units, and their number.
    """
    loss = 1.0 - functional.cosine_similarity(student.float(), teacher.float(), dim=-1, eps=1e-6)
    return loss.masked_fill(~mask, 0.0).sum(), mask.sum()
