"""An encoder whose table of words is a product of two: V x E and E x D."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from distill import tasks
from distill.config import Architecture
from distill.config.schema import ExportConfig
from distill.export.onnx_export import export_onnx
from distill.models import (
    EncoderConfig,
    EncoderForMaskedLM,
    EncoderForSequenceClassification,
    EncoderForTokenClassification,
    build_transformer,
    parameter_count,
)
from distill.models.graphs import graphs_of
from distill.models.students import keep_vocabulary
from distill.text import Example, train_tokenizer

V, E, D = 50, 5, 16
SIZES: dict[str, Any] = {"vocab_size": V, "hidden_size": D, "intermediate_size": 24, "num_hidden_layers": 1}
IDS = torch.tensor([[2, 7, 9, 3], [2, 11, 3, 0]])
MASK = (IDS != 0).long()
HEADS = [EncoderForSequenceClassification, EncoderForTokenClassification, EncoderForMaskedLM]


def _model(kind: Any, embedding_size: int) -> Any:
    torch.manual_seed(0)
    return kind(EncoderConfig(**SIZES, embedding_size=embedding_size, num_labels=3)).eval()


def _logits(model: Any, ids: Any = IDS) -> Any:
    with torch.no_grad():
        return model(ids, MASK).logits


@pytest.mark.parametrize("kind", HEADS)
def test_a_factorised_table_answers_as_its_product(kind: Any) -> None:
    factorised, whole = _model(kind, E), _model(kind, 0)
    state = factorised.state_dict()
    table = state["encoder.embeddings.word.weight"] @ state.pop("encoder.embeddings.widen.weight").T
    assert table.shape == (V, D)
    whole.load_state_dict({**state, "encoder.embeddings.word.weight": table})
    torch.testing.assert_close(_logits(factorised), _logits(whole), atol=1e-5, rtol=1e-5)
    assert parameter_count(whole) - parameter_count(factorised) == V * D - V * E - E * D


def test_without_a_size_there_is_one_table() -> None:
    names = {name for name, _ in _model(HEADS[0], 0).named_parameters()}
    assert not any("widen" in name for name in names)
    assert names == {name for name, _ in _model(HEADS[0], D).named_parameters()}


def test_words_are_at_the_start_as_large_as_those_of_one_table() -> None:
    sizes = {**SIZES, "vocab_size": 2000, "hidden_size": 64, "num_attention_heads": 2}
    for size in (8, 32, 0):
        embeddings = EncoderForSequenceClassification(EncoderConfig(**sizes, embedding_size=size)).encoder.embeddings
        words = embeddings.widen(embeddings.word.weight).detach()
        assert float(words.std()) == pytest.approx(0.02, rel=0.25), size


def test_a_trimmed_vocabulary_keeps_the_rows_of_the_narrow_table() -> None:
    model = _model(HEADS[0], E)
    kept = np.array([0, 2, 3, 7, 9, 11])
    new = torch.from_numpy(np.searchsorted(kept, IDS.numpy()))
    expected = _logits(model)
    keep_vocabulary(model, kept)
    torch.testing.assert_close(_logits(model, new), expected)


@pytest.mark.parametrize("kind", HEADS)
def test_what_was_saved_is_loaded_and_what_is_exported_computes_the_same(kind: Any, tmp_path: Path) -> None:
    model = _model(kind, E)
    model.save_pretrained(tmp_path)
    again = kind.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(_logits(again), _logits(model))
    if kind is EncoderForMaskedLM:
        return
    name = "text-classification" if kind is EncoderForSequenceClassification else "token-classification"
    (spec,) = graphs_of(again, tasks.build(name, ("a", "b", "c")))
    export_onnx(spec, tmp_path / "m.onnx", ExportConfig())
    fed = {"input_ids": IDS.numpy(), "attention_mask": MASK.numpy(), "token_type_ids": np.zeros_like(IDS.numpy())}
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (found,) = session.run(["logits"], {name: fed[name] for name in spec.inputs})
    assert np.abs(found - _logits(model).numpy())[MASK.bool().numpy() if found.ndim == 3 else ...].max() < 1e-5


def test_a_recipe_says_the_size() -> None:
    tokenizer = train_tokenizer([Example("a witty film"), Example("a dull film")], 40)
    task = tasks.build("text-classification", ("a", "b"))
    built = [build_transformer(Architecture(embedding_size=size), tokenizer, {}, task, 16, 0).model for size in (0, 6)]
    tables = [model.get_input_embeddings() for model in built]
    assert [table.embedding_dim for table in tables] == [128, 6]
    assert isinstance(built[1].encoder.embeddings.widen, nn.Linear)
