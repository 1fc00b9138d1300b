"""Skewed and decoupled divergences: against their definitions in numpy, and at the edges."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from distill.objectives import decoupled_kl_divergence, kl_divergence, skewed_kl_divergence

Array = NDArray[Any]
SKEWED = partial(skewed_kl_divergence, temperature=1.5, skew=0.1)
REVERSED = partial(skewed_kl_divergence, temperature=1.5, skew=0.1, reverse=True)
DECOUPLED = partial(decoupled_kl_divergence, temperature=1.5, alpha=0.7, beta=3.0)
each = pytest.mark.parametrize("divergence", [SKEWED, REVERSED, DECOUPLED], ids=["skewed", "reversed", "decoupled"])


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def kl(p: Array, q: Array) -> Array:
    return np.asarray((p * np.log(p / q)).sum(-1))


def drawn() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Array, Array]:
    random = np.random.default_rng(0)
    student, teacher = random.normal(size=(2, 3, 4, 5)) * 2
    mask = np.arange(4)[None] < np.array([4, 1, 2])[:, None]
    p, q = softmax(teacher[mask] / 1.5), softmax(student[mask] / 1.5)
    return *(torch.tensor(x, dtype=torch.float32) for x in (student, teacher)), torch.from_numpy(mask), p, q  # type: ignore[return-value]


def test_skewed_divergences_by_their_definitions() -> None:
    student, teacher, mask, p, q = drawn()
    for divergence, expected in ((SKEWED, kl(p, 0.1 * p + 0.9 * q)), (REVERSED, kl(q, 0.1 * q + 0.9 * p))):
        value, count = divergence(student, teacher, mask)
        assert count == len(p)
        assert value.item() == pytest.approx(1.5**2 * expected.sum(), rel=1e-5)


def test_decoupled_divergence_by_its_definition() -> None:
    student, teacher, mask, p, q = drawn()
    expected = 0.0
    for own, other in zip(q, p, strict=True):
        top = int(other.argmax())
        b, r = np.array([other[top], 1 - other[top]]), np.delete(other, top) / (1 - other[top])
        b_own, r_own = np.array([own[top], 1 - own[top]]), np.delete(own, top) / (1 - own[top])
        expected += 0.7 * kl(b, b_own) + 3.0 * kl(r, r_own)
    assert DECOUPLED(student, teacher, mask)[0].item() == pytest.approx(1.5**2 * expected, rel=1e-5)


def test_decoupled_parts_add_up_to_hintons_loss() -> None:
    """KL(p ‖ q) = KL(b ‖ b') + (1 - b) KL(r ‖ r'), equation 6."""
    student, teacher, _, _, _ = drawn()
    mask = torch.ones(1, 1, dtype=torch.bool)
    for row in range(3):
        one = student[row : row + 1, :1], teacher[row : row + 1, :1], mask
        others = 1 - float(torch.softmax(one[1] / 1.5, -1).max())
        parts = decoupled_kl_divergence(*one, temperature=1.5, alpha=1.0, beta=others)[0]
        torch.testing.assert_close(parts, kl_divergence(*one, temperature=1.5)[0], rtol=1e-4, atol=1e-6)


@each
def test_equal_distributions_are_the_minimum(divergence: Any) -> None:
    _, teacher, mask, _, _ = drawn()
    student = teacher.clone().requires_grad_()
    value, _ = divergence(student, teacher, mask)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-5)
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-5


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_finite_where_probabilities_are_zero(divergence: Any, dtype: torch.dtype) -> None:
    never = [[[-torch.inf, 3.0, 1.0, -torch.inf]]]
    for teacher in (torch.tensor(never), torch.tensor([[[200.0, -200.0, 0.0, 0.0]]])):
        student = torch.tensor([[[90.0, -90.0, 0.0, 1.0]]], dtype=dtype, requires_grad=True)
        value, _ = divergence(student, teacher.to(dtype), torch.ones(1, 1, dtype=torch.bool))
        value.backward()
        assert torch.isfinite(value)
        assert student.grad is not None
        assert torch.isfinite(student.grad).all()


@each
def test_padding_says_nothing(divergence: Any) -> None:
    student, teacher, mask, _, _ = drawn()
    value, _ = divergence(student, teacher, mask)
    strange = student.masked_fill(~mask[..., None], 50.0).requires_grad_()
    found, _ = divergence(strange, teacher.masked_fill(~mask[..., None], torch.nan), mask)
    torch.testing.assert_close(found, value)
    found.backward()
    assert strange.grad is not None
    assert torch.isfinite(strange.grad).all()
    assert not strange.grad[~mask].any()


def test_a_skewed_divergence_is_bounded() -> None:
    teacher, student = torch.tensor([[[50.0, 0.0]]]), torch.tensor([[[0.0, 50.0]]])
    value, _ = skewed_kl_divergence(student, teacher, torch.ones(1, 1, dtype=torch.bool), 1.0, 0.1)
    assert value.item() == pytest.approx(-np.log(0.1), rel=1e-4)
