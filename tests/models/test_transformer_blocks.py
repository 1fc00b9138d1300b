"""Rotary positions, SwiGLU and attention to another sequence: against transformers' Llama, torch, complex numbers."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaMLP,
    LlamaRotaryEmbedding,
    apply_rotary_pos_emb,
)

from distill.models.transformer import FeedForward, MultiHeadAttention, SwiGLU, TransformerBlock
from distill.models.transformer.positions import rotary_table, rotate

EVERYTHING = torch.ones(1, 1, 1, 1, dtype=torch.bool)


def _shaken(module: nn.Module, seed: int = 1) -> Any:
    """Eval mode and weights that are far from their start."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=random))
    return module.eval()


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _llama() -> LlamaConfig:
    return LlamaConfig(
        hidden_size=32,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=48,
        attention_bias=True,
        mlp_bias=True,
        hidden_act="silu",
        attn_implementation="eager",
    )


def _copy(pairs: list[tuple[Any, Any]]) -> None:
    for theirs, mine in pairs:
        mine.load_state_dict(theirs.state_dict())


def test_rotary_positions_are_llamas() -> None:
    q, k = _normal(2, 4, 9, 8), _normal(2, 4, 9, 8, seed=1)
    positions = torch.arange(9)
    cos, sin = LlamaRotaryEmbedding(_llama())(q, positions[None])
    expected = apply_rotary_pos_emb(q, k, cos, sin)
    rotation = rotary_table(positions, 8)
    torch.testing.assert_close(rotate(q, rotation), expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(rotate(k, rotation), expected[1], atol=1e-5, rtol=1e-5)


def test_rotary_positions_are_a_turn_in_the_complex_plane() -> None:
    """RoFormer, equation 12: two dimensions are one complex number, multiplied by exp(i m theta)."""
    x = _normal(1, 2, 7, 6)
    positions = np.array([0, 1, 2, 5, 100, 511, 4000])
    theta = 10000.0 ** (-np.arange(3) / 3)
    pairs = x[..., :3].numpy().astype(np.float64) + 1j * x[..., 3:].numpy()
    turned = pairs * np.exp(1j * positions[:, None] * theta)
    found = rotate(x, rotary_table(torch.from_numpy(positions), 6)).numpy()
    np.testing.assert_allclose(found[..., :3] + 1j * found[..., 3:], turned, atol=2e-3)  # float32 at angle 4000
    np.testing.assert_allclose(found[:, :, :4, :3] + 1j * found[:, :, :4, 3:], turned[:, :, :4], atol=1e-5)


@pytest.mark.parametrize("shift", [1, 7, 100])
def test_scores_under_rotary_positions_depend_on_distance_only(shift: int) -> None:
    q, k = _normal(1, 2, 9, 8), _normal(1, 2, 9, 8, seed=1)
    scores = []
    for start in (0, shift):
        rotation = rotary_table(torch.arange(9) + start, 8)
        scores.append(rotate(q, rotation) @ rotate(k, rotation).transpose(-1, -2))
    torch.testing.assert_close(scores[1], scores[0], atol=2e-4, rtol=1e-4)
    assert (scores[0] - q @ k.transpose(-1, -2)).abs().max() > 0.1
    same = rotate(q[:, :, :1].expand(-1, -1, 9, -1), rotary_table(torch.arange(9), 8))
    scores_of_one = (same @ same.transpose(-1, -2))[0, 0]
    for distance in range(9):  # one vector at every position: each diagonal is one value
        diagonal = scores_of_one.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-5, rtol=1e-5)


def test_attention_with_rotary_positions_does_not_notice_a_shift() -> None:
    attention = _shaken(MultiHeadAttention(32, 4, 0.0))
    x = _normal(2, 9, 32)
    with torch.no_grad():
        here, there = (attention(x, EVERYTHING, rotation=rotary_table(torch.arange(9) + start, 8)) for start in (0, 40))
        without = attention(x, EVERYTHING)
    torch.testing.assert_close(here, there, atol=1e-4, rtol=1e-4)
    assert (here - without).abs().max() > 1e-2


def test_rotation_keeps_the_precision_it_was_given() -> None:
    x = _normal(1, 1, 3, 4).to(torch.bfloat16)
    assert rotate(x, rotary_table(torch.arange(3), 4)).dtype == torch.bfloat16


def test_attention_with_rotary_positions_is_llamas_without_causality() -> None:
    theirs = _shaken(LlamaAttention(_llama(), 0))
    mine = MultiHeadAttention(32, 4, 0.0).eval()
    _copy(
        [
            (theirs.q_proj, mine.query),
            (theirs.k_proj, mine.key),
            (theirs.v_proj, mine.value),
            (theirs.o_proj, mine.output),
        ]
    )
    x = _normal(3, 9, 32)
    mask = torch.arange(9)[None] < torch.tensor([9, 5, 1])[:, None]
    additive = torch.zeros(3, 1, 9, 9).masked_fill(~mask[:, None, None, :], torch.finfo(torch.float32).min)
    with torch.no_grad():
        rotation = LlamaRotaryEmbedding(_llama())(x, torch.arange(9)[None])
        expected = theirs(x, rotation, additive)[0]
        found = mine(x, mask[:, None, None, :], rotation=rotary_table(torch.arange(9), 8))
    assert (found - expected)[mask].abs().max() < 1e-5


def test_swiglu_is_llamas() -> None:
    theirs = _shaken(LlamaMLP(_llama()))
    mine = SwiGLU(32, 48)
    _copy([(theirs.gate_proj, mine.gate), (theirs.up_proj, mine.up), (theirs.down_proj, mine.down)])
    x = _normal(2, 5, 32)
    with torch.no_grad():
        torch.testing.assert_close(mine(x), theirs(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("activation", "kind", "weights"), [("swiglu", SwiGLU, 3), ("gelu", FeedForward, 2), ("relu", FeedForward, 2)]
)
def test_a_block_has_the_feed_forward_of_its_activation(activation: str, kind: type[nn.Module], weights: int) -> None:
    block = TransformerBlock(32, 4, 48, 0.0, "pre", activation)
    assert type(block.feed_forward) is kind
    assert sum(p.numel() for p in block.feed_forward.parameters() if p.ndim == 2) == weights * 32 * 48


@pytest.mark.parametrize("where", ["a mask for each text", "a mask for each query", "a mask for each head"])
def test_attention_to_another_sequence_is_torchs(where: str) -> None:
    theirs = _shaken(nn.MultiheadAttention(32, 4, batch_first=True))
    mine = MultiHeadAttention(32, 4, 0.0).eval()
    with torch.no_grad():
        for i, layer in enumerate((mine.query, mine.key, mine.value)):
            layer.weight.copy_(theirs.in_proj_weight.chunk(3)[i])
            layer.bias.copy_(theirs.in_proj_bias.chunk(3)[i])
    mine.output.load_state_dict(theirs.out_proj.state_dict())
    x, source = _normal(3, 5, 32), _normal(3, 8, 32, seed=1)
    random = torch.Generator().manual_seed(2)
    shape = {
        "a mask for each text": (3, 1, 1, 8),
        "a mask for each query": (5, 8),
        "a mask for each head": (3, 4, 5, 8),
    }
    mask = torch.rand(shape[where], generator=random) < 0.6
    mask[..., 0] = True  # each query has a key
    with torch.no_grad():
        found = mine(x, mask, source)
        hidden = ~mask.expand(3, 4, 5, 8).flatten(0, 1)
        expected = theirs(x, source, source, attn_mask=hidden, need_weights=False)[0]
    assert found.shape == (3, 5, 32)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_under_a_causal_mask_a_token_never_sees_a_later_one() -> None:
    block = _shaken(TransformerBlock(32, 4, 48, 0.0, "pre", "swiglu"))
    x = _normal(2, 6, 32)
    causal = torch.ones(6, 6, dtype=torch.bool).tril()
    rotation = rotary_table(torch.arange(6), 8)
    with torch.no_grad():
        whole = block(x, causal, rotation)
        for length in range(1, 7):
            cut = block(x[:, :length], causal[:length, :length], rotary_table(torch.arange(length), 8))
            torch.testing.assert_close(cut, whole[:, :length], atol=1e-5, rtol=1e-5)
