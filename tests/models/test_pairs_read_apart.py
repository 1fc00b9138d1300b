"""Pairs in one row as two rows each, against texts that are encoded one by one."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from distill.config import Architecture, RecurrentArchitecture, RecurrentStudent, TransformerStudent
from distill.config.schema import ExportConfig
from distill.export.onnx_export import export_onnx, graph_inputs
from distill.models import build_student, load_model, save_model
from distill.models.pooling import compared, read_apart
from distill.tasks import build
from distill.text import Example, Reading, pad

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "d", "e")
PAIRS = [("a b c", "d e"), ("a", "a"), ("b c", ""), ("", "d e a b"), ("", "")]
TASK = build("regression", (), "pearson", None)
STUDENTS: list[Any] = [
    TransformerStudent("transformer", Architecture(hidden_size=16, intermediate_size=24)),
    *(
        RecurrentStudent("recurrent", RecurrentArchitecture(cell, embedding_size=6, hidden_size=5, pooling=pooling))  # type: ignore[arg-type]
        for cell, pooling in (("rnn", "max"), ("gru", "mean"), ("lstm", "last"))
    ),
]


def _tokenizer(opening: bool = True, types: bool = True) -> Tokenizer:
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    first = "[CLS] $A [SEP]" if opening else "$A [SEP]"
    made.post_processor = processors.TemplateProcessing(
        single=first,
        pair=f"{first} $B:1 [SEP]:1" if types else f"{first} $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return made


def _inputs(reading: Reading, pairs: list[tuple[str, str]]) -> dict[str, torch.Tensor]:
    encoded = reading.encode([Example(first, second) for first, second in pairs])
    return {name: torch.from_numpy(array) for name, array in pad(encoded, reading.pad_id).items()}


@pytest.mark.parametrize("opening", [True, False])
def test_each_text_is_what_it_is_alone(opening: bool) -> None:
    reading = Reading(_tokenizer(opening), 20)
    inputs = _inputs(reading, PAIRS)
    ids, mask = read_apart(*inputs.values(), int(opening), 0)
    texts = [first for first, _ in PAIRS] + [second for _, second in PAIRS]
    expected = pad(reading.encode([Example(text) for text in texts]), 0)
    np.testing.assert_array_equal(ids, expected["input_ids"])
    np.testing.assert_array_equal(mask, expected["attention_mask"])


def test_without_types_or_without_any_token_there_is_still_something_to_read() -> None:
    ids, mask = read_apart(torch.tensor([[7, 8]]), torch.tensor([[1, 1]]), None, 0, 0)
    assert ids.tolist() == [[7, 8], [0, 0]]
    assert mask.tolist() == [[1, 1], [1, 0]]


def test_two_vectors_are_compared_as_written() -> None:
    u, v = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    found = compared(torch.from_numpy(np.concatenate([u, v])))
    np.testing.assert_array_equal(found, np.concatenate([u, v, np.abs(u - v), u * v], axis=1))


def _student(config: Any, tokenizer: Tokenizer | None = None, paired: bool = True) -> Any:
    return build_student(config, None, tokenizer or _tokenizer(), {}, TASK, None, 20, 0, paired)


@pytest.mark.parametrize("config", STUDENTS)
def test_a_model_compares_what_it_says_of_each_text_alone(config: Any) -> None:
    model = _student(config).model.eval()
    reading = Reading(_tokenizer(), 20)
    seen: list[torch.Tensor] = []
    model.classifier.register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    with torch.no_grad():
        for first, second in PAIRS:
            together = model(**_inputs(reading, PAIRS)).logits[PAIRS.index((first, second))]
            alone = model(**_inputs(reading, [(first, second)])).logits[0]
            torch.testing.assert_close(together, alone)  # no other pair, and no padding, changes an answer
            model(**_inputs(reading, [(first, first)]))
            model(**_inputs(reading, [(second, second)]))
            width = seen[-1].shape[1] // 4
            u, v = seen[-2][0, :width], seen[-1][0, :width]
            torch.testing.assert_close(seen[-3][0], torch.cat([u, v, (u - v).abs(), u * v]))
            assert seen[-1][0, 2 * width : 3 * width].abs().max() < 1e-6  # a text does not differ from itself


@pytest.mark.parametrize("exporter", ["legacy", "dynamo"])
@pytest.mark.parametrize("config", STUDENTS)
def test_the_graph_computes_the_same_at_other_lengths(config: Any, exporter: Any, tmp_path: Path) -> None:
    save_model(_student(config), tmp_path / "student", 20)
    model = load_model(tmp_path / "student", TASK).model
    assert graph_inputs(model) == ("input_ids", "attention_mask", "token_type_ids")
    export_onnx(model, tmp_path / "m.onnx", ExportConfig(exporter=exporter, opset=18), graph_inputs(model))
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    reading = Reading(_tokenizer(), 20)
    for pairs in (PAIRS, PAIRS[:1], PAIRS[2:3], [("a b c d e a b c", "a b c d e a b c d e")] * 7):
        inputs = _inputs(reading, pairs)
        found = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})[0]
        with torch.no_grad():
            assert np.abs(found - model(**inputs).logits.numpy()).max() < 1e-5


@pytest.mark.parametrize("config", [STUDENTS[0], STUDENTS[1]])
def test_single_texts_and_pairs_in_one_row_have_one_vector(config: Any) -> None:
    together = dataclasses.replace(config, architecture=dataclasses.replace(config.architecture, pairs="together"))
    size = _student(config).model.classifier.in_features
    assert _student(config, paired=False).model.classifier.in_features == size / 4
    assert _student(together).model.classifier.in_features == size / 4


def test_a_tokenizer_without_types_is_refused() -> None:
    with pytest.raises(ValueError, match="does not tell"):
        _student(STUDENTS[1], _tokenizer(types=False))
