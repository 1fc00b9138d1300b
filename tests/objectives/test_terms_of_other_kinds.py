"""Terms for several labels, numbers, spans and vectors, against values computed another way."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from distill.config import CosineTerm, HardTerm, KlTerm, MseTerm
from distill.objectives import (
    NOWHERE,
    Objective,
    OnHidden,
    Seen,
    Shape,
    binary_cross_entropy,
    binary_kl_divergence,
    binary_pseudo_labels,
    cosine_distance,
    cross_entropy,
    kl_divergence,
    mean_squared_error,
)

ALL = torch.ones(3, 2, dtype=torch.bool)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_binary_cross_entropy_is_the_log_likelihood_of_the_whole_answer() -> None:
    logits, labels = _random(3, 2, 4), (_random(3, 2, 4, seed=1) > 0).float()
    p = 1 / (1 + np.exp(-logits.numpy().astype(np.float64)))
    expected = -np.log(np.where(labels.numpy() == 1, p, 1 - p)).sum()
    loss, count = binary_cross_entropy(logits, labels, ALL)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert count.item() == 6


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_binary_divergence_is_that_of_the_distributions_over_all_answers(temperature: float) -> None:
    """Enumerates the 2^C joint answers."""
    student, teacher = _random(1, 1, 3), _random(1, 1, 3, seed=1)

    def joint(logits: Tensor) -> Any:
        p = 1 / (1 + np.exp(-logits[0, 0].numpy().astype(np.float64) / temperature))
        answers = np.array(np.meshgrid(*[[0, 1]] * 3)).reshape(3, -1).T
        return np.prod(np.where(answers == 1, p, 1 - p), axis=1)

    p, q = joint(teacher), joint(student)
    loss, _ = binary_kl_divergence(student, teacher, ALL[:1, :1], temperature)
    assert loss.item() == pytest.approx((p * np.log(p / q)).sum() * temperature**2, rel=1e-4)


def test_equal_answers_diverge_by_nothing_and_extreme_ones_have_finite_gradients() -> None:
    logits = _random(3, 2, 4)
    assert binary_kl_divergence(logits, logits, ALL, 2.0)[0].item() == pytest.approx(0.0, abs=1e-5)
    student = torch.tensor([[[80.0, -80.0, 0.0]]], requires_grad=True)
    teacher = torch.tensor([[[-torch.inf, 1e9, 0.0]]])
    binary_kl_divergence(student, teacher, ALL[:1, :1], 1.0)[0].backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_the_teachers_labels_are_those_above_one_half() -> None:
    student, teacher = _random(3, 2, 4), _random(3, 2, 4, seed=1)
    assert (
        binary_pseudo_labels(student, teacher, ALL)[0] == binary_cross_entropy(student, (teacher > 0).float(), ALL)[0]
    )


def test_a_masked_unit_counts_nothing_whatever_it_holds() -> None:
    mask = ALL.clone()
    mask[0, 0] = False
    student, labels, teacher = _random(3, 2, 4), torch.ones(3, 2, 4), _random(3, 2, 4, seed=1)
    labels[0, 0], teacher[0, 0] = torch.nan, torch.nan
    for loss, count in (
        binary_cross_entropy(student, labels, mask),
        binary_kl_divergence(student, teacher, mask, 2.0),
        mean_squared_error(student, teacher, mask),
        cosine_distance(student, teacher, mask),
    ):
        assert torch.isfinite(loss)
        assert count == 5


def test_places_behind_a_short_passage_get_no_probability_and_no_weight() -> None:
    """A span's losses are those of the passage alone."""
    student, teacher = _random(1, 2, 7), _random(1, 2, 7, seed=1)
    student[..., 4:] = teacher[..., 4:] = NOWHERE
    mask, labels = ALL[:1], torch.tensor([[1, 3]])
    short = student[..., :4], teacher[..., :4]
    assert torch.isclose(cross_entropy(student, labels, mask)[0], cross_entropy(short[0], labels, mask)[0])
    assert torch.isclose(kl_divergence(student, teacher, mask, 2.0)[0], kl_divergence(*short, mask, 2.0)[0])
    assert torch.isclose(mean_squared_error(student, teacher, mask)[0], mean_squared_error(*short, mask)[0])


def test_cosine_is_that_of_numpy() -> None:
    student, teacher = _random(3, 2, 5), _random(3, 2, 5, seed=1)
    s, t = student.numpy().astype(np.float64), teacher.numpy().astype(np.float64)
    cosine = (s * t).sum(-1) / np.linalg.norm(s, axis=-1) / np.linalg.norm(t, axis=-1)
    assert cosine_distance(student, teacher, ALL)[0].item() == pytest.approx((1 - cosine).sum(), rel=1e-5)


@dataclass(frozen=True)
class Asked:
    """What terms read of a batch."""

    labels: Tensor
    unit_mask: Tensor
    inputs: dict[str, Tensor] = field(default_factory=dict)


def test_each_kind_gets_its_loss() -> None:
    student, teacher = _random(3, 2, 4), _random(3, 2, 4, seed=1)
    hot = (teacher > 0.3).float()
    one = torch.ones(3, 2, dtype=torch.long)
    for kind, labels, hard in (
        ("categorical", one, cross_entropy(student, one, ALL)),
        ("bernoulli", hot, binary_cross_entropy(student, hot, ALL)),
        ("number", hot, mean_squared_error(student, hot, ALL)),
    ):
        objective = Objective.of([HardTerm("hard", 2.0)], kind)
        assert torch.isclose(objective(Seen(student), None, Asked(labels, ALL), [6]), 2 * hard[0] / 6)
    soft = Objective.of([KlTerm("kl", temperature=2.0)], "bernoulli")
    expected = binary_kl_divergence(student, teacher, ALL, 2.0)[0] / 6
    assert torch.isclose(soft(Seen(student), Seen(teacher), Asked(hot, ALL), [6]), expected)


def test_numbers_without_a_label_are_left_out() -> None:
    labels = torch.tensor([[[1.0], [torch.nan]], [[0.5], [2.0]], [[torch.nan], [torch.nan]]])
    objective = Objective.of([HardTerm("hard"), MseTerm("mse")], "number")
    assert objective.counts(Asked(labels, ALL)).tolist() == [3, 6]


def test_places_that_are_none_stay_so_while_the_teachers_answers_grow() -> None:
    """A passage that is padded in a batch gives the value that it has alone."""
    student, teacher = _random(3, 2, 4), _random(3, 2, 4, seed=1)
    labels = torch.zeros(3, 2, dtype=torch.long)
    objective = Objective.of([MseTerm("mse", growth=((0.0, 0.4), (1.0, 1.0)))], "categorical")
    alone = objective(Seen(student), Seen(teacher), Asked(labels, ALL), [6])
    expected = ((student - 0.4 * teacher) ** 2).mean()
    assert torch.isclose(alone, expected)
    nowhere = torch.full((3, 2, 5), NOWHERE)
    padded = (Seen(torch.cat([units, nowhere], -1)) for units in (student, teacher))
    assert torch.isclose(objective(*padded, Asked(labels, ALL), [6]), expected)


def test_vectors_of_other_sizes_are_compared_through_a_projection_that_is_trained() -> None:
    objective = Objective.of([CosineTerm("cosine"), MseTerm("mse")], "vector", (Shape(3), Shape(5)))
    student, teacher = _random(2, 1, 3).requires_grad_(), _random(2, 1, 5, seed=1)
    asked = Asked(torch.full((2, 1, 1), torch.nan), ALL[:2, :1])
    objective(Seen(student), Seen(teacher), asked, [2, 2]).backward()
    weights = list(objective.parameters())
    assert [weight.shape for weight in weights] == [(5, 3), (5, 3)]  # each term has its own
    for weight in weights:
        assert weight.grad is not None
        assert weight.grad.abs().sum() > 0
    assert not list(Objective.of([CosineTerm("cosine")], "vector", (Shape(5), Shape(5))).parameters())


def test_hidden_states_are_compared_at_real_tokens_alone() -> None:
    """Against numpy; the units and their mask play no part."""
    student, teacher = _random(2, 3, 4).requires_grad_(), _random(2, 3, 4, seed=1)
    real = torch.tensor([[1, 1, 0], [1, 0, 0]])
    asked = Asked(torch.zeros(1, 0, dtype=torch.long), torch.zeros(1, 0, dtype=torch.bool), {"attention_mask": real})
    term = OnHidden(1.0, cosine_distance)
    units = torch.zeros(1, 0, 2)
    found = term(Seen(units, (student * 7, student)), Seen(units, (teacher,)), asked)
    s, t = student.detach().numpy().astype(np.float64), teacher.numpy().astype(np.float64)
    cosine = (s * t).sum(-1) / np.linalg.norm(s, axis=-1) / np.linalg.norm(t, axis=-1)
    assert found.item() == pytest.approx((1 - cosine)[real.numpy() == 1].sum(), rel=1e-5)
    assert int(term.mask(asked).sum()) == 3
    (gradient,) = torch.autograd.grad(found, student)
    assert (gradient[real == 0] == 0).all()
    assert term.needs == {"hidden"}
