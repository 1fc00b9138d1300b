"""The recurrent encoder-decoder: its attention against numpy, its steps by hand; state, padding, writing, graphs."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForSeq2SeqLM

from distill.config.schema import ExportConfig
from distill.export.onnx_export import export_onnx
from distill.models.graph_spec import GraphSpec
from distill.models.recurrent import CELLS
from distill.models.recurrent_encoder_decoder import AdditiveAttention, RecurrentForSeq2SeqLM, RecurrentSeq2SeqConfig

RIGHT = (torch.arange(7)[None] < torch.tensor([7, 4, 2])[:, None]).long()
LEFT = RIGHT.flip(1)
KINDS = [(cell, attention) for cell in CELLS for attention in (True, False)]


@pytest.fixture(autouse=True)
def same_weights_each_time() -> None:
    torch.manual_seed(0)


def _ids(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(3, 50, shape or (3, 7), generator=torch.Generator().manual_seed(seed))


def _target() -> Tensor:
    return _ids(3, 5, seed=7)


def _shaken(module: nn.Module) -> Any:
    """Eval mode and weights far from their start."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=random))
    return module.eval()


def _model(**settings: Any) -> Any:
    sizes: dict[str, Any] = {
        "vocab_size": 50,
        "embedding_size": 6,
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "attention_size": 5,
        "eos_token_id": 2,
        "decoder_start_token_id": 1,
    }
    return _shaken(RecurrentForSeq2SeqLM(RecurrentSeq2SeqConfig(**{**sizes, **settings})))


def _array(tensor: Tensor) -> Any:
    return tensor.detach().numpy()


def test_attention_is_the_formula_of_the_paper() -> None:
    attention = _shaken(AdditiveAttention(4, 6, 5))
    random = np.random.default_rng(0)
    s, h = random.normal(size=(4,)).astype(np.float32), random.normal(size=(7, 6)).astype(np.float32)
    w, u, v = (_array(layer.weight) for layer in (attention.query, attention.key, attention.score))
    scores = np.array([v[0] @ np.tanh(w @ s + u @ h_j) for h_j in h[:5]])  # the last two are padding
    weights = np.exp(scores) / np.exp(scores).sum()
    mask = torch.tensor([[1, 1, 1, 1, 1, 0, 0]])
    h_BSD = torch.from_numpy(h)[None]
    with torch.no_grad():
        context, found = attention(torch.from_numpy(s)[None], attention.key(h_BSD), h_BSD, mask)
    np.testing.assert_allclose(found[0].numpy(), [*weights, 0, 0], atol=1e-6)
    np.testing.assert_allclose(context[0].numpy(), weights @ h[:5], atol=1e-6)


def _by_hand(model: Any, source: Tensor, target: Tensor) -> tuple[Any, Any]:
    """(logits [L, V], weights [L, S]) of one pair without padding, one GRU layer, step by step in numpy."""
    h = _array(model.encoder(source[None]).last_hidden_state[0])
    ends = np.concatenate([h[-1, :8], h[0, 8:]])
    layer = model.recurrent.forward_layers[0]
    w_ih, w_hh, b_ih, b_hh = (_array(p) for p in layer.parameters())

    def linear(module: Any, x: Any) -> Any:
        return _array(module.weight) @ x + (0 if module.bias is None else _array(module.bias))

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    s, logits, looks = np.tanh(linear(model.bridge, ends)), [], []
    for word in _array(model.encoder.embeddings.weight)[target.numpy()]:
        context, weights = ends, None
        if model.attention is not None:
            query = linear(model.attention.query, s)
            scores = np.array(
                [linear(model.attention.score, np.tanh(query + linear(model.attention.key, x))) for x in h]
            )
            weights = np.exp(scores[:, 0]) / np.exp(scores).sum()
            context = weights @ h
        given, own = w_ih @ np.concatenate([word, context]) + b_ih, w_hh @ s + b_hh
        r, z = sigmoid(given[:8] + own[:8]), sigmoid(given[8:16] + own[8:16])
        s = (1 - z) * np.tanh(given[16:] + r * own[16:]) + z * s
        pieces = linear(model.maxout, np.concatenate([s, word, context]))
        logits.append(linear(model.lm_head, np.maximum(pieces[::2], pieces[1::2])))
        looks.append(weights)
    return np.array(logits), np.array(looks)


@pytest.mark.parametrize("attention", [True, False])
def test_the_decoder_is_its_formulas_step_by_step(attention: bool) -> None:
    model = _model(cell="gru", num_hidden_layers=1, attention=attention)
    with torch.no_grad():
        found = model(_ids(), None, _target(), output_attentions=True)
        for row in range(3):
            logits, weights = _by_hand(model, _ids()[row], _target()[row])
            np.testing.assert_allclose(found.logits[row].numpy(), logits, atol=1e-5, rtol=1e-5)
            if attention:
                np.testing.assert_allclose(found.cross_attentions[0][row, 0].numpy(), weights, atol=1e-5)
        assert (found.cross_attentions is None) is not attention
        assert model(_ids(), None, _target()).cross_attentions is None


@pytest.mark.parametrize(("cell", "attention"), KINDS)
@pytest.mark.parametrize("mask", [RIGHT, LEFT], ids=["right", "left"])
def test_padding_of_the_source_on_either_side_is_not_read(cell: str, attention: bool, mask: Tensor) -> None:
    model = _model(cell=cell, attention=attention)
    with torch.no_grad():
        together = model(_ids(), mask, _target(), output_attentions=True)
        for row, real in enumerate(mask.bool()):
            alone = model(_ids()[row, real][None], None, _target()[row][None], output_attentions=True)
            torch.testing.assert_close(together.logits[row], alone.logits[0], atol=1e-5, rtol=1e-5)
            if attention:
                weights = together.cross_attentions[0][row, 0]
                torch.testing.assert_close(weights[:, real], alone.cross_attentions[0][0, 0], atol=1e-5, rtol=1e-5)
                assert (weights[:, ~real] == 0).all()


@pytest.mark.parametrize(("cell", "attention"), KINDS)
def test_reading_on_from_a_state_is_reading_it_all(cell: str, attention: bool) -> None:
    model = _model(cell=cell, attention=attention)
    logits, read = [], 0
    with torch.no_grad():
        cross, state = model.start(model.encoder(_ids(), LEFT).last_hidden_state, LEFT)
        for cut in (1, 3, 1):
            part = _target()[:, read : read + cut]
            output = model(None, LEFT, part, cross=cross, state=state, use_cache=True)
            state, read = output.state, read + cut
            logits.append(output.logits)
        whole = model(_ids(), LEFT, _target(), output_hidden_states=True)
    torch.testing.assert_close(torch.cat(logits, 1), whole.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(whole.decoder_hidden_states[-1][:, -1], state[-2 if cell == "lstm" else -1])
    assert whole.state is None


def test_a_later_token_never_changes_an_earlier_output_and_the_source_counts() -> None:
    for attention in (True, False):
        model = _model(attention=attention)
        with torch.no_grad():
            expected = model(_ids(), None, _target()).logits
            other = torch.cat([_target()[:, :3], _ids(3, 2, seed=3)], 1)
            torch.testing.assert_close(model(_ids(), None, other).logits[:, :3], expected[:, :3], atol=0, rtol=0)
            assert (model(_ids(seed=5), None, _target()).logits - expected).abs().max() > 1e-2


def _best(model: Any, source: Tensor, count: int, beams: int) -> list[int]:
    """Beam search over texts that never end, by the sum of log-probabilities; all is read again for each word."""
    found = [(0.0, [1])]
    for _ in range(count):
        found = [
            (score + float(p), [*text, word])
            for score, text in found
            for word, p in enumerate(model(source, None, torch.tensor([text])).logits[0, -1].log_softmax(-1))
        ]
        found = sorted(found, reverse=True)[:beams]
    return found[0][1]


@pytest.mark.parametrize(("cell", "attention"), [("gru", True), ("lstm", True), ("rnn", False)])
@pytest.mark.parametrize("beams", [1, 3])
@torch.no_grad()
def test_generate_writes_what_is_found_by_hand(cell: str, attention: bool, beams: int) -> None:
    model = _model(cell=cell, attention=attention)
    model.generation_config.eos_token_id = None
    settings = {"attention_mask": LEFT, "num_beams": beams, "max_new_tokens": 4, "do_sample": False}
    found = model.generate(_ids() * LEFT, **settings).tolist()
    assert found == model.generate(_ids() * LEFT, use_cache=False, **settings).tolist()
    for row, real in enumerate(LEFT.bool()):
        assert found[row] == _best(model, _ids()[row, real][None], 4, beams)


@pytest.mark.parametrize(("cell", "attention"), KINDS)
def test_auto_classes_load_what_was_saved(cell: str, attention: bool, tmp_path: Path) -> None:
    model = _model(cell=cell, attention=attention, tie_word_embeddings=attention)
    model.save_pretrained(tmp_path)
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    assert type(again) is RecurrentForSeq2SeqLM
    assert sum(p.shape == (50, 6) for p in again.parameters()) == (1 if attention else 2)
    with torch.no_grad():
        torch.testing.assert_close(again(_ids(), LEFT, _target()).logits, model(_ids(), LEFT, _target()).logits)


class _Encoder(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        cross, state = self.model.start(self.model.encoder(input_ids, attention_mask).last_hidden_state, attention_mask)
        return (*cross, *state)


class _Decoder(nn.Module):
    """Two tensors of the source, the others the state."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, *kept: Tensor) -> tuple[Tensor, ...]:
        output = self.model(None, attention_mask, input_ids, cross=kept[:2], state=kept[2:], use_cache=True)
        return (output.logits, *output.state)


@pytest.mark.parametrize("cell", CELLS)
def test_two_graphs_read_a_source_and_write_the_target(cell: str, tmp_path: Path) -> None:
    model = _model(cell=cell)
    source = {"input_ids": _ids(2, 5), "attention_mask": RIGHT[:2, :5]}
    with torch.no_grad():
        cross, state = model.start(model.encoder(**source).last_hidden_state, source["attention_mask"])
        expected = model(_ids(), LEFT, _target()).logits.numpy()
    names = ("keys", "states", *(f"state_{i}" for i in range(len(state))))
    axes = {name: {0: "batch", 1: "source"} for name in (*source, "keys", "states")}
    outputs = ("logits", *(f"{name}_on" for name in names[2:]))
    axes |= {name: {0: "batch"} for name in (*names[2:], *outputs)}
    specs = [
        GraphSpec("encoder", _Encoder(model).eval(), source, axes, names),
        GraphSpec(
            "decoder",
            _Decoder(model).eval(),
            {"input_ids": _ids(2, 1), "attention_mask": source["attention_mask"]}
            | dict(zip(names, (*cross, *state), strict=True)),
            {**axes, "input_ids": {0: "batch"}},
            outputs,
        ),
    ]
    sessions = []
    for spec in specs:
        export_onnx(spec, tmp_path / spec.role, ExportConfig())
        assert not {"Loop", "Scan"} & {node.op_type for node in onnx.load(tmp_path / spec.role).graph.node}
        sessions.append(onnxruntime.InferenceSession(tmp_path / spec.role))
    mask = LEFT.numpy()
    first, second, *arrays = sessions[0].run(None, {"input_ids": _ids().numpy(), "attention_mask": mask})
    for step in range(5):
        fed = {"input_ids": _target()[:, step : step + 1].numpy(), "attention_mask": mask}
        logits, *arrays = sessions[1].run(None, fed | dict(zip(names, (first, second, *arrays), strict=True)))
        assert np.abs(logits[:, 0] - expected[:, step]).max() < 1e-4
