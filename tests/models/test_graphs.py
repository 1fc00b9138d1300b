"""Which graphs a model becomes."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)

from distill import tasks
from distill.models.answers import answer_of, forward_of
from distill.models.graphs import graphs_of
from distill.text import Encoded, pad

HEADS = {
    "text-classification": BertForSequenceClassification,
    "multi-label-classification": BertForSequenceClassification,
    "regression": BertForSequenceClassification,
    "token-classification": BertForTokenClassification,
    "question-answering": BertForQuestionAnswering,
    "sentence-embedding": BertModel,
}


def _model(task: tasks.Task, **settings: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(**{**sizes, "intermediate_size": 16, "max_position_embeddings": 16, **settings})
    if task.kind not in ("span", "vector"):
        config.num_labels = task.width
    return HEADS[task.name](config)


@pytest.mark.parametrize("name", [name for name, task in tasks.TASKS.items() if not task.writes])
def test_one_graph_that_gives_what_the_task_names(name: str) -> None:
    task = tasks.build(name, ("a", "b", "c"))
    model = _model(task).train()
    (spec,) = graphs_of(model, task)
    assert spec.role == "model"
    assert spec.outputs == task.outputs
    assert spec.inputs == ("input_ids", "attention_mask", "token_type_ids")
    assert set(spec.axes) == {*spec.inputs, *spec.outputs}
    with torch.no_grad():
        found = dict(zip(spec.outputs, spec.module(*spec.example.values()), strict=True))
        model.eval()
        expected = answer_of(model(**spec.example), spec.example["attention_mask"])
    parts = [found[output] for output in task.read]
    torch.testing.assert_close(parts[0] if len(parts) == 1 else torch.stack(parts, dim=-1), expected)
    batch, length = spec.example["input_ids"].shape
    for output, tensor in found.items():  # every axis that follows the inputs is free, and no other
        free = {0: batch, 1: length} if 1 in spec.axes[output] else {0: batch}
        assert tuple(tensor.shape[: len(free)]) == tuple(free.values())
        assert len(free) == 2 or length not in tensor.shape[1:]


def test_the_model_given_is_not_changed_and_is_not_the_one_that_is_exported() -> None:
    task = tasks.build("text-classification", ("a", "b"))
    model = _model(task).train().to(torch.bfloat16)
    (spec,) = graphs_of(model, task)
    assert model.training
    assert not spec.module.training
    assert {p.dtype for p in spec.module.parameters()} == {torch.float32}
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    next(spec.module.parameters()).data.fill_(1e9)
    assert max(p.detach().abs().max().item() for p in model.parameters()) < 1e9


@pytest.mark.parametrize("types", [1, 2])
def test_a_model_answers_padded_arrays_as_it_does_tensors(types: int) -> None:
    task = tasks.build("text-classification", ("a", "b", "c"))
    model = _model(task, type_vocab_size=types).eval()
    none = np.zeros(0, dtype=np.int64)
    arrays = pad([Encoded(np.arange(2, 2 + n), np.arange(n) // 2 % 2, none, False) for n in (3, 7)], 0)
    found = forward_of(model)(arrays)
    assert found.dtype == "float32"
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    if types == 1:  # it would raise an index error, were they given
        del tensors["token_type_ids"]
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), model(**tensors).logits)
