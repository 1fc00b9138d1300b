"""Label smoothing, as a setting of the hard term."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from distill.config import HardTerm, KlTerm, ObjectiveConfig
from distill.errors import UserError
from distill.objectives import cross_entropy
from distill.stages.lesson_checks import check_objective
from distill.stages.students import objective_for
from distill.tasks import TASKS
from distill.training import objective_of

SMOOTH = ObjectiveConfig((KlTerm("kl", 0.9), HardTerm("hard", 0.1, 0.1)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_target_is_the_label_mixed_with_an_even_distribution(smoothing: float) -> None:
    logits, labels = torch.randn(2, 3, 5), torch.tensor([[0, 4, -100], [2, 2, 1]])
    mask = labels >= 0
    found, count = cross_entropy(logits, labels, mask, smoothing)
    log = logits.double().numpy() - np.log(np.exp(logits.double().numpy()).sum(-1, keepdims=True))
    target = (1 - smoothing) * np.eye(5)[labels.clamp(min=0).numpy()] + smoothing / 5
    closed_form = -(target * log).sum(-1)[mask.numpy()].sum()
    assert count == 5
    assert found.item() == pytest.approx(closed_form, rel=1e-5)
    of_torch = functional.cross_entropy(logits[mask], labels[mask], reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(found, of_torch)


def test_without_smoothing_the_loss_is_the_same_to_the_bit() -> None:
    logits, labels = torch.randn(1, 40, 7), torch.randint(7, (1, 40))
    plain = functional.cross_entropy(logits[0], labels[0], reduction="none").sum()
    assert torch.equal(cross_entropy(logits, labels, labels >= 0)[0], plain)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_gradient_is_finite(kind: torch.dtype) -> None:
    logits = torch.tensor([[[0.0, 80.0, -300.0], [1e4, -1e4, 0.0]]], dtype=kind, requires_grad=True)
    labels = torch.tensor([[2, 1]])
    cross_entropy(logits, labels, labels >= 0, 0.1)[0].backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("arm", ["hard", "pretrained", "sequence"])
def test_arms_without_a_teacher_take_the_smoothing_of_the_recipe(arm: str) -> None:
    (term,) = objective_of(arm, objective_for(arm, SMOOTH)).parts
    logits, labels = torch.randn(1, 4, 3), torch.tensor([[0, 1, 2, 0]])
    mask = labels >= 0
    assert term.weight == 1
    torch.testing.assert_close(term.loss(logits, labels, mask), cross_entropy(logits, labels, mask, 0.1))


def test_arms_without_a_teacher_hang_on_nothing_else_of_the_objective() -> None:
    assert objective_for("hard", ObjectiveConfig((HardTerm("hard", 0.3), KlTerm("kl", 0.7)))) == ObjectiveConfig()
    assert objective_for("hard", SMOOTH) == objective_for("hard", ObjectiveConfig((HardTerm("hard", 1.0, 0.1),)))


@pytest.mark.parametrize("name", TASKS)
def test_smoothing_is_refused_where_labels_are_no_classes(name: str) -> None:
    task = TASKS[name]
    config = type("Config", (), {"arms": (), "objective": ObjectiveConfig((HardTerm("hard", 1.0, 0.1),))})()
    if task.kind in ("categorical", "token"):
        check_objective(config, task)
        return
    with pytest.raises(UserError, match=r"objective.terms\[0\].smoothing is 0.1"):
        check_objective(config, task)
