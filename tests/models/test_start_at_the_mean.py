"""A new output layer starts at the best answer that does not look at the text."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForSequenceClassification

from distill import tasks
from distill.models import start_at_the_mean
from distill.models.teachers import output_layer
from distill.text import Example


def _model(outputs: int) -> BertForSequenceClassification:
    torch.manual_seed(0)
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=30,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            num_labels=outputs,
        )
    ).eval()


def test_labels_start_at_their_log_odds() -> None:
    task = tasks.build("multi-label-classification", ("a", "b", "c"))
    examples = [Example("x", label=("a",) * (i % 4 == 0) + ("b",) * (i % 2)) for i in range(40)]
    model = _model(3)
    start_at_the_mean(model, task, [*examples, Example("no label")])
    layer = output_layer(model)
    share = torch.sigmoid(layer.bias.detach()).numpy()
    np.testing.assert_allclose(share, [0.25, 0.5, 0.5 / 41], rtol=1e-5)


def test_numbers_start_at_their_mean_and_classes_where_they_are() -> None:
    model = _model(1)
    start_at_the_mean(model, tasks.build("regression", ()), [Example("x", label=1.0), Example("y", label=4.0)])
    assert output_layer(model).bias.item() == pytest.approx(2.5)
    model = _model(3)
    before = output_layer(model).bias.clone()
    start_at_the_mean(model, tasks.build("text-classification", ("a", "b", "c")), [Example("x", label="a")])
    assert torch.equal(output_layer(model).bias, before)


def test_an_output_layer_without_a_bias_starts_where_it_is() -> None:
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 16}
    model = LlamaForSequenceClassification(LlamaConfig(vocab_size=30, num_labels=2, **sizes))
    before = output_layer(model).weight.clone()
    start_at_the_mean(model, tasks.build("multi-label-classification", ("a", "b")), [Example("x", label=("a",))])
    assert torch.equal(output_layer(model).weight, before)
