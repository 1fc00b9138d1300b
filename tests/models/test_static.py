"""The static student: its vectors against a few lines of numpy, and what it makes of them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from little_world import word_pieces
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from distill import tasks
from distill.config import RecurrentArchitecture, StaticArchitecture
from distill.config.schema import ExportConfig
from distill.export.onnx_export import export_onnx
from distill.models import (
    EncoderConfig,
    EncoderForSequenceClassification,
    LoadedModel,
    StaticConfig,
    StaticForSequenceClassification,
    StaticModel,
    TokenVectors,
    build_recurrent,
    build_static,
    frequency_weights,
    load_model,
    save_model,
    vectors_of_teacher,
)
from distill.models.graphs import graphs_of
from distill.models.token_vectors import principal_components
from distill.text import Example, Reading, pad, train_tokenizer, trim_vocabulary

TEXTS = ["a gorgeous witty film", "the cast is dull", "a film", "the film is a film"]
TASK = tasks.build("text-classification", ("a", "b", "c"))
PAIR_TASK = tasks.build("regression", (), "pearson", None)
LENGTHS = [1, 2, 9, 512]


def _reading(texts: list[str] = TEXTS, length: int = 512) -> Reading:
    return Reading(word_pieces(texts), length)


def _encoded(reading: Reading, texts: list[Any]) -> Any:
    return reading.encode([Example(*text) if isinstance(text, tuple) else Example(text) for text in texts])


def _inputs(reading: Reading, texts: list[Any]) -> dict[str, Tensor]:
    return {k: torch.from_numpy(ids) for k, ids in pad(_encoded(reading, texts), reading.pad_id).items()}


def _start(size: int, dimensions: int = 6) -> TokenVectors:
    random = np.random.default_rng(0)
    vectors, weights = random.normal(size=(size, dimensions)), random.uniform(0.1, 1, size)
    return TokenVectors(vectors.astype(np.float32), weights.astype(np.float32))


def _student(reading: Reading, paired: bool = False, task: Any = TASK, **sizes: Any) -> Any:
    architecture = StaticArchitecture(hidden_size=5, **sizes)
    return build_static(architecture, _start(reading.vocabulary_size), reading, task, 0, paired)


def bert(vocabulary: int) -> Any:
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=vocabulary, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
        )
    )


def roberta(vocabulary: int) -> Any:
    sizes: Any = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24, "pad_token_id": 0}
    return RobertaForSequenceClassification(RobertaConfig(vocab_size=vocabulary, hidden_size=16, **sizes))


def gpt2(vocabulary: int) -> Any:
    """A classifier that is given no padding id, and so answers no two texts at once."""
    return GPT2ForSequenceClassification(GPT2Config(vocab_size=vocabulary, n_embd=16, n_layer=2, n_head=2))


def in_repo(vocabulary: int) -> Any:
    sizes: Any = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
    config = EncoderConfig(vocab_size=vocabulary, **sizes, pairs="apart", pair_opening=1, norm="post")
    return EncoderForSequenceClassification(config)


def _teacher(make: Any, tokenizer: Tokenizer) -> LoadedModel:
    torch.manual_seed(0)
    model = make(tokenizer.get_vocab_size())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return LoadedModel(model.eval(), tokenizer, {})


def _last_state(model: Any, ids: list[int]) -> Any:
    """Of the one text, the state of its second token."""
    given = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
    with torch.no_grad():
        states = model(**given, output_hidden_states=True).hidden_states[-1]
    return states[0, 1].numpy()


def _by_svd(x: Any, size: int) -> Any:
    """Principal components by the singular values, at a mean square of 1."""
    centred = x.astype(np.float64) - x.mean(0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    kept = left[:, :size] * values[:size]
    return kept / np.sqrt((kept**2).mean())


@pytest.mark.parametrize("make", [bert, roberta, gpt2, in_repo])
def test_a_vector_is_the_last_state_of_its_token_alone(make: Any) -> None:
    reading = _reading()
    teacher = _teacher(make, reading.tokenizer)
    found = vectors_of_teacher(teacher, "layers", 4, reading)
    states = np.stack([_last_state(teacher.model, [2, i, 3]) for i in range(reading.vocabulary_size)])
    expected = _by_svd(states, 4)
    assert found.shape == expected.shape
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-3)  # a component has no sign of its own
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-2)


def test_a_vector_may_be_the_word_embedding() -> None:
    reading = _reading()
    teacher = _teacher(bert, reading.tokenizer)
    found = vectors_of_teacher(teacher, "embeddings", 7, reading)
    expected = _by_svd(teacher.model.get_input_embeddings().weight.detach().numpy(), 7)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-3)


def test_a_recurrent_teacher_has_states_too() -> None:
    reading = _reading()
    architecture = RecurrentArchitecture("gru", embedding_size=6, hidden_size=5)
    teacher = build_recurrent(architecture, reading.tokenizer, {}, TASK, 20, 0)
    teacher.model.eval()
    states = np.stack([_last_state(teacher.model, [2, i, 3]) for i in range(reading.vocabulary_size)])
    found = vectors_of_teacher(teacher, "layers", 99, reading)
    np.testing.assert_allclose(np.abs(found), np.abs(_by_svd(states, 10)), atol=1e-3)  # both directions, no more


@pytest.mark.parametrize(("rows", "columns", "size", "kept"), [(9, 5, 3, 3), (9, 5, 5, 5), (9, 5, 8, 5), (3, 5, 4, 3)])
def test_principal_components_are_as_many_as_there_can_be(rows: int, columns: int, size: int, kept: int) -> None:
    x = np.random.default_rng(1).normal(size=(rows, columns)).astype(np.float32) * 30 + 7
    found = principal_components(x, size)
    assert found.shape == (rows, kept)
    assert np.square(found).mean() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(np.abs(found), np.abs(_by_svd(x, kept)), atol=1e-4)


def test_vectors_that_are_all_alike_give_zeros() -> None:
    assert not principal_components(np.ones((4, 3), dtype=np.float32), 2).any()


def test_pieces_of_a_trimmed_vocabulary_have_the_vectors_of_the_same_pieces() -> None:
    whole = _reading()
    teacher = _teacher(bert, whole.tokenizer)
    trimmed = trim_vocabulary(whole.tokenizer, [Example("a film")])
    own = Reading(trimmed.tokenizer, 20)
    assert own.vocabulary_size < whole.vocabulary_size
    found = vectors_of_teacher(teacher, "embeddings", 16, own)
    rows = teacher.model.get_input_embeddings().weight.detach().numpy()[trimmed.kept]
    np.testing.assert_allclose(found @ found.T, _by_svd(rows, 16) @ _by_svd(rows, 16).T, atol=1e-2)


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece"])
def test_pieces_that_the_teacher_does_not_have_start_from_random_numbers(kind: Any) -> None:
    texts = [Example(text) for text in ["zebra crossing zebra", *TEXTS] * 3]
    own = Reading(train_tokenizer(texts, 300, kind), 20)
    teacher = _teacher(bert, _reading().tokenizer)
    vectors = vectors_of_teacher(teacher, "layers", 4, own)
    unknown = np.isnan(vectors).any(1)
    assert 0 < unknown.sum() < len(vectors)
    start = TokenVectors(vectors, np.ones(len(vectors), dtype=np.float32))
    built = [build_static(StaticArchitecture(), start, own, TASK, seed, False).model for seed in (0, 0, 1)]
    tables = [model.embeddings.weight.detach().numpy() for model in built]
    np.testing.assert_array_equal(tables[0], tables[1])
    np.testing.assert_array_equal(tables[0][~unknown], vectors[~unknown])
    assert (tables[0][unknown] != tables[2][unknown]).all()


def test_weights_are_smooth_inverse_frequencies() -> None:
    reading = _reading()
    texts = ["film film film dull", "dull a"]
    encoded = _encoded(reading, texts)
    weights = frequency_weights(encoded, reading.vocabulary_size)
    counts = {"film": 3, "dull": 2, "a": 1, "[CLS]": 2, "[SEP]": 2, "the": 0}
    for piece, count in counts.items():
        expected = 1e-3 / (1e-3 + count / 10)
        assert weights[reading.tokenizer.token_to_id(piece)] == pytest.approx(expected, rel=1e-5)


def test_a_text_is_the_weighted_mean_of_its_tokens() -> None:
    reading = _reading()
    model = _student(reading).model.eval()
    start = _start(reading.vocabulary_size)
    (encoded,) = _encoded(reading, ["a gorgeous film"])
    ids = encoded.input_ids
    weights = start.weights_V[ids][:, None]
    mean = (start.vectors_VD[ids] * weights).sum(0) / weights.sum()
    hidden = np.maximum(model.hidden.weight.detach().numpy() @ mean + model.hidden.bias.detach().numpy(), 0)
    expected = model.classifier.weight.detach().numpy() @ hidden + model.classifier.bias.detach().numpy()
    with torch.no_grad():
        found = model(input_ids=torch.from_numpy(ids)[None]).logits[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("paired", [False, True])
def test_padding_never_changes_an_answer(paired: bool) -> None:
    """One token, 512 tokens, no word at all, words that no one knows; of pairs each side may be empty."""
    reading = _reading()
    texts: list[Any] = ["", "film", "ψψ ΞΞ", "film " * 600, *TEXTS]
    if paired:
        texts = [*zip(texts, texts[::-1], strict=True), ("", ""), ("film", "film")]
    model = _student(reading, paired).model.eval()
    with torch.no_grad():
        together = model(**_inputs(reading, texts)).logits
        assert together.isfinite().all()
        for text, expected in zip(texts, together, strict=True):
            torch.testing.assert_close(model(**_inputs(reading, [text])).logits[0], expected)


def test_a_row_of_padding_alone_gives_numbers() -> None:
    model = _student(_reading()).model.eval()
    with torch.no_grad():
        assert model(*torch.zeros(2, 1, 4, dtype=torch.long)).logits.isfinite().all()


def test_two_texts_are_compared() -> None:
    reading = _reading()
    model = _student(reading, paired=True, task=PAIR_TASK).model.eval()
    seen: list[Tensor] = []
    model.hidden.register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    single = _student(reading).model.eval()
    alone: list[Tensor] = []
    single.hidden.register_forward_pre_hook(lambda _module, given: alone.append(given[0]))
    with torch.no_grad():
        model(**_inputs(reading, [("a film", "the dull cast")]))
        single(**_inputs(reading, ["a film"]))
    u, v = seen[0][0, :6], seen[0][0, 6:12]
    torch.testing.assert_close(u, alone[0][0])
    torch.testing.assert_close(seen[0][0, 12:], torch.cat([(u - v).abs(), u * v]))


def test_the_vectors_are_trained_and_the_weights_are_not() -> None:
    model = _student(_reading()).model
    names = {name for name, _ in model.named_parameters()}
    assert names == {f"{part}.{one}" for part in ("hidden", "classifier") for one in ("weight", "bias")} | {
        "embeddings.weight"
    }
    model(torch.tensor([[2, 7, 3]])).logits.sum().backward()
    assert model.embeddings.weight.grad[7].any()


@pytest.mark.parametrize(("kind", "auto"), [(StaticModel, AutoModel), (StaticForSequenceClassification, None)])
def test_auto_classes_load_what_was_saved(kind: Any, auto: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = kind(StaticConfig(vocab_size=20, embedding_size=6, hidden_size=5, num_labels=3)).eval()
    model.token_weights.uniform_(0.1, 1)
    model.save_pretrained(tmp_path)
    again = (auto or AutoModelForSequenceClassification).from_pretrained(tmp_path).eval()
    assert type(again) is kind
    assert all(torch.equal(one, again.state_dict()[name]) for name, one in model.state_dict().items())
    assert "token_weights" in again.state_dict()


def _difference(session: Any, model: nn.Module, inputs: dict[str, Tensor], output: str) -> float:
    names = [one.name for one in session.get_inputs()]
    found = session.run([output], {name: inputs[name].numpy() for name in names})[0]
    with torch.no_grad():
        said = model(**{name: inputs[name] for name in names})
    expected = said.logits if output == "logits" else said.last_hidden_state.sum(1)
    if output != "logits":
        expected = expected / expected.norm(dim=-1, keepdim=True)
    return float(np.abs(found - expected.numpy()).max())


@pytest.mark.parametrize("exporter", ["legacy", "dynamo"])
@pytest.mark.parametrize(
    ("task", "paired"), [(TASK, False), (PAIR_TASK, True), (tasks.build("sentence-embedding", ()), False)]
)
def test_the_graph_computes_the_same_at_other_lengths(task: Any, paired: bool, exporter: Any, tmp_path: Path) -> None:
    reading = _reading()
    save_model(_student(reading, paired, task), tmp_path / "student", 512)
    model = load_model(tmp_path / "student", task).model
    (spec,) = graphs_of(model, task)
    assert ("token_type_ids" in spec.inputs) == paired
    export_onnx(spec, tmp_path / "m.onnx", ExportConfig(exporter=exporter))
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    for texts in (TEXTS, TEXTS[:1], ["film"], ["film " * 600, ""]):
        asked = [*zip(texts, texts[::-1], strict=True)] if paired else texts
        assert _difference(session, model, _inputs(reading, asked), spec.outputs[-1]) < 1e-5
