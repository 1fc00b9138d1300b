import copy
import dataclasses
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from distill import tasks
from distill.config.schema import ExportConfig
from distill.export import onnx_export
from distill.export.onnx_export import export_graphs, export_onnx
from distill.models.graph_spec import GraphSpec
from distill.models.graphs import graph_inputs, graphs_of
from distill.runtime import Graphs

SIZES = {
    "vocab_size": 200,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 80,
    "num_labels": 3,
}
FAMILIES = {
    "Bert": {},
    "DistilBert": {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2},
    "Roberta": {"pad_token_id": 1, "type_vocab_size": 1},
    "MPNet": {"pad_token_id": 1},
    "ModernBert": {
        "local_attention": 8,  # shorter than the longest batch below
        "global_attn_every_n_layers": 2,
        "pad_token_id": 0,
        "cls_token_id": 1,
        "sep_token_id": 2,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
}


class ReversedLstm(nn.Module):
    """Both directions on a right-padded batch, the backward one by reversing each row inside its length."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(200, 16)
        self.ahead = nn.LSTM(16, 24, batch_first=True)
        self.back = nn.LSTM(16, 24, batch_first=True)
        self.classifier = nn.Linear(48, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SequenceClassifierOutput:
        lengths = attention_mask.sum(1, keepdim=True)
        positions = torch.arange(input_ids.shape[1]).expand_as(input_ids)
        reverse = torch.where(positions < lengths, lengths - 1 - positions, positions).unsqueeze(-1)
        x = self.embedding(input_ids)
        back = self.back(x.gather(1, reverse.expand(-1, -1, 16)))[0].gather(1, reverse.expand(-1, -1, 24))
        states = torch.cat([self.ahead(x)[0], back], -1) * attention_mask.unsqueeze(-1)
        return SequenceClassifierOutput(logits=self.classifier(states.sum(1) / lengths))


def build(family: str, head: str = "SequenceClassification") -> nn.Module:
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**{**SIZES, **FAMILIES[family]})
    model: nn.Module = getattr(transformers, f"{family}For{head}")(config).eval()
    for parameter in model.parameters():  # the initial weights give logits so small that any graph would agree
        parameter.data *= 3
    return model


def spec_of(model: nn.Module) -> GraphSpec:
    """Of the role ``model``, for a task that fits the head."""
    by_token = type(model).__name__.endswith("TokenClassification")
    task = tasks.build("token-classification" if by_token else "text-classification", ("a", "b", "c"))
    (spec,) = graphs_of(model, task)
    return spec


def largest_difference(model: nn.Module, path: Path) -> float:
    """Over shapes unlike the exporter's example, padded and not; real positions only."""
    session = onnxruntime.InferenceSession(str(path))
    pad_id = getattr(getattr(model, "config", None), "pad_token_id", 0)
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for batch, length in ((1, 1), (1, 2), (1, 17), (2, 1), (3, 64), (7, 17)):
        ids = torch.randint(5, 200, (batch, length), generator=generator)
        mask = torch.ones_like(ids)
        for row in range(1, batch):
            mask[row, max(1, length - 2 * row) :] = 0
        ids[mask == 0] = pad_id
        with torch.no_grad():
            expected = model(input_ids=ids, attention_mask=mask).logits
        feed = {"input_ids": ids.numpy(), "attention_mask": mask.numpy(), "token_type_ids": np.zeros_like(ids.numpy())}
        found = torch.from_numpy(session.run(["logits"], {i.name: feed[i.name] for i in session.get_inputs()})[0])
        assert expected.shape == found.shape
        if expected.dim() == 3:
            expected, found = expected[mask == 1], found[mask == 1]
        largest = max(largest, float((expected - found).abs().max()))
    return largest


@pytest.mark.parametrize("head", ["SequenceClassification", "TokenClassification"])
@pytest.mark.parametrize("family", FAMILIES)
def test_traced_graph_computes_what_torch_computes(family: str, head: str, tmp_path: Path) -> None:
    model = build(family, head)
    export_onnx(spec_of(model), tmp_path / "model.onnx", ExportConfig(exporter="legacy"))
    assert largest_difference(model, tmp_path / "model.onnx") < 1e-5


@pytest.mark.slow
def test_dynamo_graph_computes_what_torch_computes(tmp_path: Path) -> None:
    model = build("Bert")
    export_onnx(spec_of(model), tmp_path / "model.onnx", ExportConfig(exporter="dynamo"))
    assert largest_difference(model, tmp_path / "model.onnx") < 1e-5
    assert b"site-packages" not in (tmp_path / "model.onnx").read_bytes()
    assert not onnx.load(tmp_path / "model.onnx").graph.value_info  # or onnxruntime fuses into a slower kernel


@pytest.mark.slow
@pytest.mark.parametrize("head", ["SequenceClassification", "TokenClassification"])
@pytest.mark.parametrize("family", FAMILIES)
def test_dynamo_graph_of_every_family(family: str, head: str, tmp_path: Path) -> None:
    model = build(family, head)
    export_onnx(spec_of(model), tmp_path / "model.onnx", ExportConfig(exporter="dynamo"))
    assert largest_difference(model, tmp_path / "model.onnx") < 1e-5


def test_recurrent_model_is_exported_twice_in_one_process_whatever_the_setting(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ReversedLstm().eval()
    for _ in range(2):
        export_onnx(spec_of(model), tmp_path / "model.onnx", ExportConfig(exporter="dynamo"))
        assert largest_difference(model, tmp_path / "model.onnx") < 1e-5


def test_lstm_reversed_by_gather_is_the_packed_bidirectional_lstm() -> None:
    torch.manual_seed(0)
    model = ReversedLstm().eval()
    packed = nn.LSTM(16, 24, batch_first=True, bidirectional=True)
    for name, parameter in packed.named_parameters():
        source = model.back if name.endswith("_reverse") else model.ahead
        parameter.data = dict(source.named_parameters())[name.removesuffix("_reverse")].data
    ids = torch.randint(200, (3, 9))
    lengths = torch.tensor([9, 4, 1])
    mask = (torch.arange(9) < lengths[:, None]).long()
    inputs = nn.utils.rnn.pack_padded_sequence(model.embedding(ids), lengths, batch_first=True)
    states = nn.utils.rnn.pad_packed_sequence(packed(inputs)[0], batch_first=True)[0]
    expected = model.classifier(states.sum(1) / lengths[:, None])
    torch.testing.assert_close(model(ids, mask).logits, expected)


def test_token_types_are_an_input_only_where_the_model_knows_several() -> None:
    assert graph_inputs(build("Bert")) == ("input_ids", "attention_mask", "token_type_ids")
    assert graph_inputs(build("Roberta")) == ("input_ids", "attention_mask")  # takes them, knows one
    assert graph_inputs(build("DistilBert")) == ("input_ids", "attention_mask")
    assert graph_inputs(ReversedLstm()) == ("input_ids", "attention_mask")


def test_graph_is_named_dynamic_and_carries_no_paths(tmp_path: Path) -> None:
    model = build("Bert", "TokenClassification")
    export_onnx(spec_of(model), tmp_path / "onnx" / "model.onnx", ExportConfig(exporter="legacy"))
    exported = onnx.load(tmp_path / "onnx" / "model.onnx")
    onnx.checker.check_model(exported, full_check=True)
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in [*exported.graph.input, *exported.graph.output]
    }
    assert shapes == {
        "input_ids": ["batch", "sequence"],
        "attention_mask": ["batch", "sequence"],
        "token_type_ids": ["batch", "sequence"],
        "logits": ["batch", "sequence", 3],
    }
    text = exported.SerializeToString()
    for part in (str(tmp_path), str(Path(__file__).parents[2]), "site-packages", ".py"):
        assert part.encode() not in text
    assert [p.name for p in (tmp_path / "onnx").iterdir()] == ["model.onnx"]


def test_the_model_given_stays_as_it_is(tmp_path: Path) -> None:
    model = build("Bert").train().to(torch.bfloat16)
    before = copy.deepcopy(model.state_dict())
    attention = model.config._attn_implementation
    export_onnx(spec_of(model), tmp_path / "model.onnx", ExportConfig(exporter="legacy"))
    assert model.training
    assert model.config._attn_implementation == attention != "eager"
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    kinds = {tensor.data_type for tensor in onnx.load(tmp_path / "model.onnx").graph.initializer}
    assert onnx.TensorProto.BFLOAT16 not in kinds


def test_weights_above_the_limit_stand_in_a_second_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "PROTOBUF_LIMIT", 1000)
    model = build("Bert")
    export_onnx(spec_of(model), tmp_path / "model.onnx", ExportConfig(exporter="legacy"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "model.onnx_data"]
    assert largest_difference(model, tmp_path / "model.onnx") < 1e-5


def test_a_failed_export_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("old")
    with pytest.raises(TypeError):
        export_onnx(spec_of(nn.Linear(2, 2)), path, ExportConfig(exporter="legacy"))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_export_and_quantization_say_nothing(tmp_path: Path) -> None:
    script = f"""
import torch, transformers
from pathlib import Path
from distill.config.schema import ExportConfig
from distill import tasks
from distill.export.onnx_export import export_onnx
from distill.export.quantize import quantize_int8
from distill.models.graphs import graphs_of
config = transformers.BertConfig(**{SIZES!r})
model = transformers.BertForSequenceClassification(config)
folder = Path({str(tmp_path)!r})
(spec,) = graphs_of(model, tasks.build("text-classification", ("a", "b", "c")))
export_onnx(spec, folder / "model.onnx", ExportConfig(exporter="legacy"))
quantize_int8(folder / "model.onnx", folder / "model_int8.onnx")
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_warnings_of_others_are_not_silenced(tmp_path: Path) -> None:
    class WarningLstm(ReversedLstm):
        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SequenceClassifierOutput:
            warnings.warn("from the model", UserWarning, stacklevel=1)
            return super().forward(input_ids, attention_mask)

    with pytest.warns(UserWarning, match="from the model"):
        export_onnx(spec_of(WarningLstm()), tmp_path / "model.onnx", ExportConfig())


class WritingOn(nn.Module):
    """A decoder of one layer of attention over what it has read, which it takes and gives back as one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(200, 8)
        self.head = nn.Linear(8, 200)

    def forward(self, input_ids: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        read = torch.cat([past, self.embedding(input_ids)], dim=1)
        own, whole = input_ids.shape[1], read.shape[1]
        seen = torch.arange(whole)[None, :] <= torch.arange(own)[:, None] + (whole - own)
        scores = (self.embedding(input_ids) @ read.transpose(1, 2)).masked_fill(~seen, -1e9)
        return self.head(scores.softmax(-1) @ read), read


def test_graphs_of_several_roles_and_a_cache_that_starts_empty(tmp_path: Path) -> None:
    torch.manual_seed(0)
    decoder = WritingOn().eval()
    axes = {"input_ids": {0: "batch", 1: "sequence"}, "past": {0: "batch", 1: "past"}}
    axes |= {"logits": {0: "batch", 1: "sequence"}, "present": {0: "batch", 1: "read"}}
    example = {"input_ids": torch.ones(2, 3, dtype=torch.long), "past": torch.randn(2, 2, 8)}
    writing = GraphSpec("decoder", decoder, example, axes, ("logits", "present"))
    encoder = dataclasses.replace(spec_of(build("Bert")), role="encoder")
    files = export_graphs([encoder, writing], tmp_path, ExportConfig(exporter="legacy"))
    assert files == {role: tmp_path / "onnx" / f"{role}.onnx" for role in ("encoder", "decoder")}
    graphs = Graphs(files, 1)
    ids = torch.randint(200, (1, 6))
    with torch.no_grad():
        expected, _ = decoder(ids, torch.zeros(1, 0, 8))
    past, found = np.zeros((1, 0, 8), dtype=np.float32), []
    for part in (ids[:, :4], ids[:, 4:5], ids[:, 5:]):  # the prompt, then a token at a time, through one graph
        logits, past = graphs.run("decoder", {"input_ids": part.numpy(), "past": past}, ("logits", "present"))
        found.append(logits)
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected.numpy(), atol=1e-5)
    assert len(graphs.run("encoder", {name: tensor.numpy() for name, tensor in encoder.example.items()})) == 1
