"""The in-repo encoder against transformers' BERT and torch's own encoder, with copied weights."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, BertConfig, BertModel

from distill.errors import UserError
from distill.models.transformer import (
    EncoderConfig,
    EncoderForSequenceClassification,
    EncoderForTokenClassification,
    EncoderModel,
    MultiHeadAttention,
    TransformerBlock,
)
from distill.models.transformer.positions import sinusoidal_positions

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "num_hidden_layers": 3,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 20,
}


def _ids(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and segments [4, 11]; rows of 11, 4, 7 and 1 real tokens."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 50, (4, 11), generator=random)
    mask = (torch.arange(11)[None] < torch.tensor([11, 4, 7, 1])[:, None]).long()
    return ids * mask, mask, (torch.arange(11)[None] > 3).long() * mask


def _shaken(module: nn.Module, seed: int = 1) -> Any:
    """Eval mode and weights that are far from their start, biases and normalisations too."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=random))
    return module.eval()


def _encoder(**settings: Any) -> Any:
    return EncoderForSequenceClassification(EncoderConfig(**{**SIZES, "num_labels": 3, **settings})).eval()


def _copy(source: nn.Module, target: nn.Module, names: dict[str, str]) -> None:
    """Weights of ``target`` from ``source``; ``names`` are prefixes. Everything of the target must be named."""
    given = source.state_dict()
    target.load_state_dict(
        {f"{new}.{part}": given[f"{old}.{part}"] for old, new in names.items() for part in _parts(given, old)}
    )


def _parts(state: dict[str, Tensor], prefix: str) -> list[str]:
    return [name.removeprefix(prefix + ".") for name in state if name.startswith(prefix + ".")]


MASKS: dict[str, list[list[int]]] = {
    "no padding": [[1] * 11, [1] * 11],
    "padding on the right": [[1] * 11, [1] * 4 + [0] * 7, [1] * 7 + [0] * 4],
    "holes": [[1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1], [0, 0, 1, 1, 1, 1, 0, 1, 0, 0, 0]],
    "a row of one token": [[1] * 11, [1] + [0] * 10],
    "one token alone": [[1]],
}


@pytest.mark.parametrize("mask", [torch.tensor(rows) for rows in MASKS.values()], ids=list(MASKS))
def test_post_norm_is_bert_under_every_mask(mask: Tensor) -> None:
    bert = _shaken(BertModel(BertConfig(**SIZES), add_pooling_layer=False))
    model = _encoder(norm="post", type_vocab_size=2)
    names = {
        "embeddings.word_embeddings": "embeddings.word",
        "embeddings.position_embeddings": "embeddings.position",
        "embeddings.token_type_embeddings": "embeddings.segment",
        "embeddings.LayerNorm": "embeddings.norm",
    }
    for i in range(3):
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
            names[f"encoder.layer.{i}.{old}"] = f"blocks.{i}.{new}"
    _copy(bert, model.encoder, names)
    random = torch.Generator().manual_seed(3)
    ids = torch.randint(0, 50, mask.shape, generator=random)
    segments = torch.randint(0, 2, mask.shape, generator=random)
    with torch.no_grad():
        expected = bert(ids, mask, segments, output_hidden_states=True)
        found = model.encoder(ids, mask, segments, output_hidden_states=True)
    assert len(found.hidden_states) == len(expected.hidden_states) == 4
    for mine, theirs in zip(found.hidden_states, expected.hidden_states, strict=True):
        assert (mine - theirs)[mask.bool()].abs().max() < 1e-5
    assert (found.last_hidden_state - expected.last_hidden_state)[mask.bool()].abs().max() < 1e-5


def _torch_layer(norm: str, activation: str) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        32, 4, 48, 0.0, activation, layer_norm_eps=1e-12, batch_first=True, norm_first=norm == "pre"
    )


def _copy_torch_layer(theirs: Any, block: Any) -> None:
    with torch.no_grad():
        for i, layer in enumerate((block.attention.query, block.attention.key, block.attention.value)):
            layer.weight.copy_(theirs.self_attn.in_proj_weight.chunk(3)[i])
            layer.bias.copy_(theirs.self_attn.in_proj_bias.chunk(3)[i])
    for mine, other in (
        (block.attention.output, theirs.self_attn.out_proj),
        (block.attention_norm, theirs.norm1),
        (block.feed_forward.up, theirs.linear1),
        (block.feed_forward.down, theirs.linear2),
        (block.feed_forward_norm, theirs.norm2),
    ):
        mine.load_state_dict(other.state_dict())


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_a_block_is_torchs_encoder_layer(norm: str, activation: str) -> None:
    theirs = _shaken(_torch_layer(norm, activation))
    block = TransformerBlock(32, 4, 48, 0.0, norm, activation).eval()
    _copy_torch_layer(theirs, block)
    x = torch.randn(4, 11, 32, generator=torch.Generator().manual_seed(2))
    mask = _ids()[1].bool()
    with torch.no_grad():
        found = block(x, mask[:, None, None, :])
        expected = theirs(x, src_key_padding_mask=~mask)
    assert (found - expected)[mask].abs().max() < 1e-5


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_the_encoder_is_torchs_encoder_over_its_embeddings(norm: str, activation: str) -> None:
    final = nn.LayerNorm(32, eps=1e-12) if norm == "pre" else None
    theirs = _shaken(nn.TransformerEncoder(_torch_layer(norm, activation), 3, final, enable_nested_tensor=False))
    model = _encoder(norm=norm, activation=activation)
    for layer, block in zip(theirs.layers, model.encoder.blocks, strict=True):
        _copy_torch_layer(layer, block)
    if final is not None:
        model.encoder.final_norm.load_state_dict(final.state_dict())
    ids, mask, segments = _ids()
    with torch.no_grad():
        found = model.encoder(ids, mask, segments, output_hidden_states=True)
        expected = theirs(found.hidden_states[0], src_key_padding_mask=mask == 0)
    assert (found.last_hidden_state - expected)[mask.bool()].abs().max() < 1e-5


def test_attention_is_the_formula_of_the_paper() -> None:
    attention = _shaken(MultiHeadAttention(8, 2, 0.0))
    x = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    q, k, v = (
        x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        for layer in (attention.query, attention.key, attention.value)
    )
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        scores = np.exp(q[:, part] @ k[:4, part].T / math.sqrt(4))  # the last key is masked
        heads.append(scores / scores.sum(1, keepdims=True) @ v[:4, part])
    expected = np.concatenate(heads, 1) @ attention.output.weight.detach().numpy().T
    mask = torch.tensor([[[[True, True, True, True, False]]]])
    with torch.no_grad():
        found = attention(torch.from_numpy(x)[None], mask)[0].numpy()
    np.testing.assert_allclose(found, expected + attention.output.bias.detach().numpy(), atol=1e-5)


def test_heads_that_do_not_divide_the_hidden_size_are_refused() -> None:
    with pytest.raises(ValueError, match="hidden_size 30 is not a multiple of heads 4"):
        MultiHeadAttention(30, 4, 0.0)


@pytest.mark.parametrize("hidden_size", [8, 7])
def test_sinusoidal_positions_are_the_closed_form(hidden_size: int) -> None:
    table = sinusoidal_positions(30, hidden_size)
    for position in (0, 1, 13, 29):
        for dimension in range(hidden_size):
            angle = position / 10000 ** (2 * (dimension // 2) / hidden_size)
            expected = math.cos(angle) if dimension % 2 else math.sin(angle)
            assert float(table[position, dimension]) == pytest.approx(expected, abs=1e-5)


def test_sinusoidal_positions_survive_saving_loading_and_training(tmp_path: Path) -> None:
    model = _encoder(positions="sinusoidal")
    expected = sinusoidal_positions(20, 32)
    torch.testing.assert_close(model.encoder.embeddings.position.weight.detach(), expected)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    model(*_ids()[:2]).logits.square().sum().backward()
    optimizer.step()
    torch.testing.assert_close(model.encoder.embeddings.position.weight.detach(), expected)
    model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    torch.testing.assert_close(again.encoder.embeddings.position.weight.detach(), expected)


def test_sinusoidal_positions_stay_fixed_after_loading(tmp_path: Path) -> None:
    _encoder(positions="sinusoidal").save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert not again.encoder.embeddings.position.weight.requires_grad


COMBINATIONS = list(itertools.product(("pre", "post"), ("learned", "sinusoidal", "rotary"), ("gelu", "relu", "swiglu")))


@pytest.mark.parametrize(("norm", "positions", "activation"), COMBINATIONS)
def test_padding_never_changes_a_real_token(norm: str, positions: str, activation: str) -> None:
    model = _shaken(EncoderModel(EncoderConfig(**SIZES, norm=norm, positions=positions, activation=activation)))
    ids, mask, segments = _ids()
    wider = [functional.pad(x, (0, 6)) for x in (ids, mask, segments)]
    with torch.no_grad():
        batches = [
            model(ids, mask, segments),
            model(ids.masked_fill(mask == 0, 17), mask, segments.masked_fill(mask == 0, 1)),
            model(*wider),
        ]
        for row, length in enumerate(mask.sum(1).tolist()):
            alone = model(*(x[row : row + 1, :length] for x in (ids, mask, segments))).last_hidden_state[0]
            for batch in batches:
                torch.testing.assert_close(batch.last_hidden_state[row, :length], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [EncoderForSequenceClassification, EncoderForTokenClassification])
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary"])
def test_padding_never_changes_a_real_row(kind: Any, norm: str, positions: str) -> None:
    model = _shaken(kind(EncoderConfig(**SIZES, num_labels=3, norm=norm, positions=positions)))
    ids, mask, segments = _ids()
    with torch.no_grad():
        together = model(ids, mask, segments).logits
        other_padding = model(ids.masked_fill(mask == 0, 17), mask, segments).logits
        for row, length in enumerate(mask.sum(1).tolist()):
            alone = model(*(x[row : row + 1, :length] for x in (ids, mask, segments)))
            for batch in (together, other_padding):
                found = batch[row : row + 1] if batch.ndim == 2 else batch[row : row + 1, :length]
                torch.testing.assert_close(found, alone.logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("norm", "positions", "activation"), COMBINATIONS)
def test_the_order_of_tokens_counts(norm: str, positions: str, activation: str) -> None:
    model = _shaken(EncoderModel(EncoderConfig(**SIZES, norm=norm, positions=positions, activation=activation)))
    ids = _ids()[0][:1]
    with torch.no_grad():
        found, turned = model(ids).last_hidden_state, model(ids.flip(1)).last_hidden_state.flip(1)
    assert (found - turned).abs().max() > 1e-2


def test_rotary_positions_have_no_table_and_no_longest_text() -> None:
    settings = {**SIZES, "max_position_embeddings": 4}
    model = _shaken(EncoderModel(EncoderConfig(**settings, positions="rotary")))
    assert not any("position" in name for name in model.state_dict())
    assert model(_ids()[0]).last_hidden_state.shape == (4, 11, 32)


def test_rotary_positions_in_heads_of_an_odd_size_are_refused() -> None:
    with pytest.raises(UserError, match="hidden_size 12 in 4 heads makes 3 dimensions a head"):
        EncoderModel(EncoderConfig(**{**SIZES, "hidden_size": 12}, positions="rotary"))


def test_left_out_mask_and_segments_are_all_real_and_all_first() -> None:
    model = _shaken(_encoder())
    ids = _ids()[0][:1]
    with torch.no_grad():
        expected = model(ids, torch.ones_like(ids), torch.zeros_like(ids)).logits
        torch.testing.assert_close(model(ids).logits, expected)
        assert (model(ids, token_type_ids=torch.ones_like(ids)).logits - expected).abs().max() > 1e-3


def test_the_head_reads_the_mean_over_real_tokens() -> None:
    model = _shaken(_encoder())
    ids, mask, segments = _ids()
    with torch.no_grad():
        states = model.encoder(ids, mask, segments).last_hidden_state
        found = model(ids, mask, segments).logits
    for row, length in enumerate(mask.sum(1).tolist()):
        expected = model.classifier(states[row, :length].mean(0))
        torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-5)
