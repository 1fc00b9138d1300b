"""Layers of the student that stand in for the teacher's."""

import copy
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
)

from distill.config import HardTerm
from distill.models.students import layer_list, student_from_layers
from distill.objectives import Objective
from distill.training.theseus import replacing

IDS = torch.randint(1, 50, (3, 7), generator=torch.Generator().manual_seed(0))


def bert() -> Any:
    sizes = {"hidden_size": 16, "num_hidden_layers": 6, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=50, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **sizes)
    return BertForSequenceClassification(config)


def distilbert() -> Any:
    sizes = {"dim": 16, "n_layers": 6, "n_heads": 2, "hidden_dim": 32}
    config = DistilBertConfig(vocab_size=50, dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0, **sizes)
    return DistilBertForSequenceClassification(config)


@pytest.fixture(params=[bert, distilbert], ids=["BERT", "DistilBERT"])
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any, Objective]:
    """Teacher, student of two of its layers with weights of its own, and an objective."""
    torch.manual_seed(0)
    teacher = request.param()
    student = student_from_layers(teacher, [0, 3])
    with torch.no_grad():
        for layer in (*layer_list(teacher), *layer_list(student)):
            for parameter in layer.parameters():
                parameter += 0.3 * torch.randn_like(parameter)
    return teacher.train(), student.train(), Objective.of([HardTerm("hard")])


def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model(IDS, attention_mask=torch.ones_like(IDS)).logits
    return found


def test_no_chance_is_the_teacher_and_every_chance_the_student(pair: tuple[Any, Any, Objective]) -> None:
    teacher, student, objective = pair
    alone, of_teacher = logits(student), logits(teacher)
    with replacing(student, teacher, objective, ((0.0, 0.0), (1.0, 1.0))):
        torch.testing.assert_close(logits(student), of_teacher)  # embeddings and heads are equal
        torch.testing.assert_close(logits(student.eval()), alone)
        student.train()
        objective.step_to(1.0)
        torch.testing.assert_close(logits(student), alone)
    objective.step_to(0.0)
    torch.testing.assert_close(logits(student), alone)
    assert not teacher.training


def test_each_layer_is_drawn_by_itself_and_replaces_its_own_part_of_the_teacher(
    pair: tuple[Any, Any, Objective],
) -> None:
    teacher, student, objective = pair
    own, others = list(layer_list(student)), list(layer_list(teacher))
    expected = {}
    for drawn in product((False, True), repeat=2):
        mixed, layers = copy.deepcopy(teacher), copy.deepcopy(others)
        for layer in layers[1:3] + layers[4:]:
            layer.forward = lambda states, *_, **__: states  # left out
        for i, is_own in enumerate(drawn):
            if is_own:
                layers[3 * i] = own[i]
            else:
                for place in range(3 * i, 3 * i + 3):
                    layers[place] = others[place]
        for place, layer in enumerate(layers):
            layer_list(mixed)[place] = layer
        expected[drawn] = logits(mixed)
    torch.manual_seed(1)
    with replacing(student, teacher, objective, ((0.0, 0.5),)):
        found = [logits(student) for _ in range(200)]
    counts = Counter(next(k for k, v in expected.items() if torch.allclose(one, v, atol=1e-5)) for one in found)
    assert all(30 <= counts[drawn] <= 70 for drawn in expected)  # 50 each, more than three standard deviations


def test_the_teacher_is_not_trained_and_not_saved(pair: tuple[Any, Any, Objective], tmp_path: Path) -> None:
    teacher, student, objective = pair
    names = set(student.state_dict())
    with replacing(student, teacher, objective, ((0.0, 0.5),)):
        assert set(student.state_dict()) == names
        for _ in range(8):
            logits(student).sum().backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert any(p.grad is not None for p in layer_list(student).parameters())
    student.save_pretrained(tmp_path)
    assert set(type(student).from_pretrained(tmp_path).state_dict()) == names
