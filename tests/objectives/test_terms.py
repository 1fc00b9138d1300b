"""Every term against a value computed another way; masks, infinite logits and low precision."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from torch import Tensor
from torch.nn import functional

from distill.objectives import cross_entropy, kl_divergence, mean_squared_error, pseudo_labels

B, U, C = 3, 4, 5
Loss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
TEACHER_TERMS: dict[str, Loss] = {
    "kl": partial(kl_divergence, temperature=2.0),
    "mse": mean_squared_error,
    "pseudo": pseudo_labels,
}
teacher_terms = pytest.mark.parametrize("loss", TEACHER_TERMS.values(), ids=TEACHER_TERMS)


def _case(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Student and teacher [B, U, C], labels and mask [B, U]; padding stands on the right, as in batches."""
    random = torch.Generator().manual_seed(seed)
    student, teacher = (3 * torch.randn(B, U, C, generator=random) for _ in range(2))
    labels = torch.randint(0, C, (B, U), generator=random)
    mask = torch.arange(U)[None] < torch.tensor([4, 1, 3])[:, None]
    return student, teacher, labels, mask


def _gradient(loss: Loss, student: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    leaf = student.detach().clone().requires_grad_()
    value, _ = loss(leaf, target, mask)
    (gradient,) = torch.autograd.grad(value, leaf)
    return value.detach(), gradient


def test_cross_entropy_is_torchs_sum_over_unmasked_units() -> None:
    student, _, labels, mask = _case()
    value, count = cross_entropy(student, labels, mask)
    assert count == 8
    torch.testing.assert_close(value, functional.cross_entropy(student[mask], labels[mask], reduction="sum"))


def test_cross_entropy_never_reads_the_label_of_a_masked_unit() -> None:
    student, _, labels, mask = _case()
    expected = _gradient(cross_entropy, student, labels, mask)
    for absent in (-100, C, 10**6):
        torch.testing.assert_close(_gradient(cross_entropy, student, labels.masked_fill(~mask, absent), mask), expected)


def test_cross_entropy_of_even_logits_is_the_logarithm_of_the_number_of_labels() -> None:
    value, count = cross_entropy(torch.zeros(1, 3, 7), torch.tensor([[0, 3, 6]]), torch.ones(1, 3, dtype=torch.bool))
    assert float(value / count) == pytest.approx(math.log(7))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 4.0, 10.0])
def test_kl_is_scipys_relative_entropy_times_the_temperature_squared(temperature: float) -> None:
    student, teacher, _, mask = _case()
    p, q = (softmax(x[mask].double().numpy() / temperature, axis=-1) for x in (teacher, student))
    value, count = kl_divergence(student, teacher, mask, temperature)
    assert count == 8
    assert float(value) == pytest.approx(temperature**2 * entropy(p, q, axis=-1).sum(), rel=1e-5)


def test_kl_of_equal_logits_is_0_and_never_negative() -> None:
    student, _, _, mask = _case()
    assert float(kl_divergence(student, student.clone(), mask, 2.0)[0]) == pytest.approx(0, abs=1e-6)
    assert float(kl_divergence(student + 7, student, mask, 2.0)[0]) == pytest.approx(
        0, abs=1e-4
    )  # a shift changes nothing


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_gradient_of_kl_is_t_times_the_difference_of_the_softened_distributions(temperature: float) -> None:
    student, teacher, _, mask = _case()
    p, q = ((x / temperature).softmax(-1) for x in (teacher, student))
    _, gradient = _gradient(partial(kl_divergence, temperature=temperature), student, teacher, mask)
    torch.testing.assert_close(gradient, temperature * (q - p) * mask.unsqueeze(-1), atol=1e-5, rtol=1e-5)


def test_mse_is_numpys_mean_over_labels_and_sum_over_units() -> None:
    student, teacher, _, mask = _case()
    value, count = mean_squared_error(student, teacher, mask)
    expected = np.square(student.numpy() - teacher.numpy()).mean(-1)[mask.numpy()].sum()
    assert count == 8
    assert float(value) == pytest.approx(float(expected), rel=1e-5)


def test_mse_takes_a_logit_of_minus_infinity_as_minus_30() -> None:
    teacher = torch.tensor([[[1.0, -math.inf]]])
    value, gradient = _gradient(mean_squared_error, torch.zeros(1, 1, 2), teacher, torch.ones(1, 1, dtype=torch.bool))
    assert float(value) == pytest.approx((1 + 30**2) / 2)
    assert gradient.isfinite().all()


def test_pseudo_labels_are_cross_entropy_on_the_teachers_best_label() -> None:
    student, teacher, _, mask = _case()
    value, count = pseudo_labels(student, teacher, mask)
    best = torch.from_numpy(teacher.numpy().argmax(-1))
    assert count == 8
    torch.testing.assert_close(value, functional.cross_entropy(student[mask], best[mask], reduction="sum"))


@teacher_terms
@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, 1e30, -1e30])
def test_masked_teacher_rows_never_change_value_or_gradient(loss: Loss, junk: float) -> None:
    student, teacher, _, mask = _case()
    expected = _gradient(loss, student, teacher, mask)
    filled = teacher.masked_fill(~mask.unsqueeze(-1), junk)
    torch.testing.assert_close(_gradient(loss, student, filled, mask), expected)


@teacher_terms
def test_masked_student_rows_never_change_the_value_and_get_no_gradient(loss: Loss) -> None:
    student, teacher, _, mask = _case()
    value, gradient = _gradient(loss, student, teacher, mask)
    assert (gradient[~mask] == 0).all()
    assert (gradient[mask] != 0).any(-1).all()
    for junk in (0.0, 1e30, -1e4):
        filled, other = _gradient(loss, student.masked_fill(~mask.unsqueeze(-1), junk), teacher, mask)
        torch.testing.assert_close(filled, value)
        torch.testing.assert_close(other, gradient)


@teacher_terms
def test_padding_to_more_units_changes_nothing(loss: Loss) -> None:
    student, teacher, _, mask = _case()
    value, count = loss(student, teacher, mask)
    wide = [functional.pad(x, (0, 0, 0, 6)) for x in (student, teacher)]
    wider = loss(*wide, functional.pad(mask, (0, 6)))
    torch.testing.assert_close(wider[0], value)
    assert wider[1] == count


@teacher_terms
def test_nothing_unmasked_is_0_of_0_with_a_gradient_of_0(loss: Loss) -> None:
    student, teacher, _, mask = _case()
    assert loss(student, teacher, torch.zeros_like(mask))[1] == 0
    value, gradient = _gradient(loss, student, teacher, torch.zeros_like(mask))
    assert value == 0
    assert (gradient == 0).all()


@teacher_terms
@pytest.mark.parametrize("impossible", [-math.inf, -1e30, -1e4])
def test_value_and_gradient_are_finite_where_the_teachers_probability_is_0(loss: Loss, impossible: float) -> None:
    student, teacher, _, mask = _case()
    teacher[..., 2] = impossible
    value, gradient = _gradient(loss, student, teacher, mask)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_kl_with_a_probability_of_0_is_that_over_the_other_labels() -> None:
    student, teacher, _, mask = _case()
    teacher[..., 2] = -math.inf
    p, q = (softmax(x[mask].double().numpy() / 2.0, axis=-1) for x in (teacher, student))
    value, gradient = _gradient(partial(kl_divergence, temperature=2.0), student, teacher, mask)
    assert float(value) == pytest.approx(4 * entropy(p, q, axis=-1).sum(), rel=1e-5)
    expected = 2.0 * torch.from_numpy(q - p).float()
    torch.testing.assert_close(gradient[mask], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("student_logit", [-200.0, 200.0, 1e4])
def test_kl_of_a_very_sure_student_is_finite(student_logit: float) -> None:
    student = torch.tensor([[[student_logit, 0.0]]])
    loss = partial(kl_divergence, temperature=1.0)
    value, gradient = _gradient(loss, student, torch.tensor([[[0.0, 50.0]]]), torch.ones(1, 1, dtype=torch.bool))
    assert value.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("loss", [*TEACHER_TERMS.values(), cross_entropy], ids=[*TEACHER_TERMS, "hard"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_inputs_are_computed_in_float32(loss: Loss, dtype: torch.dtype) -> None:
    student, teacher, labels, mask = _case()
    low_student, low_teacher = student.to(dtype), teacher.to(dtype)
    target, exact = (labels, labels) if loss is cross_entropy else (low_teacher, low_teacher.float())
    value, gradient = _gradient(loss, low_student, target, mask)
    expected, _ = _gradient(loss, low_student.float(), exact, mask)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected)
    assert gradient.dtype == dtype
    assert gradient.isfinite().all()


def test_kl_of_close_bf16_logits_is_not_negative() -> None:
    """In bf16 itself about half of these come out below 0."""
    random = torch.Generator().manual_seed(0)
    for _ in range(200):
        teacher = torch.randn(1, 1, 20, generator=random).bfloat16()
        student = (teacher.float() + 0.02 * torch.randn(1, 1, 20, generator=random)).bfloat16()
        value, _ = kl_divergence(student, teacher, torch.ones(1, 1, dtype=torch.bool), 1.0)
        assert float(value) >= 0
