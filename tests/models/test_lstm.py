"""The LSTM against torch's own over packed sequences, with copied weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from distill.models import LstmConfig, LstmForSequenceClassification, LstmForTokenClassification
from distill.models.recurrent import Lstm

LENGTHS = torch.tensor([9, 1, 4, 6])
MASK = (torch.arange(9)[None] < LENGTHS[:, None]).long()


def _pair(layers: int, bidirectional: bool) -> tuple[Lstm, nn.LSTM]:
    torch.manual_seed(0)
    mine = Lstm(6, 5, layers, bidirectional, 0.0).eval()
    theirs = nn.LSTM(6, 5, layers, batch_first=True, bidirectional=bidirectional).eval()
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
def test_it_computes_what_torch_computes_on_a_packed_batch(layers: int, bidirectional: bool) -> None:
    mine, theirs = _pair(layers, bidirectional)
    x = torch.randn(4, 9, 6)
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    with torch.no_grad():
        expected, _ = pad_packed_sequence(theirs(packed)[0], batch_first=True, total_length=9)
        found = mine(x, MASK)
        unpacked = theirs(x * MASK.unsqueeze(-1))[0] * MASK.unsqueeze(-1)
    assert (found - expected).abs().max() < 1e-6
    if bidirectional:  # masking alone is something else
        assert (unpacked - expected).abs().max() > 1e-3


def test_what_stands_in_the_padding_is_never_read() -> None:
    mine, _ = _pair(2, True)
    x = torch.randn(4, 9, 6)
    with torch.no_grad():
        torch.testing.assert_close(mine(x.masked_fill(MASK.unsqueeze(-1) == 0, 1e3), MASK), mine(x, MASK))


def _model(kind: Any, **settings: Any) -> Any:
    torch.manual_seed(0)
    config = LstmConfig(50, 6, 5, 2, num_labels=3, **settings)
    return kind(config).eval()


def _ids() -> Tensor:
    return torch.randint(1, 50, (4, 9), generator=torch.Generator().manual_seed(0)) * MASK


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", [LstmForSequenceClassification, LstmForTokenClassification])
def test_padding_never_changes_a_real_row(kind: Any, bidirectional: bool) -> None:
    model = _model(kind, bidirectional=bidirectional)
    ids = _ids()
    with torch.no_grad():
        together = model(ids, MASK).logits
        for row, length in enumerate(LENGTHS.tolist()):
            alone = model(ids[row : row + 1, :length]).logits
            found = together[row : row + 1] if together.ndim == 2 else together[row : row + 1, :length]
            torch.testing.assert_close(found, alone)


def test_the_head_reads_the_largest_value_over_real_tokens() -> None:
    model = _model(LstmForSequenceClassification)
    with torch.no_grad():
        states = model.lstm(model.embeddings(_ids()), MASK)
        for row, length in enumerate(LENGTHS.tolist()):
            expected = model.classifier(states[row, :length].max(0).values)
            torch.testing.assert_close(model(_ids(), MASK).logits[row], expected)


def test_forget_gates_are_open_and_recurrent_weights_orthogonal_at_the_start() -> None:
    model = _model(LstmForSequenceClassification)
    for name, parameter in model.lstm.named_parameters():
        i, f, g, o = parameter.detach().chunk(4)  # torch.nn.LSTM's order of the gates
        if "bias" in name:
            assert (f == (1 if "bias_ih" in name else 0)).all()
            assert all((gate == 0).all() for gate in (i, g, o))
        elif "weight_hh" in name:
            for gate in (i, f, g, o):
                torch.testing.assert_close(gate @ gate.T, torch.eye(5), atol=1e-5, rtol=0)
    assert (model.embeddings.weight[0] == 0).all()


@pytest.mark.parametrize(
    ("kind", "auto"),
    [
        (LstmForSequenceClassification, AutoModelForSequenceClassification),
        (LstmForTokenClassification, AutoModelForTokenClassification),
    ],
)
def test_auto_classes_load_what_was_saved(kind: Any, auto: Any, tmp_path: Path) -> None:
    model = _model(kind, bidirectional=False)
    model.save_pretrained(tmp_path)
    again = auto.from_pretrained(tmp_path).eval()
    assert type(again) is kind
    with torch.no_grad():
        torch.testing.assert_close(again(_ids(), MASK).logits, model(_ids(), MASK).logits)
