"""`benchmarks/recurrence.py` compares networks of one size, over all lengths and batches."""

import runpy
from pathlib import Path

import pytest
import torch

RECURRENCE = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "recurrence.py"))


def test_both_networks_have_about_as_many_parameters() -> None:
    lstm, block = (sum(p.numel() for p in network.module.parameters()) for network in RECURRENCE["networks"]().values())
    assert lstm == pytest.approx(block, rel=0.02)


def test_steps_are_timed_over_all_lengths_and_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = RECURRENCE["timed"]
    for name, few in (("LENGTHS", (2, 4)), ("BATCHES", (1, 2)), ("LARGE", 8)):
        monkeypatch.setitem(timed.__globals__, name, few)
    times, product = timed(RECURRENCE["networks"](), torch.device("cpu"), torch.float32, rounds=2)
    assert len(times) == 2 * 2 * 2
    assert min(*times.values(), product) > 0
    figure = RECURRENCE["draw"](times, 1.0, "cpu")
    assert [axis.get_title() for axis in figure.axes] == ["LSTM layer", "Transformer block"]
