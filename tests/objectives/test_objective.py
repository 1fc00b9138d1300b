"""The weighted sum of terms, divided by the counts of the whole step."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from torch import Tensor
from torch.nn import functional

from distill.config import (
    DecoupledKlTerm,
    HardTerm,
    HiddenTerm,
    JsdTerm,
    KlTerm,
    MseTerm,
    ObjectiveConfig,
    RelationsTerm,
    ReverseKlTerm,
    SkewedKlTerm,
    Term,
)
from distill.objectives import Objective, Seen, Shape, cross_entropy, kl_divergence, mean_squared_error
from distill.training import DIFFERS_IN, objective_of

Values = Any

MIXED: list[Term] = [HardTerm("hard", 0.3), KlTerm("kl", 0.5, 3.0), MseTerm("mse", 0.2)]


@dataclass(frozen=True)
class Asked:
    """What terms read of a batch, with what both models say of it."""

    student: Tensor
    teacher: Tensor
    labels: Tensor
    unit_mask: Tensor
    inputs: dict[str, Tensor] = field(default_factory=dict)

    def part(self, rows: slice) -> "Asked":
        return Asked(self.student[rows], self.teacher[rows], self.labels[rows], self.unit_mask[rows])


def _rows(count: int, seed: int = 0) -> Asked:
    """Sentences of up to four words; a third of the words has no label."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count, 4), generator=random)
    labels[torch.rand(count, 4, generator=random) < 0.33] = -100
    lengths = torch.randint(1, 5, (count, 1), generator=random)
    return Asked(
        torch.randn(count, 4, 3, generator=random).requires_grad_(),
        torch.randn(count, 4, 3, generator=random),
        labels,
        torch.arange(4)[None] < lengths,
    )


def _total(objective: Objective, rows: Asked, parts: list[slice]) -> Tensor:
    """As the loop does it: counts of the whole step first, then every forward pass divided by them."""
    cut = [rows.part(part) for part in parts]
    counts = torch.stack([objective.counts(one) for one in cut]).sum(0)
    totals = [count if count else None for count in counts]
    return torch.stack([objective(Seen(one.student), Seen(one.teacher), one, totals) for one in cut]).sum()


def test_the_sum_is_weight_times_mean_of_each_term() -> None:
    rows = _rows(6)
    mask, labelled = rows.unit_mask, rows.unit_mask & (rows.labels >= 0)
    expected = torch.zeros(())
    for weight, (value, count) in zip(
        (0.3, 0.5, 0.2),
        (
            cross_entropy(rows.student, rows.labels, labelled),
            kl_divergence(rows.student, rows.teacher, mask, 3.0),
            mean_squared_error(rows.student, rows.teacher, mask),
        ),
        strict=True,
    ):
        assert count == (labelled.sum() if weight == 0.3 else mask.sum())
        expected = expected + weight * value / count
    torch.testing.assert_close(_total(Objective.of(MIXED), rows, [slice(None)]), expected)


def test_the_hard_term_alone_is_torchs_mean_over_labelled_units() -> None:
    rows = _rows(6)
    targets = rows.labels.masked_fill(~rows.unit_mask, -100)
    expected = functional.cross_entropy(rows.student.flatten(0, 1), targets.flatten(), ignore_index=-100)
    torch.testing.assert_close(_total(Objective.of([HardTerm("hard")]), rows, [slice(None)]), expected)


def test_micro_batches_of_unequal_counts_add_up_to_the_one_big_batch() -> None:
    rows = _rows(9)
    objective = Objective.of(MIXED)
    whole = _total(objective, rows, [slice(None)])
    (expected,) = torch.autograd.grad(whole, rows.student)
    for parts in ([slice(0, 2), slice(2, 9)], [slice(0, 1), slice(1, 5), slice(5, 9)]):
        value = _total(objective, rows, parts)
        (gradient,) = torch.autograd.grad(value, rows.student)
        torch.testing.assert_close(value, whole)
        torch.testing.assert_close(gradient, expected)
    first, second = (float(_total(objective, rows.part(p), [slice(None)]).detach()) for p in (slice(0, 2), slice(2, 9)))
    assert abs((first + second) / 2 - float(whole.detach())) > 1e-3  # a mean of means is something else


def test_a_batch_without_labels_still_has_a_gradient_from_the_teacher_and_none_from_the_hard_term() -> None:
    rows = _rows(4)
    rows = replace(rows, labels=torch.full_like(rows.labels, -100))
    value = _total(Objective.of(MIXED), rows, [slice(None)])
    only_soft = _total(Objective.of(MIXED[1:]), rows, [slice(None)])
    torch.testing.assert_close(value, only_soft)
    hard = _total(Objective.of(MIXED[:1]), rows, [slice(None)])
    (gradient,) = torch.autograd.grad(hard, rows.student)
    assert hard == 0
    assert (gradient == 0).all()


def test_an_objective_knows_whether_it_reads_the_teacher() -> None:
    assert not Objective.of([HardTerm("hard")]).reads_teacher
    assert Objective.of(MIXED).reads_teacher
    assert Objective.of([MseTerm("mse")]).reads_teacher


def test_masks_are_labelled_units_for_the_hard_term_and_real_ones_for_the_others() -> None:
    rows = _rows(5)
    hard, kl, mse = (term.mask(rows) for term in Objective.of(MIXED).parts)
    assert (hard == (rows.unit_mask & (rows.labels != -100))).all()
    assert (kl == rows.unit_mask).all()
    assert (mse == rows.unit_mask).all()
    assert hard.sum() < kl.sum()


@pytest.mark.parametrize("name", [name for name in DIFFERS_IN if name != "teacher"])
def test_every_arm_but_those_on_the_datas_labels_reads_the_teacher(name: str) -> None:
    on_labels = ("hard", "hard+augmented", "pretrained", "sequence")
    assert objective_of(name, ObjectiveConfig()).reads_teacher == (name not in on_labels)


def test_the_hard_arm_is_plain_cross_entropy_whatever_the_objective() -> None:
    rows = _rows(6)
    objective = objective_of("hard", ObjectiveConfig(tuple(MIXED)))
    rows = replace(rows, teacher=torch.full_like(rows.teacher, float("nan")))
    torch.testing.assert_close(
        _total(objective, rows, [slice(None)]), _total(Objective.of([HardTerm("hard", 1.0)]), rows, [slice(None)])
    )


def test_the_pseudo_arm_puts_the_teachers_answers_in_place_of_its_soft_labels() -> None:
    rows = _rows(6)
    objective = objective_of("pseudo+transfer", ObjectiveConfig((HardTerm("hard", 0.25), KlTerm("kl", 0.75))))
    mask, labelled = rows.unit_mask, rows.unit_mask & (rows.labels >= 0)
    best = rows.teacher.argmax(-1)
    expected = 0.25 * functional.cross_entropy(
        rows.student[labelled], rows.labels[labelled]
    ) + 0.75 * functional.cross_entropy(rows.student[mask], best[mask])
    torch.testing.assert_close(_total(objective, rows, [slice(None)]), expected)


def _decoupled(p: Values, q: Values) -> Values:
    top = p.argmax(-1)
    found = []
    for own, other, i in zip(q, p, top, strict=True):
        both = [other[i], 1 - other[i]], [own[i], 1 - own[i]]
        found.append(0.5 * entropy(*both) + 3 * entropy(np.delete(other, i), np.delete(own, i)))
    return np.array(found)


@pytest.mark.parametrize(
    ("term", "temperature", "by_hand"),
    [
        (KlTerm("kl", 0.7, 3.0), 3.0, lambda p, q: entropy(p, q, axis=-1)),
        (ReverseKlTerm("reverse_kl", 0.7, 3.0), 3.0, lambda p, q: entropy(q, p, axis=-1)),
        (
            JsdTerm("jsd", 0.7, 1.5, 0.2),
            1.5,
            lambda p, q: 0.2 * entropy(p, 0.2 * p + 0.8 * q, axis=-1) + 0.8 * entropy(q, 0.2 * p + 0.8 * q, axis=-1),
        ),
        (SkewedKlTerm("skewed_kl", 0.7, 1.5, 0.2), 1.5, lambda p, q: entropy(p, 0.2 * p + 0.8 * q, axis=-1)),
        (SkewedKlTerm("skewed_kl", 0.7, 1.5, 0.2, True), 1.5, lambda p, q: entropy(q, 0.2 * q + 0.8 * p, axis=-1)),
        (DecoupledKlTerm("dkd", 0.7, 2.5, 0.5, 3.0), 2.5, _decoupled),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_each_divergence_is_what_its_term_in_a_recipe_says(
    term: Term, temperature: float, by_hand: Callable[[Values, Values], Values]
) -> None:
    """Weight, temperature, and what else each has, against scipy."""
    rows = _rows(6)
    mask = rows.unit_mask.numpy()
    student, teacher = rows.student.detach().double().numpy()[mask], rows.teacher.double().numpy()[mask]
    expected = by_hand(softmax(teacher / temperature, axis=-1), softmax(student / temperature, axis=-1))
    found = _total(Objective.of([term]), rows, [slice(None)])
    assert found.item() == pytest.approx(0.7 * temperature**2 * expected.mean(), rel=1e-5)


def test_smoothing_is_read_from_the_recipe() -> None:
    rows = _rows(6)
    targets = rows.labels.masked_fill(~rows.unit_mask, -100)
    expected = functional.cross_entropy(
        rows.student.flatten(0, 1), targets.flatten(), ignore_index=-100, label_smoothing=0.3
    )
    found = _total(Objective.of([HardTerm("hard", smoothing=0.3)]), rows, [slice(None)])
    torch.testing.assert_close(found, expected)


def test_an_objective_needs_what_its_terms_read() -> None:
    shapes = Shape(0, 2, 8, 2), Shape(0, 2, 8, 2)
    terms: list[Term] = [KlTerm("kl"), HiddenTerm("hidden"), RelationsTerm("relations")]
    assert Objective.of(terms[:1]).needs == {"units"}
    assert Objective.of(terms[:2], "categorical", shapes).needs == {"units", "hidden"}
    assert Objective.of(terms, "categorical", shapes).needs == {"units", "hidden", "qkv"}
