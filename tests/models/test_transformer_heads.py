"""The encoder's heads: against BERT's, in the auto classes, saved and loaded, one from the checkpoint of another."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    BertForMaskedLM,
)

from distill.models.transformer import (
    EncoderConfig,
    EncoderForMaskedLM,
    EncoderForQuestionAnswering,
    EncoderForSequenceClassification,
    EncoderForTokenClassification,
    EncoderModel,
)

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "num_hidden_layers": 2,
    "hidden_size": 16,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
}
HEADS = [
    (EncoderModel, AutoModel),
    (EncoderForSequenceClassification, AutoModelForSequenceClassification),
    (EncoderForTokenClassification, AutoModelForTokenClassification),
    (EncoderForQuestionAnswering, AutoModelForQuestionAnswering),
    (EncoderForMaskedLM, AutoModelForMaskedLM),
]


def _ids() -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and segments [3, 9]; rows of 9, 4 and 1 real tokens."""
    random = torch.Generator().manual_seed(0)
    mask = (torch.arange(9)[None] < torch.tensor([9, 4, 1])[:, None]).long()
    return torch.randint(1, 50, (3, 9), generator=random) * mask, mask, (torch.arange(9)[None] > 3).long() * mask


def _shaken(module: nn.Module) -> Any:
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=random))
    return module.eval()


def _answers(model: Any) -> list[Tensor]:
    with torch.no_grad():
        return list(model(*_ids()).values())


def _masked_lm(**settings: Any) -> EncoderForMaskedLM:
    model: EncoderForMaskedLM = _shaken(EncoderForMaskedLM(EncoderConfig(**SIZES, **settings)))
    return model


def test_the_masked_language_model_is_bert() -> None:
    bert = _shaken(BertForMaskedLM(BertConfig(**SIZES)))
    model = EncoderForMaskedLM(EncoderConfig(**SIZES, norm="post")).eval()
    mine = {"cls.predictions.bias": "head.bias"}
    for part in ("weight", "bias"):
        mine[f"cls.predictions.transform.dense.{part}"] = f"head.dense.{part}"
        mine[f"cls.predictions.transform.LayerNorm.{part}"] = f"head.norm.{part}"
        mine[f"bert.embeddings.LayerNorm.{part}"] = f"encoder.embeddings.norm.{part}"
        for i in range(2):
            for old, new in {
                "attention.self.query": "attention.query",
                "attention.self.key": "attention.key",
                "attention.self.value": "attention.value",
                "attention.output.dense": "attention.output",
                "attention.output.LayerNorm": "attention_norm",
                "intermediate.dense": "feed_forward.up",
                "output.dense": "feed_forward.down",
                "output.LayerNorm": "feed_forward_norm",
            }.items():
                mine[f"bert.encoder.layer.{i}.{old}.{part}"] = f"encoder.blocks.{i}.{new}.{part}"
    for old, new in {"word": "word", "position": "position", "token_type": "segment"}.items():
        mine[f"bert.embeddings.{old}_embeddings.weight"] = f"encoder.embeddings.{new}.weight"
    given = bert.state_dict()
    model.load_state_dict({new: given[old] for old, new in mine.items()})
    ids, mask, segments = _ids()
    with torch.no_grad():
        found, expected = model(ids, mask, segments).logits, bert(ids, mask, segments).logits
    assert found.shape == (3, 9, 50)
    assert (found - expected)[mask.bool()].abs().max() < 1e-5
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in bert.parameters())


def test_start_and_end_are_two_columns_of_one_layer() -> None:
    model = _shaken(EncoderForQuestionAnswering(EncoderConfig(**SIZES)))
    with torch.no_grad():
        states = model.encoder(*_ids()).last_hidden_state
        found = model(*_ids())
    weight, bias = model.span.weight.detach(), model.span.bias.detach()
    torch.testing.assert_close(found.start_logits, states @ weight[0] + bias[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.end_logits, states @ weight[1] + bias[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("kind", "auto"), HEADS)
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_hidden_states_are_the_embeddings_and_each_blocks(kind: Any, auto: Any, norm: str) -> None:
    model = _shaken(kind(EncoderConfig(**SIZES, norm=norm)))
    caught: list[Tensor] = []
    for module in (model.encoder.embeddings, *model.encoder.blocks):
        module.register_forward_hook(lambda _module, _inputs, output: caught.append(output))
    with torch.no_grad():
        found = model(*_ids(), output_hidden_states=True).hidden_states
        assert model(*_ids()).hidden_states is None
        last = model.encoder(*_ids()).last_hidden_state
    assert len(found) == 3
    for mine, seen in zip(found, caught[:3], strict=True):
        torch.testing.assert_close(mine, seen, atol=0, rtol=0)
    torch.testing.assert_close(last, model.encoder.final_norm(found[-1]))


@pytest.mark.parametrize(("kind", "auto"), HEADS)
@pytest.mark.parametrize(
    ("norm", "positions", "activation"),
    [("post", "sinusoidal", "relu"), ("pre", "rotary", "swiglu"), ("pre", "learned", "gelu")],
)
def test_auto_classes_load_what_was_saved(
    kind: Any, auto: Any, norm: str, positions: str, activation: str, tmp_path: Path
) -> None:
    settings = EncoderConfig(**SIZES, num_labels=3, norm=norm, positions=positions, activation=activation)
    model = _shaken(kind(settings))
    model.save_pretrained(tmp_path)
    again = auto.from_pretrained(tmp_path).eval()
    assert type(again) is kind
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert (loaded.norm, loaded.positions, loaded.activation) == (norm, positions, activation)
    for found, expected in zip(_answers(again), _answers(model), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("kind", "auto"), HEADS)
@pytest.mark.parametrize("positions", ["sinusoidal", "rotary"])
def test_every_head_takes_the_encoder_of_a_masked_language_model(
    kind: Any, auto: Any, positions: str, tmp_path: Path
) -> None:
    pretrained = _masked_lm(positions=positions)
    pretrained.save_pretrained(tmp_path)
    model = kind.from_pretrained(tmp_path, num_labels=3)
    expected = pretrained.encoder.state_dict()
    found = model.encoder.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=0, rtol=0)
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_a_masked_language_model_from_a_classifier_starts_with_a_fresh_head(tmp_path: Path) -> None:
    classifier = _shaken(EncoderForSequenceClassification(EncoderConfig(**SIZES)))
    classifier.save_pretrained(tmp_path)
    model = EncoderForMaskedLM.from_pretrained(tmp_path)
    torch.testing.assert_close(model.get_input_embeddings().weight, classifier.get_input_embeddings().weight)
    assert (model.head.bias == 0).all()
    assert (model.head.norm.weight == 1).all()
    assert 0.01 < float(model.head.dense.weight.detach().std()) < 0.03


def _assert_tied(model: EncoderForMaskedLM) -> None:
    """The logits are the head's inner states times the word embeddings."""
    words, head = model.get_input_embeddings().weight, model.head
    with torch.no_grad():
        ids = torch.tensor([[1, 7, 3]])
        inner = head.norm(functional.gelu(head.dense(model.encoder(ids).last_hidden_state)))
        torch.testing.assert_close(model(ids).logits, inner @ words.T + head.bias, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("how", ["as built", "saved and loaded", "new embeddings", "new embeddings, saved and loaded"])
def test_the_words_are_embedded_and_scored_by_one_matrix(how: str, tmp_path: Path) -> None:
    model = _masked_lm()
    if "new" in how:
        model.set_input_embeddings(_shaken(nn.Embedding(30, 16)))
        model.config.vocab_size = 30
    if "saved" in how:
        words, bias = model.get_input_embeddings().weight.detach(), model.head.bias.detach()
        model.save_pretrained(tmp_path)
        model = EncoderForMaskedLM.from_pretrained(tmp_path).eval()
        torch.testing.assert_close(model.get_input_embeddings().weight.detach(), words)
        torch.testing.assert_close(model.head.bias.detach(), bias)
    _assert_tied(model)


def test_new_embeddings_of_another_size_set_the_bias_to_zero_and_of_the_same_size_leave_it() -> None:
    model = _masked_lm()
    before = model.head.bias.detach().clone()
    model.set_input_embeddings(nn.Embedding(50, 16))
    torch.testing.assert_close(model.head.bias.detach(), before)
    model.set_input_embeddings(nn.Embedding(30, 16))
    assert model.head.bias.shape == (30,)
    assert (model.head.bias == 0).all()
    assert model(torch.tensor([[1, 2]])).logits.shape == (1, 2, 30)


def test_a_step_of_training_moves_embedding_and_output_together() -> None:
    model = _masked_lm()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model.get_input_embeddings().weight.detach().clone()
    model(*_ids()).logits.logsumexp(-1).sum().backward()
    optimizer.step()
    after = model.get_input_embeddings().weight.detach()
    assert ((after - before).abs().amax(1) > 0).all()  # also of words that were not read
    _assert_tied(model)
