"""Recurrent networks against torch's own over packed sequences, with copied weights."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import (
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from distill import tasks
from distill.config.schema import ExportConfig
from distill.export.onnx_export import export_onnx
from distill.models.answers import answer_of
from distill.models.graphs import graphs_of
from distill.models.recurrent import (
    CELLS,
    Recurrent,
    RecurrentConfig,
    RecurrentForQuestionAnswering,
    RecurrentForSequenceClassification,
    RecurrentForTokenClassification,
    RecurrentModel,
)

LENGTHS = torch.tensor([9, 1, 4, 6])
MASK = (torch.arange(9)[None] < LENGTHS[:, None]).long()
HEADS: list[Any] = [
    RecurrentModel,
    RecurrentForSequenceClassification,
    RecurrentForTokenClassification,
    RecurrentForQuestionAnswering,
]
AUTO: dict[Any, Any] = dict(
    zip(
        HEADS,
        [AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoModelForQuestionAnswering],
        strict=True,
    )
)


def _pair(cell: str, layers: int, bidirectional: bool) -> tuple[Recurrent, nn.RNNBase]:
    torch.manual_seed(0)
    mine = Recurrent(cell, 6, 5, layers, bidirectional, 0.0).eval()
    kind: Any = CELLS[cell]
    theirs = kind(6, 5, layers, batch_first=True, bidirectional=bidirectional).eval()
    state = {}
    for layer in range(layers):
        for suffix, modules in (("", mine.forward_layers), ("_reverse", mine.backward_layers)):
            if not suffix or bidirectional:
                for name, parameter in modules[layer].named_parameters():
                    state[name.replace("_l0", f"_l{layer}{suffix}")] = parameter.detach()
    theirs.load_state_dict(state)
    return mine, theirs


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_it_computes_what_torch_computes_on_a_packed_batch(cell: str, layers: int, bidirectional: bool) -> None:
    mine, theirs = _pair(cell, layers, bidirectional)
    x = torch.randn(4, 9, 6)
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    with torch.no_grad():
        expected, _ = pad_packed_sequence(theirs(packed)[0], batch_first=True, total_length=9)
        found = mine(x, MASK)
        unpacked = theirs(x * MASK.unsqueeze(-1))[0] * MASK.unsqueeze(-1)
    assert (found - expected).abs().max() < 1e-6
    if bidirectional:  # masking alone is something else
        assert (unpacked - expected).abs().max() > 1e-3


@pytest.mark.parametrize("cell", CELLS)
def test_what_stands_in_the_padding_is_never_read(cell: str) -> None:
    mine, _ = _pair(cell, 2, True)
    x = torch.randn(4, 9, 6)
    with torch.no_grad():
        torch.testing.assert_close(mine(x.masked_fill(MASK.unsqueeze(-1) == 0, 1e3), MASK), mine(x, MASK))


def _model(kind: Any, **settings: Any) -> Any:
    torch.manual_seed(0)
    labels = {"num_labels": 3} if kind is not RecurrentModel else {}
    config = RecurrentConfig(
        **{"cell": "lstm", "vocab_size": 50, "embedding_size": 6, "hidden_size": 5, "num_hidden_layers": 2}
        | labels
        | settings
    )
    return kind(config).eval()


def _ids() -> Tensor:
    return torch.randint(1, 50, (4, 9), generator=torch.Generator().manual_seed(0)) * MASK


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", ["max", "mean", "last"])
@pytest.mark.parametrize("kind", HEADS)
def test_padding_never_changes_a_real_row(kind: Any, pooling: str, bidirectional: bool, cell: str) -> None:
    model = _model(kind, bidirectional=bidirectional, pooling=pooling, cell=cell)
    ids = _ids()
    with torch.no_grad():
        together = answer_of(model(ids, MASK), MASK)
        for row, length in enumerate(LENGTHS.tolist()):
            part = ids[row : row + 1, :length]
            alone = answer_of(model(part), torch.ones_like(part))
            found = together[row : row + 1] if together.ndim == 2 else together[row : row + 1, :length]
            torch.testing.assert_close(found, alone)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", ["max", "mean", "last"])
def test_the_head_reads_the_pooled_states_of_real_tokens(pooling: str, bidirectional: bool) -> None:
    model = _model(RecurrentForSequenceClassification, pooling=pooling, bidirectional=bidirectional)
    with torch.no_grad():
        states = model.recurrent(model.embeddings(_ids()), MASK).numpy()
        for row, length in enumerate(LENGTHS.tolist()):
            real = states[row, :length]
            last = np.concatenate([real[-1, :5], real[0, 5:]])
            pooled = {"max": real.max(0), "mean": real.mean(0), "last": last}[pooling]
            expected = model.classifier(torch.from_numpy(pooled))
            torch.testing.assert_close(model(_ids(), MASK).logits[row], expected)


@pytest.mark.parametrize("pooling", ["max", "mean", "last"])
def test_a_row_of_padding_alone_gives_numbers(pooling: str) -> None:
    model = _model(RecurrentForSequenceClassification, pooling=pooling)
    with torch.no_grad():
        assert torch.isfinite(model(*torch.zeros(2, 1, 4, dtype=torch.long)).logits).all()


@pytest.mark.parametrize(("cell", "gates"), [("rnn", 1), ("gru", 3), ("lstm", 4)])
def test_recurrent_weights_are_orthogonal_and_forget_gates_open_at_the_start(cell: str, gates: int) -> None:
    model = _model(RecurrentForSequenceClassification, cell=cell)
    for name, parameter in model.recurrent.named_parameters():
        parts = parameter.detach().chunk(gates)
        if "bias" in name:
            for i, part in enumerate(parts):  # torch.nn.LSTM's gates: input, forget, cell, output
                assert (part == (1 if gates == 4 and i == 1 and "bias_ih" in name else 0)).all()
        elif "weight_hh" in name:
            for part in parts:
                torch.testing.assert_close(part @ part.T, torch.eye(5), atol=1e-5, rtol=0)
    assert (model.embeddings.weight[0] == 0).all()


@pytest.mark.parametrize("kind", HEADS)
def test_auto_classes_load_what_was_saved(kind: Any, tmp_path: Path) -> None:
    model = _model(kind, bidirectional=False)
    model.save_pretrained(tmp_path)
    again = AUTO[kind].from_pretrained(tmp_path).eval()
    assert type(again) is kind
    with torch.no_grad():
        torch.testing.assert_close(answer_of(again(_ids(), MASK), MASK), answer_of(model(_ids(), MASK), MASK))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("kind", "task"),
    [
        (RecurrentModel, "sentence-embedding"),
        (RecurrentForSequenceClassification, "text-classification"),
        (RecurrentForTokenClassification, "token-classification"),
        (RecurrentForQuestionAnswering, "question-answering"),
    ],
)
def test_the_graph_computes_the_same_at_other_shapes(kind: Any, task: str, cell: str, tmp_path: Path) -> None:
    model = _model(kind, cell=cell)
    (spec,) = graphs_of(model, tasks.build(task, ("a", "b", "c")))
    outputs = spec.outputs
    assert spec.inputs == ("input_ids", "attention_mask")
    export_onnx(spec, tmp_path / "m.onnx", ExportConfig())
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    fed = {"input_ids": _ids().numpy(), "attention_mask": MASK.numpy()}
    found = dict(zip(outputs, session.run(list(outputs), fed), strict=True))
    with torch.no_grad():
        output = model(_ids(), MASK)
        for name in outputs:
            expected = answer_of(output, MASK) if name == "sentence_embedding" else getattr(output, name)
            assert np.abs(found[name] - expected.numpy()).max() < 1e-5
