"""The recurrent language model against torch's own networks, with copied weights; state, padding, writing, graph."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from distill.config.schema import ExportConfig
from distill.errors import UserError
from distill.export.onnx_export import export_onnx
from distill.models.graph_spec import GraphSpec
from distill.models.recurrent import CELLS
from distill.models.recurrent_decoder import RecurrentDecoderConfig, RecurrentForCausalLM

RIGHT = (torch.arange(9)[None] < torch.tensor([9, 4, 1])[:, None]).long()
LEFT = RIGHT.flip(1)


@pytest.fixture(autouse=True)
def same_weights_each_time() -> None:
    torch.manual_seed(0)


def _ids(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(3, 50, shape or (3, 9), generator=torch.Generator().manual_seed(seed))


def _model(**settings: Any) -> Any:
    """Weights far from their start."""
    sizes: dict[str, Any] = {"vocab_size": 50, "embedding_size": 6, "hidden_size": 8, "num_hidden_layers": 2}
    config = RecurrentDecoderConfig(**{**sizes, "bos_token_id": 1, "eos_token_id": 2, **settings})
    model = RecurrentForCausalLM(config)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=random))
    return model.eval()


def _torchs(model: Any) -> nn.RNNBase:
    """One module of torch with all layers."""
    kind: Any = CELLS[model.config.cell]
    theirs: nn.RNNBase = kind(6, 8, 2, batch_first=True).eval()
    state = {}
    for i, layer in enumerate(model.recurrent.forward_layers):
        for name, parameter in layer.named_parameters():
            state[name.replace("_l0", f"_l{i}")] = parameter.detach()
    theirs.load_state_dict(state)
    return theirs


@pytest.mark.parametrize("cell", CELLS)
def test_it_is_torchs_network_between_two_matrices(cell: str) -> None:
    model = _model(cell=cell)
    with torch.no_grad():
        found = model(_ids(), use_cache=True, output_hidden_states=True)
        x = model.embeddings.weight[_ids()]
        out, after = _torchs(model)(x)
        expected = out @ model.lm_head.weight.T + model.lm_head.bias
    assert found.logits.shape == (3, 9, 50)
    torch.testing.assert_close(found.logits, expected, atol=1e-5, rtol=1e-5)
    for i, part in enumerate(after if cell == "lstm" else (after,)):
        for layer in range(2):
            mine = found.state[layer * (2 if cell == "lstm" else 1) + i]
            torch.testing.assert_close(mine, part[layer], atol=1e-5, rtol=1e-5)
    assert [x.shape[-1] for x in found.hidden_states] == [6, 8, 8]
    torch.testing.assert_close(found.hidden_states[0], x)
    torch.testing.assert_close(found.hidden_states[2], out, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("mask", [RIGHT, LEFT], ids=["right", "left"])
@pytest.mark.parametrize("use_cache", [True, False])
def test_padding_on_either_side_is_not_read(cell: str, mask: Tensor, use_cache: bool) -> None:
    model = _model(cell=cell)
    with torch.no_grad():
        together = model(_ids(), mask, use_cache=use_cache)
        for row, real in enumerate(mask.bool()):
            alone = model(_ids()[row, real][None], use_cache=True)
            torch.testing.assert_close(together.logits[row, real], alone.logits[0], atol=1e-5, rtol=1e-5)
            if use_cache:
                for mine, part in zip(together.state, alone.state, strict=True):
                    torch.testing.assert_close(mine[row], part[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("cuts", [[1] * 9, [4, 1, 4]], ids=str)
@pytest.mark.parametrize("mask", [None, LEFT], ids=["no mask", "left"])
def test_reading_on_from_a_state_is_reading_it_all(cell: str, cuts: list[int], mask: Tensor | None) -> None:
    model = _model(cell=cell)
    state, logits, read = model.empty_state(3), [], 0
    with torch.no_grad():
        for cut in cuts:  # some rows of the first ones are padding alone
            seen = None if mask is None else mask[:, : read + cut]
            output = model(_ids()[:, read : read + cut], seen, state, use_cache=True)
            state, read = output.state, read + cut
            logits.append(output.logits)
        expected = model(_ids(), mask).logits
        assert model(_ids()).state is None
    real = torch.ones_like(LEFT).bool() if mask is None else mask.bool()
    torch.testing.assert_close(torch.cat(logits, 1)[real], expected[real], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_a_later_token_never_changes_an_earlier_output(cell: str) -> None:
    model = _model(cell=cell)
    with torch.no_grad():
        expected = model(_ids()).logits
        other = torch.cat([_ids()[:, :4], _ids(3, 5, seed=3)], 1)
        torch.testing.assert_close(model(other).logits[:, :4], expected[:, :4], atol=0, rtol=0)


def _greedy(model: Any, ids: list[int], count: int) -> list[int]:
    """The whole text read again for each word."""
    for _ in range(count):
        ids = [*ids, int(model(torch.tensor([ids])).logits[0, -1].argmax())]
        if ids[-1] == 2:
            break
    return ids


def _best(model: Any, ids: list[int], count: int, beams: int) -> list[int]:
    """Beam search over texts that never end, by the sum of log-probabilities."""
    found = [(0.0, ids)]
    for _ in range(count):
        found = [
            (score + float(p), [*text, word])
            for score, text in found
            for word, p in enumerate(model(torch.tensor([text])).logits[0, -1].log_softmax(-1))
        ]
        found = sorted(found, reverse=True)[:beams]
    return found[0][1]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("use_cache", [True, False])
@torch.no_grad()
def test_generate_writes_what_is_found_by_hand(cell: str, use_cache: bool) -> None:
    model = _model(cell=cell)
    ids, settings = _ids() * LEFT, {"attention_mask": LEFT, "use_cache": use_cache, "do_sample": False}
    greedy = model.generate(ids, max_new_tokens=6, **settings).tolist()
    model.generation_config.eos_token_id = None
    beams = model.generate(ids, max_new_tokens=4, num_beams=3, **settings).tolist()
    for row, real in enumerate(LEFT.bool()):
        text, padding = ids[row, real].tolist(), [0] * int((~real).sum())
        expected = padding + _greedy(model, text, 6)
        assert greedy[row][: len(expected)] == expected
        assert beams[row] == padding + _best(model, text, 4, 3)


@pytest.mark.parametrize("cell", CELLS)
def test_auto_classes_load_what_was_saved(cell: str, tmp_path: Path) -> None:
    model = _model(cell=cell, hidden_size=6, tie_word_embeddings=True)
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(again) is RecurrentForCausalLM
    assert sum(p.shape == (50, 6) for p in again.parameters()) == 1
    with torch.no_grad():
        torch.testing.assert_close(again(_ids(), LEFT).logits, model(_ids(), LEFT).logits)
        torch.testing.assert_close(
            model(_ids()).logits, model(_ids(), output_hidden_states=True).hidden_states[-1] @ model.embeddings.weight.T
        )


def test_tied_embeddings_of_another_size_are_refused() -> None:
    with pytest.raises(UserError, match="embedding_size is 6 and hidden_size 8"):
        _model(tie_word_embeddings=True)


class _Step(nn.Module):
    """The model as a graph knows it: tensors in, tensors out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        output = self.model(input_ids, attention_mask, state, use_cache=True)
        return (output.logits, *output.state)


@pytest.mark.parametrize("cell", CELLS)
def test_one_graph_reads_padded_prompts_and_reads_on(cell: str, tmp_path: Path) -> None:
    model = _model(cell=cell)
    state = model.empty_state(2)
    names = [f"state_{i}" for i in range(len(state))]
    example = {"input_ids": _ids(2, 5), "attention_mask": LEFT[:2, 4:], **dict(zip(names, state, strict=True))}
    axes = {name: {0: "batch"} | ({1: "sequence"} if name not in names else {}) for name in example}
    outputs = ("logits", *(f"{name}_on" for name in names))
    axes |= {name: {0: "batch"} for name in outputs} | {"logits": {0: "batch", 1: "sequence"}}
    spec = GraphSpec("decoder", _Step(model).eval(), example, axes, outputs)
    export_onnx(spec, tmp_path / "m.onnx", ExportConfig())
    assert not {"Loop", "Scan"} & {node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node}
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    arrays = [tensor.numpy() for tensor in model.empty_state(3)]
    ids, mask, read = torch.cat([_ids(), _ids(3, 3, seed=2)], 1), torch.cat([LEFT, torch.ones(3, 3).long()], 1), 0
    with torch.no_grad():
        expected = model(ids, mask).logits.numpy()
    for cut in (9, 1, 2):
        part = slice(read, read + cut)
        fed = {"input_ids": ids[:, part].numpy(), "attention_mask": mask[:, part].numpy()}
        logits, *arrays = session.run(None, {**fed, **dict(zip(names, arrays, strict=True))})
        assert np.abs(logits - expected[:, part])[mask[:, part].numpy() == 1].max() < 1e-4
        read += cut
