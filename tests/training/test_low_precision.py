"""bf16 where a device has it: float32 weights, float32 predictions."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from tiny_training import Setting, make_setting

from distill.config import TrainConfig
from distill.training import find_machine, make_accelerator, predict


@pytest.fixture(autouse=True)
def fresh_state() -> Iterator[None]:
    """accelerate keeps one precision a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def _fp32_setting() -> Setting:
    setting = make_setting()
    AcceleratorState._reset_state(reset_partial_state=True)
    return setting


def test_bf16_trains_finite_weights_of_float32_and_predicts_float32() -> None:
    setting = dataclasses.replace(_fp32_setting(), machine=find_machine("cpu", "bf16", 1))
    model = setting.model()
    result = setting.run(model, TrainConfig(steps=90, evaluations=15, batch_size=8))
    assert result.validation > 0.9
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    units = predict(model, setting.encoder, setting.task, setting.validation, setting.machine)
    assert {unit.dtype for unit in units} == {np.dtype(np.float32)}
    assert all(np.isfinite(unit).all() for unit in units)


def test_a_model_trained_in_bf16_computes_in_float32_afterwards() -> None:
    setting = dataclasses.replace(_fp32_setting(), machine=find_machine("cpu", "bf16", 1))
    model = setting.model()
    setting.run(model, TrainConfig(steps=6, evaluations=1, batch_size=8))
    fresh = setting.model(seed=1).eval()
    fresh.load_state_dict(model.state_dict())
    ids = torch.from_numpy(setting.encoder.encode(setting.validation[:1])[0].input_ids)[None]
    with torch.no_grad():
        assert torch.equal(model(ids).logits, fresh(ids).logits)


def test_a_process_may_train_in_one_precision_after_the_other() -> None:
    for precision in ("fp32", "bf16", "fp32"):
        accelerator = make_accelerator("cpu", precision, 1)
        assert accelerator.mixed_precision == ("bf16" if precision == "bf16" else "no")


def test_both_precisions_reach_the_same_result_to_a_stated_tolerance() -> None:
    """bf16 has 8 bits of mantissa: losses within 2 %, logits within 0.1, and equal answers but for ties."""
    config = TrainConfig(steps=30, evaluations=5, batch_size=16)
    curves, answers = [], []
    for precision in ("fp32", "bf16"):
        setting = dataclasses.replace(_fp32_setting(), machine=find_machine("cpu", precision, 1))
        model = setting.model(dropout=0.0)
        curves.append([point.train_loss for point in setting.run(model, config, rate=1e-3).curve])
        fp32 = find_machine("cpu", "fp32", 1)
        units = predict(model, setting.encoder, setting.task, setting.validation, fp32)
        low = predict(model, setting.encoder, setting.task, setting.validation, find_machine("cpu", "bf16", 1))
        np.testing.assert_allclose(np.concatenate(low), np.concatenate(units), atol=0.03)
        answers.append(np.concatenate(units))
    assert curves[0] != curves[1]
    np.testing.assert_allclose(curves[1], curves[0], rtol=0.02)
    np.testing.assert_allclose(answers[1], answers[0], atol=0.1)
    assert (answers[0].argmax(-1) == answers[1].argmax(-1)).mean() > 0.9
