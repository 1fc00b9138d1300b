"""An encoder whose table of words is a product of two: V x E and E x D."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from distill import tasks
from distill.config import Architecture, TransformerStudent
from distill.config.schema import ExportConfig
from distill.errors import UserError
from distill.export.onnx_export import export_onnx
from distill.models import (
    EncoderConfig,
    EncoderForMaskedLM,
    EncoderForSequenceClassification,
    EncoderForTokenClassification,
    LoadedModel,
    build_student,
    build_transformer,
    parameter_count,
)
from distill.models.graphs import graphs_of
from distill.models.students import keep_vocabulary
from distill.models.word_embeddings import check_embeddings
from distill.text import Example, train_tokenizer

V, E, D = 50, 5, 16
TASK = tasks.build("text-classification", ("a", "b"))
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


def _teacher(texts: list[Example]) -> LoadedModel:
    tokenizer = train_tokenizer(texts * 3, 60)
    sizes: dict[str, Any] = {"hidden_size": D, "num_attention_heads": 2, "num_hidden_layers": 1, "num_labels": 2}
    torch.manual_seed(3)
    model = BertForSequenceClassification(BertConfig(vocab_size=tokenizer.get_vocab_size(), **sizes))
    torch.nn.init.normal_(model.get_input_embeddings().weight)
    return LoadedModel(model, tokenizer, {})


@pytest.mark.parametrize(("hidden", "embedding"), [(D, E), (D, 0), (8, 0), (8, 6)])
def test_a_student_starts_from_the_closest_table_of_its_rank(hidden: int, embedding: int) -> None:
    texts = [Example("the cat sat on the mat"), Example("a dog sat")]
    teacher = _teacher(texts)
    rank = embedding or hidden
    config = TransformerStudent("transformer", Architecture(1, hidden, embedding, 2, 16), embeddings="teacher")
    student = build_student(config, teacher, teacher.tokenizer, {}, TASK, None, 16, 0).model
    old = teacher.model.get_input_embeddings().weight.detach().numpy().astype(np.float64)
    left, values, right = np.linalg.svd(old, full_matrices=False)
    best = (left[:, :rank] * values[:rank]) @ right[:rank]  # Eckart and Young
    found = student.get_input_embeddings().weight.detach().numpy()
    assert found.shape == (len(old), rank)
    np.testing.assert_allclose(found @ found.T, best @ best.T, atol=1e-4)  # whichever way the axes are turned
    if embedding and hidden == D:
        table = student.encoder.embeddings.widen(student.get_input_embeddings().weight)
        np.testing.assert_allclose(table.detach().numpy(), best, atol=1e-4)


def test_pieces_that_the_teacher_lacks_keep_their_random_weights() -> None:
    texts = [Example("the cat sat on the mat"), Example("a dog sat")]
    teacher, own = _teacher(texts), train_tokenizer([*texts, Example("zebra zebra zebra")] * 3, 80)
    teacher_less = TransformerStudent("transformer", Architecture(1, 8, 0, 2, 16))
    config = TransformerStudent("transformer", Architecture(1, 8, 0, 2, 16), embeddings="teacher")
    random, found = (
        build_student(one, teacher, own, {}, TASK, None, 16, 0).model.get_input_embeddings().weight
        for one in (teacher_less, config)
    )
    lacking = [i for piece, i in own.get_vocab().items() if teacher.tokenizer.token_to_id(piece) is None]
    assert 0 < len(lacking) < len(found)
    same = (random == found).all(1).nonzero().flatten().tolist()
    assert set(same) == set(lacking)


def test_a_table_wider_than_the_teachers_is_refused_with_the_width_it_has() -> None:
    teacher = _teacher([Example("the cat sat")])
    config = TransformerStudent("transformer", Architecture(1, 32, 0, 2, 16), embeddings="teacher")
    with pytest.raises(UserError, match=r"to 32 numbers, but those of this teacher have 16; set .*embedding_size=16"):
        check_embeddings(config, teacher.model)
    check_embeddings(TransformerStudent("transformer", Architecture(1, 32, 16, 2, 16), "teacher"), teacher.model)
    check_embeddings(TransformerStudent("transformer", Architecture(1, 32, 0, 2, 16)), teacher.model)
