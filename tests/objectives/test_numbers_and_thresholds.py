"""Terms that once treated a number as a logit, and pseudo labels by the teacher's own thresholds."""

import numpy as np
import pytest
import torch

from distill.config import HardTerm, KlTerm, MseTerm, ObjectiveConfig
from distill.objectives import Objective
from distill.training import objective_of

MASK = torch.ones(1, 3, dtype=torch.bool)


@pytest.mark.parametrize("term", [HardTerm("hard"), MseTerm("mse")])
def test_numbers_of_any_size_are_learnt_as_they_are(term: HardTerm | MseTerm) -> None:
    target = torch.tensor([[[-80.0], [-10000.0], [55.0]]])
    loss = Objective.of([term], "number").parts[0].loss
    assert loss(target.clone(), target, MASK)[0] == 0
    total, count = loss(target + torch.tensor([[[1.0], [2.0], [3.0]]]), target, MASK)
    assert (float(total), int(count)) == (pytest.approx(14.0), 3)


def test_pseudo_labels_are_what_the_teacher_gives_by_its_thresholds() -> None:
    teacher = torch.tensor([[[-1.0, 0.5], [-3.0, 2.0], [1.0, -1.0]]])
    student = torch.tensor([[[0.3, -0.2], [1.1, 0.4], [-0.7, 0.9]]])
    config = ObjectiveConfig([KlTerm("kl")])
    term = objective_of("pseudo+transfer", config, "bernoulli", thresholds=(-2.0, 1.0)).parts[0]
    given = np.array([[1, 0], [0, 1], [1, 0]])
    p = 1 / (1 + np.exp(-student[0].numpy()))
    expected = -(given * np.log(p) + (1 - given) * np.log(1 - p)).sum()
    assert float(term.loss(student, teacher, MASK)[0]) == pytest.approx(expected, rel=1e-5)
