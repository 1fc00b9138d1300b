"""The moving average of a student's weights: what it is, that it is what is kept, and that it goes on after a crash."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import SOFT, Setting, largest_difference, make_setting, weights

from distill.config import TrainConfig
from distill.training import loop
from distill.training.average import MovingAverage
from distill.training.state import State

STEPS, EVALUATIONS = 12, 4


@pytest.fixture(scope="module")
def setting() -> Setting:
    return make_setting()


def config(ema: float | None, **changes: Any) -> TrainConfig:
    return TrainConfig(steps=STEPS, evaluations=EVALUATIONS, batch_size=16, ema=ema, **changes)


def closed_form(path: list[np.ndarray], decay: float) -> np.ndarray:
    """Of the weights before the first step and after each."""
    decays = np.array([1.0, *(min(decay, (1 + t) / (10 + t)) for t in range(1, len(path)))])
    shares = np.array([1.0, *(1 - decays[1:])]) * np.array([decays[t + 1 :].prod() for t in range(len(path))])
    assert shares.sum() == pytest.approx(1)
    return np.tensordot(shares, np.stack(path), axes=1)


@pytest.mark.parametrize(("decay", "steps"), [(0.999, 1), (0.999, 40), (0.5, 40), (0.9, 300)])
def test_it_is_the_weighted_mean_of_all_weights_so_far(decay: float, steps: int) -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    model.register_buffer("count", torch.zeros(1))
    average = MovingAverage(model, decay)
    path = [model.weight.detach().numpy().copy()]
    for _ in range(steps):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update()
        path.append(model.weight.detach().numpy().copy())
    own = weights(model)
    with average.in_place():
        np.testing.assert_allclose(model.weight.detach().numpy(), closed_form(path, decay), atol=1e-5)
        assert model.count == 0
    assert largest_difference(weights(model), own) == 0


def test_a_short_training_is_averaged_over_its_last_tenth_not_from_its_start() -> None:
    decays = [min(0.999, (1 + t) / (10 + t)) for t in range(1, 401)]
    shares = [(1 - d) * np.prod(decays[t + 1 :]) for t, d in enumerate(decays)]
    assert np.sum(shares[-40:]) > 0.6
    assert np.sum(shares[:200]) < 0.01


def test_the_model_is_evaluated_and_kept_with_the_average(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.3, 0.9, 0.5, 0.2])
    path: list[dict[str, Any]] = []
    scored: list[dict[str, Any]] = []
    update = MovingAverage.update

    def spy(average: MovingAverage) -> None:
        path.append(weights(model))
        update(average)

    def scripted(model: Any, *_: Any) -> Any:
        scored.append(weights(model))
        return next(scores), ()

    monkeypatch.setattr(loop, "score", scripted)
    monkeypatch.setattr(MovingAverage, "update", spy)
    model = setting.model()
    path.append(weights(model))
    result = setting.run(model, config(0.8))
    assert (result.best_step, result.validation) == (6, 0.9)
    assert largest_difference(weights(model), scored[1]) == 0
    for at, found in zip((3, 6, 9, 12), scored, strict=True):
        for name in found:
            expected = closed_form([one[name].numpy() for one in path[: at + 1]], 0.8)
            np.testing.assert_allclose(found[name].numpy(), expected, atol=1e-6)
    assert largest_difference(scored[1], path[6]) > 1e-3


def test_it_changes_neither_the_steps_nor_a_training_without_it(setting: Setting) -> None:
    """The loss of every step is the same: the average is looked at, not trained on."""
    plain, averaged = (setting.run(setting.model(), config(ema)) for ema in (None, 0.9))
    assert [p.train_loss for p in plain.curve] == [p.train_loss for p in averaged.curve]


def test_without_validation_the_average_after_the_last_step_is_kept(setting: Setting) -> None:
    found = []
    for ema in (None, 0.9):
        model = setting.model()
        problem = setting.problem(model, config(ema))
        object.__setattr__(problem, "validation", None)
        loop.train(problem, None, setting.machine)
        found.append(weights(model))
    last = setting.model()
    kept: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "score", lambda model, *_: (kept.append(weights(model)) or 0.5, ()))
        setting.run(last, config(0.9))
    assert largest_difference(found[1], kept[-1]) == 0
    assert largest_difference(*found) > 1e-3


class Killed(Exception):
    """What a test raises in place of a crash."""


@pytest.mark.parametrize("step", [1, 4, 12])
def test_a_killed_training_goes_on_to_the_same_bits(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    store, often = setting.store(tmp_path / "store"), config(0.9, checkpoint_seconds=-1)
    whole = setting.model()
    expected = setting.run(whole, often, terms=SOFT, store=store)
    save, done = State.save, itertools.count(1)

    def killed(state: State, parts: Any) -> None:
        save(state, parts)
        if next(done) == step:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(State, "save", killed)
        with pytest.raises(Killed):
            setting.run(setting.model(), often, terms=SOFT, store=store, directory=tmp_path / "work")
    second = setting.model(seed=5)  # its own weights play no part
    result = setting.run(second, often, terms=SOFT, store=store, directory=tmp_path / "work")
    assert largest_difference(weights(whole), weights(second)) == 0
    assert [p.validation for p in result.curve] == [p.validation for p in expected.curve]
