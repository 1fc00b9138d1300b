"""Matrices in two factors, and the classes that hold them."""

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_encoders import FAMILIES, ROWS, TASK, bert, logits_of, reloaded
from torch import nn
from transformers import AutoConfig

from distill.compression.factors import factors, rank_of, roots_of
from distill.compression.steps import Evidence, take
from distill.config import ExportConfig, LowRankStep
from distill.errors import UserError
from distill.export.onnx_export import export_graphs
from distill.export.parity import check_parity
from distill.models import LowRankEmbedding, LowRankLinear, parameter_count
from distill.models.graphs import graphs_of
from distill.models.low_rank import feed_forward_matrices, low_rank_like
from distill.runtime import Graphs

SEEN = Evidence(ROWS)


@pytest.fixture(params=FAMILIES, ids=lambda kind: kind.__name__)
def model(request: pytest.FixtureRequest) -> Any:
    return request.param()


def test_at_full_rank_it_is_the_model_itself(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill.compression.factors.rank_of", lambda share, matrix, key: min(matrix.shape))
    thin, what = take(LowRankStep("low_rank", 0.5, 0.5), copy.deepcopy(model), SEEN)
    torch.testing.assert_close(logits_of(thin), logits_of(model), atol=1e-5, rtol=1e-5)
    assert what.startswith("feed-forward matrices of rank 48; word embeddings of rank 4")


@pytest.mark.parametrize("seen", [SEEN, None], ids=["with texts", "beforehand"])
def test_a_model_of_low_rank_is_loaded_and_exported_as_others_are(
    seen: Evidence | None, model: Any, tmp_path: Path
) -> None:
    thin, what = take(LowRankStep("low_rank", 0.5, 0.4), copy.deepcopy(model), seen)
    ranks = [13, int(0.4 * 120 * (d := model.get_input_embeddings().embedding_dim) / (120 + d))]
    assert what == f"feed-forward matrices of rank {ranks[0]}; word embeddings of rank {ranks[1]}"
    matrices = len(feed_forward_matrices(model))
    saved = matrices * (48 * 64 - ranks[0] * (48 + 64)) + 120 * d - ranks[1] * (120 + d)
    assert parameter_count(thin) == parameter_count(model) - saved
    again = reloaded(thin, tmp_path)
    assert type(again) is type(thin)
    assert isinstance(again, type(model))
    torch.testing.assert_close(logits_of(again), logits_of(thin))
    graphs = Graphs(export_graphs(graphs_of(again, TASK), tmp_path, ExportConfig()))
    assert check_parity(again, graphs, ROWS.reading, TASK, ROWS.examples, 120, 1e-4).passed


@pytest.mark.slow
def test_another_process_loads_it_with_the_auto_classes(tmp_path: Path) -> None:
    take(LowRankStep("low_rank", 0.5, 0.5), bert(), None)[0].save_pretrained(tmp_path)
    code = (
        "import distill.models; from transformers import AutoModelForSequenceClassification as Auto\n"
        f"print(type(Auto.from_pretrained({str(tmp_path)!r})).__name__)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "LowRankBertForSequenceClassification"
    assert AutoConfig.from_pretrained(tmp_path).low_rank == {"of": "bert", "feed_forward": 13, "embeddings": 17}


def test_without_texts_the_product_is_the_nearest_of_its_rank() -> None:
    """Against numpy's singular value decomposition, truncated (Eckart and Young 1936)."""
    model = bert()
    thin, _ = take(LowRankStep("low_rank", 0.5, 0.5), copy.deepcopy(model), None)
    linear, layer, name = feed_forward_matrices(model)[1]
    place: Any = thin.bert.encoder.layer[layer].get_submodule(name)
    assert isinstance(place, LowRankLinear)
    for found, weight in (
        (place.out.weight @ place.into.weight, linear.weight),
        (thin.get_input_embeddings().table.weight @ thin.get_input_embeddings().widen.weight.T, word_table(model)),
    ):
        u, s, v = np.linalg.svd(weight.detach().double().numpy(), full_matrices=False)
        rank = rank_of(0.5, weight, "")
        np.testing.assert_allclose(found.detach().numpy(), (u[:, :rank] * s[:rank]) @ v[:rank], atol=1e-5)


def word_table(model: Any) -> Any:
    return model.get_input_embeddings().weight


def test_with_texts_the_outputs_are_the_nearest_of_their_rank() -> None:
    """Over what a layer takes of the texts: against numpy's decomposition of its outputs."""
    model, taken = bert(), list[torch.Tensor]()
    linear, _, _ = feed_forward_matrices(model)[0]
    hook = linear.register_forward_pre_hook(lambda _, given: taken.append(given[0][0]))
    logits_of(model)
    hook.remove()
    x_NI, weight = torch.cat(taken).double().numpy(), linear.weight.detach().double().numpy()
    outputs_NO, rank = x_NI @ weight.T, 5
    u, s, v = np.linalg.svd(outputs_NO, full_matrices=False)
    least = np.linalg.norm(outputs_NO - (u[:, :rank] * s[:rank]) @ v[:rank])
    roots = roots_of(model, [linear], SEEN)
    found_OR = factors(linear.weight, roots[linear], rank).detach().double().numpy()
    lost = np.linalg.norm(outputs_NO - x_NI @ (found_OR @ found_OR.T @ weight).T)
    assert lost == pytest.approx(least, rel=1e-4)
    plain_OR = factors(linear.weight, torch.ones(48), rank).detach().double().numpy()
    assert lost < 0.9 * np.linalg.norm(outputs_NO - x_NI @ (plain_OR @ plain_OR.T @ weight).T)


def test_a_token_counts_as_often_as_it_was_read_and_once_more() -> None:
    model = bert()
    table = model.get_input_embeddings()
    ids = np.concatenate([one.input_ids for one in ROWS.encoded])
    root_V = roots_of(model, [table], SEEN)[table]
    counts_V = np.bincount(ids, minlength=120) + 1
    np.testing.assert_allclose(root_V.numpy() ** 2, counts_V)
    read_ND = np.repeat(table.weight.detach().double().numpy(), counts_V, axis=0)
    least = np.linalg.norm(np.linalg.svd(read_ND, full_matrices=False)[1][5:])
    axes_DR = factors(table.weight.T, root_V, 5).detach().double().numpy()
    assert np.linalg.norm(read_ND - read_ND @ axes_DR @ axes_DR.T) == pytest.approx(least, rel=1e-5)


def test_what_stays_whole_stays() -> None:
    model = bert()
    only, _ = take(LowRankStep("low_rank", 0.5, 1.0), copy.deepcopy(model), None)
    assert torch.equal(only.get_input_embeddings().weight, word_table(model))
    only, _ = take(LowRankStep("low_rank", 1.0, 0.5), copy.deepcopy(model), None)
    assert isinstance(only.get_input_embeddings(), LowRankEmbedding)
    assert all(isinstance(m, nn.Linear) for m, _, _ in feed_forward_matrices(only))


def test_a_share_that_no_rank_has_is_refused() -> None:
    with pytest.raises(UserError, match=r"feed_forward_share is 0.01, but two factors of a matrix of 64 x 48 have 112"):
        take(LowRankStep("low_rank", 0.01), bert(), None)


def test_all_other_weights_are_the_models(model: Any) -> None:
    thin, own = low_rank_like(model, 5, 0).state_dict(), model.state_dict()
    shared = thin.keys() & own.keys()
    assert len(own) - len(shared) == 2 * len(feed_forward_matrices(model))
    assert all(torch.equal(thin[name], own[name]) for name in shared)
