"""`benchmarks/recurrence.py` compares networks of one size, over all lengths and batches."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

RECURRENCE = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "recurrence.py"))


def test_both_networks_have_about_as_many_parameters() -> None:
    lstm, block = (sum(p.numel() for p in network.module.parameters()) for network in RECURRENCE["networks"]().values())
    assert lstm == pytest.approx(block, rel=0.02)


def written_out_lstm(lstm: torch.nn.LSTM, x_BLD: Tensor) -> Tensor:
    """The layer as its products: the counter does not look into the fused one."""
    input_weight, state_weight, input_bias, state_bias = lstm.all_weights[0]
    state_BD, cell_BD = (torch.zeros(len(x_BLD), lstm.hidden_size, requires_grad=True) for _ in range(2))
    states = []
    for x_BD in x_BLD.unbind(1):
        gates = functional.linear(x_BD, input_weight, input_bias) + functional.linear(
            state_BD, state_weight, state_bias
        )
        into, forget, new, out = gates.chunk(4, -1)
        cell_BD = forget.sigmoid() * cell_BD + into.sigmoid() * new.tanh()
        state_BD = out.sigmoid() * cell_BD.tanh()
        states.append(state_BD)
    return torch.stack(states, 1)


def written_out_block(block: torch.nn.Module, x_BLD: Tensor) -> Tensor:
    """The block with its attention as two products: asked for the weights, it does not take the fused one."""
    result: Tensor = block.read(x_BLD, torch.ones(1, 1, 1, 1, dtype=torch.bool), weights=True).x_BLD  # type: ignore[operator]
    return result


@pytest.mark.parametrize(
    ("name", "written_out"), [("LSTM layer", written_out_lstm), ("Transformer block", written_out_block)]
)
@pytest.mark.parametrize(("batch", "length"), [(1, 5), (3, 8)])
def test_formula_counts_the_products_of_a_training_step(name: str, written_out: Any, batch: int, length: int) -> None:
    network = RECURRENCE["networks"]()[name]
    x_BLD = torch.randn(batch, length, network.size, requires_grad=True)
    torch.testing.assert_close(written_out(network.module, x_BLD), network.step(x_BLD), rtol=1e-4, atol=1e-5)
    with FlopCounterMode(display=False) as counter:
        written_out(network.module, x_BLD).sum().backward()
    assert RECURRENCE["flops"](network, length, batch) == counter.get_total_flops()


def test_steps_are_timed_over_all_lengths_and_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = RECURRENCE["timed"]
    for name, few in (("LENGTHS", (2, 4)), ("BATCHES", (1, 2)), ("LARGE", 8)):
        monkeypatch.setitem(timed.__globals__, name, few)
    times, product = timed(RECURRENCE["networks"](), torch.device("cpu"), torch.float32, rounds=2)
    assert len(times) == 2 * 2 * 2
    assert min(*times.values(), product) > 0
    figure = RECURRENCE["draw"](times, 1.0, "cpu")
    assert [axis.get_title() for axis in figure.axes] == ["LSTM layer", "Transformer block"]
