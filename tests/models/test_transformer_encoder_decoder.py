"""The in-repo encoder-decoder against Marian and torch's Transformer with copied weights; cache, padding, graphs."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForSeq2SeqLM, MarianConfig, MarianMTModel

from distill.config.schema import ExportConfig
from distill.export.onnx_export import export_onnx
from distill.models.graph_spec import GraphSpec
from distill.models.transformer import TransformerForSeq2SeqLM, TransformerSeq2SeqConfig

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "num_hidden_layers": 2,
    "num_decoder_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
RIGHT = (torch.arange(9)[None] < torch.tensor([9, 4, 2])[:, None]).long()
LEFT = RIGHT.flip(1)
KINDS = list(itertools.product(("pre", "post", "rms"), ("learned", "sinusoidal", "rotary")))


@pytest.fixture(autouse=True)
def same_weights_each_time() -> None:
    torch.manual_seed(0)


def _ids(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(3, 50, shape or (3, 9), generator=torch.Generator().manual_seed(seed))


def _target(length: int = 6) -> Tensor:
    return _ids(3, length, seed=7)


def _shaken(module: nn.Module, seed: int = 1) -> Any:
    """Eval mode and weights that are far from their start."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=random))
    return module.eval()


def _model(**settings: Any) -> Any:
    return _shaken(TransformerForSeq2SeqLM(TransformerSeq2SeqConfig(**{**SIZES, **settings})))


def _load(pairs: list[tuple[Any, Any]]) -> None:
    for theirs, mine in pairs:
        mine.load_state_dict(theirs.state_dict())


def _attention(theirs: Any, mine: Any) -> list[tuple[Any, Any]]:
    return [
        (theirs.q_proj, mine.query),
        (theirs.k_proj, mine.key),
        (theirs.v_proj, mine.value),
        (theirs.out_proj, mine.output),
    ]


def _marian(tied: bool = True) -> tuple[Any, Any]:
    config = MarianConfig(
        vocab_size=50,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=40,
        activation_function="relu",
        scale_embedding=True,
        pad_token_id=0,
        eos_token_id=2,
        forced_eos_token_id=None,
        decoder_start_token_id=1,
        tie_word_embeddings=tied,
    )
    theirs, mine = _shaken(MarianMTModel(config)), _model(tie_word_embeddings=tied)
    for module in theirs.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-12
    body = theirs.model
    for side in (body.encoder, body.decoder):
        side.embed_tokens.load_state_dict(body.shared.state_dict())
    body.decoder.embed_positions.load_state_dict(body.encoder.embed_positions.state_dict())
    mine.encoder.embeddings.word.load_state_dict(body.shared.state_dict())
    mine.encoder.embeddings.position.weight.copy_(body.encoder.embed_positions.weight.detach())
    for old, new in (
        *zip(body.encoder.layers, mine.encoder.stack.blocks, strict=True),
        *zip(body.decoder.layers, mine.decoder.blocks, strict=True),
    ):
        _load(
            [
                *_attention(old.self_attn, new.attention),
                (old.self_attn_layer_norm, new.attention_norm),
                (old.fc1, new.feed_forward.up),
                (old.fc2, new.feed_forward.down),
                (old.final_layer_norm, new.feed_forward_norm),
            ]
        )
    for old, new in zip(body.decoder.layers, mine.decoder.blocks, strict=True):
        _load([*_attention(old.encoder_attn, new.cross_attention), (old.encoder_attn_layer_norm, new.cross_norm)])
    if not tied:
        _load([(theirs.lm_head, mine.lm_head)])
    return theirs, mine


@pytest.mark.parametrize("tied", [True, False])
def test_it_is_marian(tied: bool) -> None:
    theirs, mine = _marian(tied)
    theirs.set_attn_implementation("eager")
    asked: dict[str, Any] = {"output_hidden_states": True, "output_attentions": True}
    with torch.no_grad():
        expected = theirs(_ids(), RIGHT, _target(), **asked)
        found = mine(_ids(), RIGHT, _target(), **asked)
        torch.testing.assert_close(mine(_ids(), RIGHT, _target()).logits, found.logits, atol=1e-5, rtol=1e-5)
    assert found.logits.shape == (3, 6, 50)
    assert (found.logits - expected.logits).abs().max() < 1e-5
    assert (found.encoder_last_hidden_state - expected.encoder_last_hidden_state)[RIGHT == 1].abs().max() < 1e-5
    for name in ("decoder_hidden_states", "decoder_attentions", "cross_attentions"):
        for own, other in zip(found[name], expected[name], strict=True):
            assert (own - other).abs().max() < 1e-5
    for name in ("encoder_hidden_states", "encoder_attentions"):
        for own, other in zip(found[name], expected[name], strict=True):
            real = RIGHT.bool() if own.ndim == 3 else RIGHT.bool()[:, None].expand(own.shape[:3])
            assert (own - other)[real].abs().max() < 1e-5


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("use_cache", [True, False], ids=["cache", "no cache"])
def test_generate_writes_what_marian_writes(beams: int, use_cache: bool) -> None:
    theirs, mine = _marian(tied=False)
    settings = {"attention_mask": RIGHT, "num_beams": beams, "max_new_tokens": 12, "do_sample": False}
    expected = theirs.generate(_ids() * RIGHT, **settings)
    found = mine.generate(_ids() * RIGHT, use_cache=use_cache, **settings)
    assert found.tolist() == expected.tolist()
    assert len(set(found[:, 1:].flatten().tolist())) > 2  # something was written


def test_generate_reads_the_source_once() -> None:
    _, model = _marian()
    calls = {"encoder": 0, "keys": 0}

    def count(name: str) -> Any:
        def hook(*_: Any) -> None:
            calls[name] += 1

        return hook

    model.encoder.register_forward_hook(count("encoder"))
    model.decoder.blocks[0].cross_attention.key.register_forward_hook(count("keys"))
    model.generate(_ids(), max_new_tokens=6, min_new_tokens=6, num_beams=3)
    assert calls == {"encoder": 1, "keys": 1}


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_with_pre_norm_it_is_torchs_transformer(activation: str) -> None:
    theirs = _shaken(
        nn.Transformer(32, 4, 2, 2, 48, 0.0, activation, layer_norm_eps=1e-12, batch_first=True, norm_first=True)
    )
    mine = _model(norm="pre", activation=activation)
    for layers, stack in ((theirs.encoder, mine.encoder.stack), (theirs.decoder, mine.decoder)):
        for old, new in zip(layers.layers, stack.blocks, strict=True):
            pairs = [(old.self_attn, new.attention)]
            norms = [(old.norm1, new.attention_norm)]
            if stack is mine.decoder:
                pairs.append((old.multihead_attn, new.cross_attention))
                norms += [(old.norm2, new.cross_norm), (old.norm3, new.feed_forward_norm)]
            else:
                norms.append((old.norm2, new.feed_forward_norm))
            for given, own in pairs:
                with torch.no_grad():
                    for i, layer in enumerate((own.query, own.key, own.value)):
                        layer.weight.copy_(given.in_proj_weight.chunk(3)[i])
                        layer.bias.copy_(given.in_proj_bias.chunk(3)[i])
                own.output.load_state_dict(given.out_proj.state_dict())
            _load([*norms, (old.linear1, new.feed_forward.up), (old.linear2, new.feed_forward.down)])
        _load([(layers.norm, stack.final_norm)])
    padding = RIGHT == 0
    with torch.no_grad():
        found = mine(_ids(), RIGHT, _target(), output_hidden_states=True)
        x = mine.encoder(_ids(), RIGHT, output_hidden_states=True).hidden_states[0]
        expected = theirs(
            x,
            found.decoder_hidden_states[0],
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(6),
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
    words = mine.get_input_embeddings().weight
    assert (found.logits - expected @ words.T).abs().max() < 1e-4  # scores of 30 words, of size 10
    word = words[_ids()[0, 3]] * math.sqrt(32) + mine.encoder.embeddings.position.weight[3]
    torch.testing.assert_close(x[0, 3], word, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("norm", "positions"), KINDS)
def test_a_later_token_never_changes_an_earlier_output(norm: str, positions: str) -> None:
    model = _model(norm=norm, positions=positions)
    with torch.no_grad():
        expected = model(_ids(), RIGHT, _target()).logits
        for length in range(1, 6):
            other = torch.cat([_target()[:, :length], _ids(3, 6 - length, seed=length)], 1)
            found = model(_ids(), RIGHT, other).logits
            torch.testing.assert_close(found[:, :length], expected[:, :length], atol=0, rtol=0)


@pytest.mark.parametrize(("norm", "positions"), KINDS)
@pytest.mark.parametrize("mask", [RIGHT, LEFT], ids=["right", "left"])
def test_padding_of_the_source_on_either_side_never_changes_the_target(norm: str, positions: str, mask: Tensor) -> None:
    model = _model(norm=norm, positions=positions, activation="swiglu")
    with torch.no_grad():
        together = model(_ids(), mask, _target()).logits
        for row, real in enumerate(mask.bool()):
            alone = model(_ids()[row, real][None], None, _target()[row][None]).logits[0]
            torch.testing.assert_close(together[row], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("norm", "positions"), KINDS)
@pytest.mark.parametrize("cuts", [[1] * 6, [3, 1, 2]], ids=str)
def test_reading_on_from_the_cache_is_reading_it_all(norm: str, positions: str, cuts: list[int]) -> None:
    model = _model(norm=norm, positions=positions)
    logits, read = [], 0
    with torch.no_grad():
        cross, state = model.start(model.encoder(_ids(), LEFT).last_hidden_state)
        for cut in cuts:
            target = _target()[:, read : read + cut]
            output = model(None, LEFT, target, cross=cross, state=state, use_cache=True)
            state, read = output.state, read + cut
            logits.append(output.logits)
        expected = model(_ids(), LEFT, _target()).logits
    assert [tuple(tensor.shape) for tensor in state] == [(3, 4, 6, 8)] * 4
    torch.testing.assert_close(torch.cat(logits, 1), expected, atol=1e-5, rtol=1e-5)


def test_logits_of_chosen_tokens_are_those_of_all() -> None:
    model = _model()
    chosen = _target() % 3 == 0
    with torch.no_grad():
        expected = model(_ids(), RIGHT, _target()).logits
        found = model(_ids(), RIGHT, _target(), logits_to_keep=chosen).logits
    torch.testing.assert_close(found, expected[chosen])


@pytest.mark.parametrize("tied", [True, False])
def test_auto_classes_load_what_was_saved(tied: bool, tmp_path: Path) -> None:
    model = _model(tie_word_embeddings=tied, num_decoder_layers=1)
    model.save_pretrained(tmp_path)
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    assert type(again) is TransformerForSeq2SeqLM
    assert sum(p.shape == (50, 32) for p in again.parameters()) == (1 if tied else 2)
    with torch.no_grad():
        torch.testing.assert_close(again(_ids(), LEFT, _target()).logits, model(_ids(), LEFT, _target()).logits)
    assert again.generate(_ids(), max_new_tokens=5).tolist() == model.generate(_ids(), max_new_tokens=5).tolist()


class _Encoder(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        cross, _ = self.model.start(self.model.encoder(input_ids, attention_mask).last_hidden_state)
        return tuple(cross)


class _Decoder(nn.Module):
    """Of one block, its tensors one by one."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, cross_k: Tensor, cross_v: Tensor, k: Tensor, v: Tensor
    ) -> tuple[Tensor, ...]:
        output = self.model(None, attention_mask, input_ids, cross=(cross_k, cross_v), state=(k, v), use_cache=True)
        return (output.logits, *output.state)


def _session(spec: GraphSpec, path: Path, exporter: Any) -> Any:
    export_onnx(spec, path, ExportConfig(exporter=exporter))
    assert not {"Loop", "Scan"} & {node.op_type for node in onnx.load(path).graph.node}
    return onnxruntime.InferenceSession(path)


@pytest.mark.parametrize("exporter", ["legacy", "dynamo"])
@pytest.mark.parametrize(("norm", "positions"), [("post", "sinusoidal"), ("rms", "rotary")])
def test_two_graphs_read_a_source_and_write_the_target(
    norm: str, positions: str, exporter: Any, tmp_path: Path
) -> None:
    model = _model(norm=norm, positions=positions, num_decoder_layers=1)
    source = {"input_ids": _ids(2, 5), "attention_mask": RIGHT[:2, :5]}
    axes = {name: {0: "batch", 1: "source"} for name in source}
    crosses = ("cross_k", "cross_v")
    spec = GraphSpec(
        "encoder", _Encoder(model).eval(), source, axes | {key: {0: "batch", 2: "source"} for key in crosses}, crosses
    )
    encoder = _session(spec, tmp_path / "encoder.onnx", exporter)
    with torch.no_grad():
        cross, _ = model.start(model.encoder(**source).last_hidden_state)
        _, past = model.start(_ids(2, 3, 32).float())
        past = model(None, source["attention_mask"], _ids(2, 3), cross=cross, state=past, use_cache=True).state
        expected = model(_ids(), LEFT, _target()).logits.numpy()
    example = {"input_ids": _ids(2, 4), "attention_mask": source["attention_mask"]}
    example |= dict(zip((*crosses, "k", "v"), (*cross, *past), strict=True))
    axes = {"input_ids": {0: "batch", 1: "sequence"}, "attention_mask": {0: "batch", 1: "source"}}
    axes |= {key: {0: "batch", 2: "source"} for key in crosses} | {key: {0: "batch", 2: "past"} for key in "kv"}
    axes |= {"logits": {0: "batch", 1: "sequence"}, "k_on": {0: "batch", 2: "on"}, "v_on": {0: "batch", 2: "on"}}
    spec = GraphSpec("decoder", _Decoder(model).eval(), example, axes, ("logits", "k_on", "v_on"))
    decoder = _session(spec, tmp_path / "decoder.onnx", exporter)
    mask, read = LEFT.numpy(), 0
    cross = encoder.run(None, {"input_ids": _ids().numpy(), "attention_mask": mask})
    state = [np.zeros((3, 4, 0, 8), np.float32)] * 2
    for cut in (1, 3, 1, 1):
        fed = {"input_ids": _target()[:, read : read + cut].numpy(), "attention_mask": mask}
        logits, *state = decoder.run(None, fed | dict(zip((*crosses, "k", "v"), (*cross, *state), strict=True)))
        assert np.abs(logits - expected[:, read : read + cut]).max() < 1e-4
        read += cut
