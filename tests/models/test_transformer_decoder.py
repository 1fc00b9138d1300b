"""The in-repo decoder against GPT-2, GPT-1 and Llama with copied weights; its cache, its padding, its graph."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
)

from distill.config.schema import ExportConfig
from distill.errors import UserError
from distill.export.onnx_export import export_onnx
from distill.models.graph_spec import GraphSpec
from distill.models.transformer import DecoderConfig, DecoderForCausalLM

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT: dict[str, Any] = {
    "vocab_size": 50,
    "n_layer": 2,
    "n_embd": 32,
    "n_head": 4,
    "n_positions": 40,
    "layer_norm_epsilon": 1e-12,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
LENGTHS = torch.tensor([9, 4, 1])
RIGHT = (torch.arange(9)[None] < LENGTHS[:, None]).long()
LEFT = RIGHT.flip(1)
KINDS = list(itertools.product(("pre", "post", "rms"), ("learned", "sinusoidal", "rotary")))


@pytest.fixture(autouse=True)
def same_weights_each_time() -> None:
    torch.manual_seed(0)


def _ids(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(3, 50, shape or (3, 9), generator=torch.Generator().manual_seed(seed))


def _shaken(module: nn.Module, seed: int = 1) -> Any:
    """Eval mode and weights that are far from their start."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=random))
    return module.eval()


def _decoder(**settings: Any) -> Any:
    return _shaken(DecoderForCausalLM(DecoderConfig(**{**SIZES, **settings})))


def _copy_conv(conv: Any, *layers: Any) -> None:
    """GPT keeps its matrices turned, and query, key and value in one."""
    with torch.no_grad():
        for i, layer in enumerate(layers):
            layer.weight.copy_(conv.weight.T.chunk(len(layers))[i])
            layer.bias.copy_(conv.bias.chunk(len(layers))[i])


def _copy_gpt_block(theirs: Any, block: Any) -> None:
    _copy_conv(theirs.attn.c_attn, block.attention.query, block.attention.key, block.attention.value)
    _copy_conv(theirs.attn.c_proj, block.attention.output)
    _copy_conv(theirs.mlp.c_fc, block.feed_forward.up)
    _copy_conv(theirs.mlp.c_proj, block.feed_forward.down)
    block.attention_norm.load_state_dict(theirs.ln_1.state_dict())
    block.feed_forward_norm.load_state_dict(theirs.ln_2.state_dict())


def _gpt2() -> tuple[Any, Any]:
    theirs = _shaken(GPT2LMHeadModel(GPT2Config(**GPT, n_inner=48, activation_function="gelu")))
    mine = _decoder()
    mine.embeddings.word.load_state_dict(theirs.transformer.wte.state_dict())
    mine.embeddings.position.load_state_dict(theirs.transformer.wpe.state_dict())
    for old, new in zip(theirs.transformer.h, mine.decoder.blocks, strict=True):
        _copy_gpt_block(old, new)
    mine.decoder.final_norm.load_state_dict(theirs.transformer.ln_f.state_dict())
    return theirs, mine


def _gpt1() -> tuple[Any, Any]:
    """Of 2018, post-LN."""
    theirs = _shaken(OpenAIGPTLMHeadModel(OpenAIGPTConfig(**GPT, afn="relu")))
    mine = _decoder(norm="post", activation="relu", intermediate_size=128)
    mine.embeddings.word.load_state_dict(theirs.transformer.tokens_embed.state_dict())
    mine.embeddings.position.load_state_dict(theirs.transformer.positions_embed.state_dict())
    for old, new in zip(theirs.transformer.h, mine.decoder.blocks, strict=True):
        _copy_gpt_block(old, new)
    return theirs, mine


def _llama() -> tuple[Any, Any]:
    config = LlamaConfig(
        **SIZES,
        pad_token_id=0,
        num_key_value_heads=4,
        attention_bias=True,
        mlp_bias=True,
        rms_norm_eps=1e-12,
        tie_word_embeddings=False,
    )
    theirs = _shaken(LlamaForCausalLM(config))
    mine = _decoder(norm="rms", positions="rotary", activation="swiglu", tie_word_embeddings=False)
    mine.embeddings.word.load_state_dict(theirs.model.embed_tokens.state_dict())
    for old, new in zip(theirs.model.layers, mine.decoder.blocks, strict=True):
        for given, own in (
            (old.self_attn.q_proj, new.attention.query),
            (old.self_attn.k_proj, new.attention.key),
            (old.self_attn.v_proj, new.attention.value),
            (old.self_attn.o_proj, new.attention.output),
            (old.mlp.gate_proj, new.feed_forward.gate),
            (old.mlp.up_proj, new.feed_forward.up),
            (old.mlp.down_proj, new.feed_forward.down),
            (old.input_layernorm, new.attention_norm),
            (old.post_attention_layernorm, new.feed_forward_norm),
        ):
            own.load_state_dict(given.state_dict())
    mine.decoder.final_norm.load_state_dict(theirs.model.norm.state_dict())
    mine.lm_head.load_state_dict(theirs.lm_head.state_dict())
    return theirs, mine


FAMILIES = [_gpt2, _gpt1, _llama]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mask", [RIGHT, LEFT], ids=["right", "left"])
def test_it_is_the_peer_library_under_padding_on_either_side(family: Any, mask: Tensor) -> None:
    theirs, mine = family()
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        expected = theirs(_ids(), attention_mask=mask, position_ids=positions, output_hidden_states=True)
        found = mine(_ids(), mask, output_hidden_states=True)
    assert found.logits.shape == (3, 9, 50)
    assert (found.logits - expected.logits)[mask.bool()].abs().max() < 1e-5
    assert len(found.hidden_states) == len(expected.hidden_states) == 3
    for own, other in zip(found.hidden_states[:2], expected.hidden_states[:2], strict=True):
        assert (own - other)[mask.bool()].abs().max() < 1e-5


@pytest.mark.parametrize("family", [_gpt2, _llama])
def test_attention_weights_are_the_peer_librarys(family: Any) -> None:
    theirs, mine = family()
    theirs.set_attn_implementation("eager")
    with torch.no_grad():
        expected = theirs(_ids(), output_attentions=True).attentions
        found = mine(_ids(), output_attentions=True)
        assert mine(_ids()).attentions is None
        torch.testing.assert_close(found.logits, mine(_ids()).logits, atol=1e-5, rtol=1e-5)
    assert len(found.attentions) == len(expected) == 2
    for own, other in zip(found.attentions, expected, strict=True):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("use_cache", [True, False], ids=["cache", "no cache"])
def test_generate_writes_what_the_peer_library_writes(family: Any, beams: int, use_cache: bool) -> None:
    theirs, mine = family()
    ids = _ids().masked_fill(LEFT == 0, 0)
    settings = {"attention_mask": LEFT, "num_beams": beams, "max_new_tokens": 12, "do_sample": False}
    expected = theirs.generate(ids, **settings)
    found = mine.generate(ids, use_cache=use_cache, **settings)
    assert found.tolist() == expected.tolist()
    assert len(set(found[:, 9:].flatten().tolist())) > 1  # something was written


@pytest.mark.parametrize(("norm", "positions"), KINDS)
def test_a_later_token_never_changes_an_earlier_output(norm: str, positions: str) -> None:
    model = _decoder(norm=norm, positions=positions)
    ids = _ids()
    with torch.no_grad():
        expected = model(ids).logits
        for length in range(1, 9):
            other = torch.cat([ids[:, :length], _ids(3, 9 - length, seed=length)], 1)
            torch.testing.assert_close(model(other).logits[:, :length], expected[:, :length], atol=0, rtol=0)


@pytest.mark.parametrize(("norm", "positions"), KINDS)
@pytest.mark.parametrize("mask", [RIGHT, LEFT], ids=["right", "left"])
def test_padding_on_either_side_never_changes_a_real_token(norm: str, positions: str, mask: Tensor) -> None:
    model = _decoder(norm=norm, positions=positions, activation="swiglu")
    ids = _ids()
    with torch.no_grad():
        together = model(ids, mask).logits
        assert torch.isfinite(together).all()
        torch.testing.assert_close(model(ids.masked_fill(mask == 0, 0), mask).logits[mask == 1], together[mask == 1])
        for row, real in enumerate(mask.bool()):
            alone = model(ids[row, real][None]).logits[0]
            torch.testing.assert_close(together[row, real], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("norm", "positions"), KINDS)
@pytest.mark.parametrize("cuts", [[1] * 9, [4, 1, 4], [8, 1]], ids=str)
def test_reading_on_from_the_cache_is_reading_it_all(norm: str, positions: str, cuts: list[int]) -> None:
    model = _decoder(norm=norm, positions=positions)
    ids, state, logits, read = _ids(), model.empty_state(3), [], 0
    with torch.no_grad():
        for cut in cuts:
            mask = LEFT[:, : read + cut]
            output = model(ids[:, read : read + cut], mask, state, use_cache=True)
            state, read = output.state, read + cut
            logits.append(output.logits)
        assert [tuple(tensor.shape) for tensor in state] == [(3, 4, 9, 8)] * 4
        expected = model(ids, LEFT).logits
        assert model(ids, LEFT).state is None
    torch.testing.assert_close(torch.cat(logits, 1)[LEFT == 1], expected[LEFT == 1], atol=1e-5, rtol=1e-5)


def test_logits_of_chosen_tokens_are_those_of_all() -> None:
    model = _decoder()
    chosen = (_ids(seed=5) % 3 == 0) & (RIGHT == 1)
    with torch.no_grad():
        expected = model(_ids(), RIGHT).logits
        torch.testing.assert_close(model(_ids(), RIGHT, logits_to_keep=chosen).logits, expected[chosen])
        torch.testing.assert_close(model(_ids(), RIGHT, logits_to_keep=2).logits, expected[:, -2:])


@pytest.mark.parametrize("tied", [True, False])
def test_auto_classes_load_what_was_saved(tied: bool, tmp_path: Path) -> None:
    model = _decoder(positions="sinusoidal", norm="post", tie_word_embeddings=tied)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(again) is DecoderForCausalLM
    assert (again.lm_head is None) is tied
    with torch.no_grad():
        torch.testing.assert_close(again(_ids(), LEFT).logits, model(_ids(), LEFT).logits)
    assert again.generate(_ids(), max_new_tokens=5).tolist() == model.generate(_ids(), max_new_tokens=5).tolist()


@pytest.mark.parametrize("tied", [True, False])
def test_tied_words_are_scored_by_the_table_that_embeds_them(tied: bool) -> None:
    model = _decoder(tie_word_embeddings=tied)
    assert sum(p.shape == (50, 32) for p in model.parameters()) == (1 if tied else 2)
    with torch.no_grad():
        model.get_input_embeddings().weight[7] = 0.0
        assert bool((model(_ids()).logits[..., 7] == 0).all()) is tied


@pytest.mark.parametrize("settings", [{"num_attention_heads": 5}, {"hidden_size": 12, "positions": "rotary"}], ids=str)
def test_heads_that_do_not_fit_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="hidden_size must be a multiple of the heads"):
        _decoder(**settings)


class _Step(nn.Module):
    """The decoder as a graph knows it: tensors in, tensors out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, k_0: Tensor, v_0: Tensor, k_1: Tensor, v_1: Tensor
    ) -> tuple[Tensor, ...]:
        output = self.model(input_ids, attention_mask, (k_0, v_0, k_1, v_1), use_cache=True)
        return (output.logits, *output.state)


@pytest.mark.parametrize("exporter", ["legacy", "dynamo"])
@pytest.mark.parametrize(("norm", "positions"), [("pre", "learned"), ("post", "sinusoidal"), ("rms", "rotary")])
def test_one_graph_reads_a_prompt_and_reads_on(norm: str, positions: str, exporter: Any, tmp_path: Path) -> None:
    model = _decoder(norm=norm, positions=positions)
    names = ["k_0", "v_0", "k_1", "v_1"]
    with torch.no_grad():
        past = model(_ids(2, 3), use_cache=True).state
    example = {
        "input_ids": _ids(2, 5),
        "attention_mask": torch.ones(2, 8, dtype=torch.long),
        **dict(zip(names, past, strict=True)),
    }
    axes = {"input_ids": {0: "batch", 1: "sequence"}, "attention_mask": {0: "batch", 1: "total"}}
    axes |= {name: {0: "batch", 2: "past"} for name in names}
    outputs = ("logits", *(f"{name}_on" for name in names))
    axes |= {name: {0: "batch", 2: "on"} for name in outputs} | {"logits": {0: "batch", 1: "sequence"}}
    spec = GraphSpec("decoder", _Step(model).eval(), example, axes, outputs)
    export_onnx(spec, tmp_path / "m.onnx", ExportConfig(exporter=exporter))
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert not {"Loop", "Scan"} & {node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node}
    state, read, ids = [tensor.numpy() for tensor in model.empty_state(3)], 0, _ids()
    with torch.no_grad():
        expected = model(ids, LEFT).logits.numpy()
    for cut in (5, 1, 1, 2):
        fed = {"input_ids": ids[:, read : read + cut].numpy(), "attention_mask": LEFT[:, : read + cut].numpy()}
        logits, *state = session.run(None, {**fed, **dict(zip(names, state, strict=True))})
        real = LEFT[:, read : read + cut].numpy() == 1
        assert np.abs(logits - expected[:, read : read + cut])[real].max() < 1e-4
        read += cut
