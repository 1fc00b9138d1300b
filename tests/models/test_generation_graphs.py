"""Graphs of models that write: the cache is plain tensors, and one graph reads the prompt and writes on."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest
import torch
import transformers
from tiny_writers import CAUSAL, OWN, OWN_CAUSAL, SEQ2SEQ, tiny_writer
from torch import Tensor, nn

from distill.config.schema import ExportConfig
from distill.errors import UserError
from distill.export.onnx_export import export_graphs
from distill.models.graphs import graphs_of
from distill.runtime import Graphs

LEGACY = ExportConfig(exporter="legacy")


def left_padded(batch: int, length: int) -> tuple[Tensor, Tensor]:
    """Random ids and their mask: row b starts with b tokens of padding."""
    ids = torch.randint(3, 60, (batch, length))
    mask = torch.ones_like(ids)
    for row in range(batch):
        mask[row, : min(row, length - 1)] = 0
    return ids, mask


def empty_cache(spec: Any, batch: int) -> dict[str, np.ndarray[Any, Any]]:
    example = {name: tensor for name, tensor in spec.example.items() if name.startswith("past")}
    return {name: np.zeros((batch, t.shape[1], 0, t.shape[3]), np.float32) for name, t in example.items()}


@pytest.mark.parametrize("family", [*CAUSAL, *OWN_CAUSAL])
def test_decoder_reads_a_prompt_and_writes_on_as_torch_does(family: str, tmp_path: Path) -> None:
    model = tiny_writer(family)
    (spec,) = graphs_of(model)
    assert spec.role == "decoder"
    graphs = Graphs(export_graphs([spec], tmp_path, LEGACY), 1)
    for batch, prompt in ((1, 1), (1, 6), (3, 7), (3, 2)):
        ids, mask = left_padded(batch, prompt + 3)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        takes = {"position_ids": positions} if getattr(spec.module, "positions", False) else {}
        with torch.no_grad():
            expected = model(input_ids=ids, attention_mask=mask, **takes).logits.numpy()
        cache, found = graphs.empty_cache(batch), []
        for start, end in ((0, prompt), *((prompt + i, prompt + i + 1) for i in range(3))):
            arrays = {"input_ids": ids[:, start:end].numpy(), "attention_mask": mask[:, :end].numpy(), **cache}
            logits, *tensors = graphs.run("decoder", arrays, spec.outputs)
            cache = dict(zip(cache, tensors, strict=True))
            found.append(logits)
        real = mask.bool().numpy()
        np.testing.assert_allclose(np.concatenate(found, axis=1)[real], expected[real], atol=1e-4)


@pytest.mark.parametrize("family", SEQ2SEQ)
def test_encoder_and_decoder_write_as_torch_does(family: str, tmp_path: Path) -> None:
    model = tiny_writer(family)
    specs = graphs_of(model)
    assert [spec.role for spec in specs] == ["encoder", "decoder"]
    graphs = Graphs(export_graphs(specs, tmp_path, LEGACY), 1)
    decoder = specs[1]
    for batch, source, written in ((1, 1, 2), (1, 9, 4), (3, 6, 5)):
        ids, mask = left_padded(batch, source)
        ids, mask = ids.flip(1), mask.flip(1)
        target = torch.randint(3, 60, (batch, written))
        with torch.no_grad():
            expected = model(input_ids=ids, attention_mask=mask, decoder_input_ids=target).logits.numpy()
        names = specs[0].outputs
        cross = graphs.run("encoder", {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}, names)
        fixed = {**dict(zip(names, cross, strict=True)), "encoder_attention_mask": mask.numpy()}
        cache, found = empty_cache(decoder, batch), []
        for start, end in ((0, 2), *((i, i + 1) for i in range(2, written))):
            arrays = {"input_ids": target[:, start:end].numpy(), **fixed, **cache}
            logits, *tensors = graphs.run("decoder", arrays, decoder.outputs)
            cache = dict(zip(cache, tensors, strict=True))
            found.append(logits)
        np.testing.assert_allclose(np.concatenate(found, axis=1), expected, atol=1e-4)


@pytest.mark.parametrize("exporter", ["legacy", "dynamo"])
@pytest.mark.parametrize("family", ["GPT2", "Marian"])
def test_graphs_have_no_loops_and_free_axes_alone(
    family: str, exporter: Literal["legacy", "dynamo"], tmp_path: Path
) -> None:
    files = export_graphs(graphs_of(tiny_writer(family)), tmp_path, ExportConfig(exporter=exporter))
    for path in files.values():
        graph = onnx.load(path).graph
        assert not {"Scan", "Loop", "If"} & {node.op_type for node in graph.node}
    shapes = {i.name: [d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim] for i in graph.input}
    assert shapes["past.1.value"] == ["batch", 2, "past", 8]
    shapes = {o.name: [d.dim_param or d.dim_value for d in o.type.tensor_type.shape.dim] for o in graph.output}
    assert shapes["logits"] == ["batch", "sequence", 60]
    assert list(shapes) == ["logits", *(f"present.{i}.{what}" for i in (0, 1) for what in ("key", "value"))]


@pytest.mark.parametrize("family", ["GPT2", "Marian", "Llama"])
def test_a_decoder_does_not_copy_what_it_is_given(family: str, tmp_path: Path) -> None:
    files = export_graphs(graphs_of(tiny_writer(family)), tmp_path, LEGACY)
    for node in onnx.load(files["decoder"]).graph.node:
        assert node.op_type != "Concat" or len(node.input) > 1 or not node.input[0].startswith(("past", "cross"))


@pytest.mark.parametrize("family", OWN)
def test_graphs_take_what_their_specifications_say(family: str, tmp_path: Path) -> None:
    specs = graphs_of(tiny_writer(family))
    graphs = Graphs(export_graphs(specs, tmp_path, LEGACY), 1)
    assert {spec.role: {*spec.inputs} for spec in specs} == {role: {*names} for role, names in graphs.inputs.items()}


@pytest.mark.parametrize("family", OWN)
def test_graphs_of_own_models_have_no_loops(family: str, tmp_path: Path) -> None:
    for path in export_graphs(graphs_of(tiny_writer(family)), tmp_path, LEGACY).values():
        assert not {"Scan", "Loop", "If"} & {node.op_type for node in onnx.load(path).graph.node}


def test_the_encoders_graph_holds_what_the_decoder_looks_up_in_it(tmp_path: Path) -> None:
    model = tiny_writer("Marian")
    files = export_graphs(graphs_of(model), tmp_path, LEGACY)

    def matrices(role: str) -> int:
        return sum(int(np.prod(t.dims)) for t in onnx.load(files[role]).graph.initializer if len(t.dims) == 2)

    def parameters(module: nn.Module, *names: str) -> int:
        found = [p for name, p in module.named_parameters() if not names or any(part in name for part in names)]
        return sum(p.numel() for p in found if p.ndim == 2)

    looked_up = parameters(model.get_decoder(), "encoder_attn.k_proj", "encoder_attn.v_proj")
    assert matrices("encoder") == parameters(model.get_encoder()) + looked_up
    bias = model.final_logits_bias.numel()  # the output layer's matrix is the embedding
    assert matrices("decoder") == parameters(model.get_decoder()) - looked_up + bias


def test_the_model_given_stays_as_it_is() -> None:
    model = tiny_writer("Llama").train()
    attention = model.config._attn_implementation
    graphs_of(model)
    assert model.training
    assert model.config._attn_implementation == attention != "eager"


def test_a_model_that_keeps_another_kind_of_state_is_refused() -> None:
    sizes = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "state_size": 4}
    with pytest.raises(UserError, match="MambaForCausalLM keeps something else than keys and values"):
        graphs_of(transformers.MambaForCausalLM(transformers.MambaConfig(**sizes)))


def test_a_model_that_does_not_write_needs_a_task() -> None:
    with pytest.raises(ValueError, match="Linear does not write"):
        graphs_of(nn.Linear(2, 2))
