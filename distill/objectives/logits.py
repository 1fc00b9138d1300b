"""Terms on the teacher's logits. Everything is computed in float32: bf16 makes KL negative."""

import math

import torch
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


def reverse_kl_divergence(student: Tensor, teacher: Tensor, mask: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The other way round: T² · KL(softmax(student / T) ‖ softmax(teacher / T)) (Gu et al. 2024, MiniLLM, section 2).

    Shapes and result as for :func:`kl_divergence`. A student too small for all that its teacher may say is drawn to
    the likeliest of it, where the forward divergence spreads it over everything. When to use it: text that is written.
    """
    student_log, teacher_log = _logarithms(student, teacher, mask, temperature)
    loss = (student_log.exp() * (student_log - teacher_log)).sum(-1) * temperature**2
    return loss.masked_fill(~mask, 0.0).sum(), mask.sum()


def jensen_shannon_divergence(
    student: Tensor, teacher: Tensor, mask: Tensor, temperature: float, beta: float
) -> tuple[Tensor, Tensor]:
    """Generalised Jensen-Shannon divergence: T² · (β KL(p ‖ m) + (1 - β) KL(q ‖ m)), m = β p + (1 - β) q, p the
    teacher's distribution and q the student's (Agarwal et al. 2024, GKD, equation 1).

    Shapes and result as for :func:`kl_divergence`; 0 < β < 1. Divided by β it tends to the forward divergence where β
    goes to 0, and by 1 - β to the reverse one where β goes to 1.
    """
    student_log, teacher_log = _logarithms(student, teacher, mask, temperature)
    middle = torch.logaddexp(teacher_log + math.log(beta), student_log + math.log1p(-beta))
    of_teacher = (teacher_log.exp() * (teacher_log - middle)).sum(-1)
    of_student = (student_log.exp() * (student_log - middle)).sum(-1)
    loss = (beta * of_teacher + (1 - beta) * of_student) * temperature**2
    return loss.masked_fill(~mask, 0.0).sum(), mask.sum()


def skewed_kl_divergence(
    student: Tensor, teacher: Tensor, mask: Tensor, temperature: float, skew: float, reverse: bool = False
) -> tuple[Tensor, Tensor]:
    """T² · KL(p ‖ α p + (1 - α) q), p the teacher's distribution, q the student's; in ``reverse`` T² · KL(q ‖ α q +
    (1 - α) p) (DistiLLM; Ko et al. 2024, section 3.1).

    Shapes and result as for :func:`kl_divergence`; 0 < α = ``skew`` < 1. No larger than -T² log α, however far apart
    the two are, so that its gradient stays small where plain divergences explode. When to use it: text that is written,
    by a student far from its teacher.
    """
    student_log, teacher_log = _logarithms(student, teacher, mask, temperature)
    own, other = (student_log, teacher_log) if reverse else (teacher_log, student_log)
    mixture = torch.logaddexp(own + math.log(skew), other + math.log1p(-skew))
    loss = (own.exp() * (own - mixture)).sum(-1) * temperature**2
    return loss.masked_fill(~mask, 0.0).sum(), mask.sum()


def decoupled_kl_divergence(
    student: Tensor, teacher: Tensor, mask: Tensor, temperature: float, alpha: float, beta: float
) -> tuple[Tensor, Tensor]:
    """Hinton's loss in two parts, T² · (α KL(b ‖ b') + β KL(r ‖ r')): b is what the teacher gives to a class and to all
    others together, r the distribution over the others alone; b' and r' are the student's (DKD; Zhao et al. 2022,
    equation 7). With β = 1 - b of the class it is Hinton's (equation 6).

    Shapes and result as for :func:`kl_divergence`, of C > 2 classes: with two, r is a single 1. The class is the
    teacher's likeliest, where the paper takes the label, which texts without labels have not. When to use it: many
    classes, of a teacher so sure of one that the others hardly count in Hinton's loss.
    """
    safe = teacher.float().masked_fill(~mask.unsqueeze(-1), 0.0).clamp(min=-1e4)
    top = functional.one_hot(safe.argmax(-1), safe.shape[-1]).bool()
    student_log, teacher_log = _logarithms(student, safe, mask, temperature)

    def parts(log: Tensor, scaled: Tensor) -> tuple[Tensor, Tensor]:
        """(logarithms of class and others [B, U, 2], of the others among themselves [B, U, C])"""
        of_others = log.masked_fill(top, -1e4)
        two = torch.stack([log.masked_fill(~top, 0.0).sum(-1), of_others.logsumexp(-1)], dim=-1)
        return two.clamp(min=-1e4), scaled.masked_fill(top, -1e4).log_softmax(-1).clamp(min=-1e4)

    own_two, own_rest = parts(student_log, student.float() / temperature)
    two, rest = parts(teacher_log, safe / temperature)
    of_class = (two.exp() * (two - own_two)).sum(-1)
    of_others = (rest.exp() * (rest - own_rest)).masked_fill(top, 0.0).sum(-1)
    loss = (alpha * of_class + beta * of_others) * temperature**2
    return loss.masked_fill(~mask, 0.0).sum(), mask.sum()


def _logarithms(student: Tensor, teacher: Tensor, mask: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Log probabilities of both at a temperature, none below -1e4, where p log p is 0."""
    student_log = functional.log_softmax(student.float() / temperature, dim=-1)
    teacher_log = functional.log_softmax(teacher.float().masked_fill(~mask.unsqueeze(-1), 0.0) / temperature, dim=-1)
    return student_log.clamp(min=-1e4), teacher_log.clamp(min=-1e4)


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
