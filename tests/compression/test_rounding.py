"""A model that is trained on as its int8 variant computes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_encoders import FAMILIES, ROWS, TASK, bert, logits_of

from distill.compression.rounding import SMALLEST_TABLE, round_activations, round_columns, round_rows, rounded
from distill.config import ExportConfig
from distill.export import quantize
from distill.export.onnx_export import export_graphs
from distill.models.graphs import graphs_of
from distill.runtime import ALONE, Graphs, in_order, respond


@pytest.mark.parametrize("family", FAMILIES, ids=lambda kind: kind.__name__)
def test_a_rounded_model_says_what_its_int8_graph_says(family: Any, tmp_path: Path) -> None:
    model, settings = family(), ExportConfig()
    plain = logits_of(model)
    with rounded(model):
        found = logits_of(model)
    assert torch.equal(logits_of(model), plain)
    sources = export_graphs(graphs_of(model, TASK), tmp_path, settings)
    quantize.quantize_int8(sources["model"], tmp_path / "int8.onnx")
    forward = Graphs({"model": tmp_path / "int8.onnx"}).forward(TASK)
    said = np.concatenate(in_order(respond(forward, ROWS.reading, TASK, ROWS.examples, ALONE)))
    lost, apart = (float(np.abs(one - said).mean()) for one in (plain.numpy(), found.numpy()))
    assert lost > 1e-3
    assert apart < lost / 10, (apart, lost)  # a number that lies on an edge is rounded up by one, down by the other


def test_the_smallest_table_is_that_of_the_export() -> None:
    assert SMALLEST_TABLE == quantize.SMALLEST_EMBEDDING


def test_each_rounding_by_hand() -> None:
    weight = torch.tensor([[1.0, -0.3, 0.0], [0.021, 0.01, -0.04]])
    most_O1 = torch.tensor([[1.0], [0.04]])
    torch.testing.assert_close(round_columns(weight), torch.tensor([[64, -19, 0], [34, 16, -64]]) / 64 * most_O1)
    torch.testing.assert_close(round_rows(weight), torch.tensor([[127, -38, 0], [67, 32, -127]]) / 127 * most_O1)
    x = torch.tensor([[[-1.0, 0.333, 3.0]], [[2.0, 1.0, 5.1]]])  # of each text a range of its own, 0 within it
    expected = torch.tensor([[[-64, 21, 191]], [[100, 50, 255]]]) * torch.tensor([4 / 255, 5.1 / 255])[:, None, None]
    torch.testing.assert_close(round_activations(x), expected)
    assert torch.equal(round_activations(torch.zeros(1, 2, 3)), torch.zeros(1, 2, 3))
    assert torch.equal(round_rows(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_gradients_pass_the_rounding() -> None:
    model, inputs = bert(), torch.tensor([[2, 7, 8, 3]])
    with rounded(model):
        model(inputs).logits.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for n, p in model.named_parameters())
    weight = torch.tensor([[1.0, -0.3]], requires_grad=True)
    (round_columns(weight) * torch.tensor([[2.0, 5.0]])).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [[2.0, 5.0]]


def test_an_error_inside_leaves_the_model_as_it_was() -> None:
    model = bert()
    plain = logits_of(model)
    with pytest.raises(ZeroDivisionError), rounded(model):
        1 / 0  # noqa: B018
    assert torch.equal(logits_of(model), plain)
