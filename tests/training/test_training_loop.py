"""The loop: seeds, order, cutting of steps, best weights, going on after a crash, and what stops it."""

import dataclasses
import gc
import itertools
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import HARD, SOFT, Setting, labelled, largest_difference, make_setting, weights

from distill.config import TrainConfig
from distill.errors import UserError
from distill.training import Rows, SoftLabelStore, batching, loop, predict
from distill.training import problem as problems
from distill.training.learner import parameter_groups
from distill.training.loop import score
from distill.training.state import STATE_FILE, State, randomness

SHORT = TrainConfig(steps=9, evaluations=3, batch_size=16)


@pytest.fixture(scope="module")
def setting() -> Setting:
    return make_setting()


def _validation(setting: Setting) -> Rows:
    return Rows.read(setting.task, setting.encoder, setting.validation)


def _trained(setting: Setting, config: TrainConfig = SHORT, **arguments: Any) -> dict[str, torch.Tensor]:
    model = setting.model()
    setting.run(model, config, **arguments)
    return weights(model)


def test_the_same_seed_gives_identical_weights_and_another_does_not(setting: Setting) -> None:
    first = _trained(setting)
    torch.randn(100)  # the state of the global generator plays no part
    assert largest_difference(first, _trained(setting)) == 0
    assert largest_difference(first, _trained(setting, seed=1)) > 1e-3


def test_a_rule_is_learnt(setting: Setting) -> None:
    model = setting.model()
    assert score(model, _validation(setting), setting.machine)[0] < 0.8
    result = setting.run(model, TrainConfig(steps=90, evaluations=15, batch_size=8))
    assert result.validation > 0.9
    assert result.curve[-1].train_loss < 0.2 < result.curve[0].train_loss


def test_tags_are_learnt_from_soft_labels_alone(tmp_path: Path) -> None:
    setting = make_setting(60, 20, words=True)
    store = setting.store(tmp_path)
    unlabelled = dataclasses.replace(setting, texts=[dataclasses.replace(e, label=None) for e in setting.texts])
    result = unlabelled.run(
        unlabelled.model(), TrainConfig(steps=72, evaluations=12, batch_size=8), terms=SOFT, store=store
    )
    assert result.validation > 0.9


def test_hard_and_soft_arms_see_the_same_batches_in_the_same_order(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[list[int]]] = []

    def spy(*arguments: Any) -> Any:
        batch = batching.make_batch(*arguments)
        seen.append(batch.inputs["input_ids"].tolist())
        return batch

    monkeypatch.setattr(problems, "make_batch", spy)
    monkeypatch.setattr(loop, "score", lambda *_: (0.5, ()))
    orders = []
    for terms, store in ((HARD, None), (SOFT, setting.store(tmp_path))):
        seen.clear()
        _trained(setting, terms=terms, store=store)
        orders.append(list(seen))
    assert orders[0] == orders[1]
    assert len(orders[0]) == 9  # three epochs of three batches
    assert sorted(map(str, orders[0][:3])) != sorted(map(str, orders[0][3:6]))


def test_hard_and_soft_arms_start_from_the_same_dropout(setting: Setting, tmp_path: Path) -> None:
    """With a soft objective that is the hard one, the two arms are one."""
    store = setting.store(tmp_path)
    assert largest_difference(_trained(setting), _trained(setting, terms=HARD, store=store)) == 0


@pytest.mark.parametrize("words", [False, True])
def test_a_step_that_is_cut_is_the_same_step(words: bool, tmp_path: Path) -> None:
    setting = make_setting(16, 8, words)
    store = setting.store(tmp_path)
    reached, losses = [], []
    for tokens in (16384, 40):
        model = setting.model(dropout=0.0)
        config = TrainConfig(steps=6, batch_size=16, tokens=tokens)
        result = setting.run(model, config, terms=SOFT, store=store, rate=1e-3)
        assert result.steps == 6
        reached.append(weights(model))
        losses.append([point.train_loss for point in result.curve])
    start = weights(setting.model(dropout=0.0))
    assert largest_difference(*reached) < 1e-5
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)  # AdamW hides a gradient that is twice as large
    assert largest_difference(start, reached[0]) > 1e-3


def test_a_last_step_of_fewer_texts_is_taken_too(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def spy(*arguments: Any) -> Any:
        sizes.append(len(arguments[1]))
        return batching.make_batch(*arguments)

    monkeypatch.setattr(problems, "make_batch", spy)
    monkeypatch.setattr(loop, "score", lambda *_: (0.5, ()))
    fewer = dataclasses.replace(setting, texts=setting.texts[:41])
    result = fewer.run(fewer.model(), TrainConfig(steps=4, evaluations=2, batch_size=32))
    assert result.steps == 4  # two an epoch
    assert sorted(sizes) == [9, 9, 32, 32]


def test_the_weights_that_were_best_on_validation_come_back(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.3, 0.9, 0.9, 0.2])
    at_evaluation: list[dict[str, torch.Tensor]] = []

    def scripted(model: Any, *_: Any) -> float:
        at_evaluation.append(weights(model))
        return next(scores), ()

    monkeypatch.setattr(loop, "score", scripted)
    model = setting.model()
    result = setting.run(model, TrainConfig(steps=12, evaluations=4, batch_size=16))
    assert [p.validation for p in result.curve] == [0.3, 0.9, 0.9, 0.2]
    assert (result.validation, result.best_step, result.steps) == (0.9, 6, 12)  # the first of equals
    assert largest_difference(weights(model), at_evaluation[1]) == 0
    assert largest_difference(weights(model), at_evaluation[3]) > 0


def test_the_returned_model_scores_what_the_result_says(setting: Setting) -> None:
    for rate in (1e-3, 1e-2, 5e-2):
        model = setting.model()
        result = setting.run(model, TrainConfig(steps=24, evaluations=4, batch_size=8), rate=rate)
        assert not model.training
        found, _ = score(model, _validation(setting), setting.machine)
        assert found == result.validation == max(p.validation for p in result.curve)


def test_training_stops_after_as_many_bad_evaluations_as_patience_allows(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [0.3, 0.5, 0.5, 0.4, 0.6, 0.1, 0.2, 0.3, 0.9, 0.9]
    for patience, evaluations in ((1, 3), (2, 4), (3, 8), (4, 10), (0, 10)):
        given = iter(scores)
        monkeypatch.setattr(loop, "score", lambda *_, given=given: (next(given), ()))
        result = setting.run(setting.model(), TrainConfig(steps=30, evaluations=10, batch_size=16, patience=patience))
        assert len(result.curve) == evaluations
        assert result.steps == 3 * evaluations
        assert result.validation == max(scores[:evaluations])


@pytest.mark.parametrize(
    ("budget", "evaluations", "steps"), [(6, 2, [3, 6]), (6, 4, [2, 3, 5, 6]), (2, 6, [1, 2]), (3, 1, [3])]
)
def test_evaluations_are_evenly_spaced_and_the_last_step_is_one(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, budget: int, evaluations: int, steps: list[int]
) -> None:
    monkeypatch.setattr(loop, "score", lambda *_: (0.5, ()))
    result = setting.run(setting.model(), TrainConfig(steps=budget, batch_size=16, evaluations=evaluations))
    assert [point.step for point in result.curve] == steps


class Killed(Exception):
    """What a test raises in place of a crash."""


def _killed_after(calls: int) -> Any:
    """Saves, and at this call dies."""
    save, done = State.save, itertools.count(1)

    def killed(state: State, parts: Any) -> None:
        save(state, parts)
        if next(done) == calls:
            raise Killed

    return killed


@pytest.mark.parametrize("step", [1, 3, 4, 7, 12])
def test_a_killed_training_goes_on_to_the_weights_of_one_that_was_not(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Dropout, schedule, moments, order, curve and the best weights so far all go on."""
    config = TrainConfig(steps=12, evaluations=4, batch_size=16, checkpoint_seconds=-1)  # after every step
    store = setting.store(tmp_path / "store")
    whole = setting.model()
    expected = setting.run(whole, config, terms=SOFT, store=store)
    with monkeypatch.context() as patch:
        patch.setattr(State, "save", _killed_after(step))
        with pytest.raises(Killed):
            setting.run(setting.model(), config, terms=SOFT, store=store, directory=tmp_path / "work")
    assert (tmp_path / "work" / STATE_FILE).is_file()
    torch.manual_seed(99)
    second = setting.model(seed=5)  # its own weights play no part
    made: list[int] = []
    plan = problems.Epoch

    def spy(lengths: Any, batch_size: int, seed: int, epoch: int) -> Any:
        made.append(epoch)
        return plan(lengths, batch_size, seed, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(problems, "Epoch", spy)
        result = setting.run(second, config, terms=SOFT, store=store, directory=tmp_path / "work")
    assert made == list(range(step // 3, 4))  # earlier epochs are not gone through again
    assert largest_difference(weights(whole), weights(second)) == 0
    assert (result.validation, result.best_step, result.steps) == (
        expected.validation,
        expected.best_step,
        expected.steps,
    )
    assert [p.validation for p in result.curve] == [p.validation for p in expected.curve]
    assert not (tmp_path / "work" / STATE_FILE).exists()


def test_each_process_draws_on_from_where_it_was_when_the_main_one_saved(tmp_path: Path) -> None:
    expected = list[Any]()
    for rank in range(3):
        torch.manual_seed(rank)
        torch.rand(rank)
        kept = randomness()
        expected.append((kept, torch.rand(5)))
    torch.set_rng_state(expected[0][0][0])
    State(tmp_path, others=[kept for kept, _ in expected[1:]]).save({})
    for rank, (_, drawn) in enumerate(expected):
        torch.manual_seed(9)
        assert State(tmp_path).load({}, rank)
        assert torch.equal(torch.rand(5), drawn)
    assert not State(tmp_path).load({}, rank=3)  # was not there
    assert not State(tmp_path / "elsewhere").load({})


def test_the_training_loss_of_the_curve_goes_on_too(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(steps=6, evaluations=2, batch_size=16, checkpoint_seconds=-1)
    expected = setting.run(setting.model(), config)
    with monkeypatch.context() as patch:
        patch.setattr(State, "save", _killed_after(2))
        with pytest.raises(Killed):
            setting.run(setting.model(), config, directory=tmp_path)
    result = setting.run(setting.model(), config, directory=tmp_path)
    assert [p.train_loss for p in result.curve] == pytest.approx([p.train_loss for p in expected.curve])


def test_no_checkpoint_is_written_before_its_time_nor_left_behind(setting: Setting, tmp_path: Path) -> None:
    setting.run(
        setting.model(),
        TrainConfig(steps=3, evaluations=1, batch_size=16, checkpoint_seconds=300),
        directory=tmp_path / "work",
    )
    assert not (tmp_path / "work").exists()


def test_a_loss_that_is_not_finite_is_told_with_step_and_learning_rate(setting: Setting, tmp_path: Path) -> None:
    store = setting.store(tmp_path)
    store.logits = np.where(np.arange(len(store.logits))[:, None] == 20, np.inf, np.asarray(store.logits))
    with pytest.raises(
        UserError, match=r"the loss is nan at step \d of 9 with learning rate 0\.005; lower train\.learning_rates"
    ):
        setting.run(setting.model(), SHORT, terms=SOFT, store=store)


def test_a_loss_is_named_with_its_own_step_though_it_is_read_later(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    add, read = loop.add_gradients, loop.read_losses

    def spoilt(*arguments: Any) -> torch.Tensor:
        taken = next(steps)
        return add(*arguments) * (torch.inf if taken == 23 else 1.0)

    def spy(unread: Any, problem: Any, state: Any, machine: Any) -> None:
        reads.append(state.step)
        read(unread, problem, state, machine)

    steps = itertools.count(1)
    monkeypatch.setattr(loop, "add_gradients", spoilt)
    monkeypatch.setattr(loop, "read_losses", spy)
    with pytest.raises(UserError, match="the loss is inf at step 23 of 60"):
        setting.run(setting.model(), TrainConfig(steps=60, evaluations=1, batch_size=16))
    assert reads == [20, 40]


def test_the_teachers_soft_labels_are_read_at_the_objectives_temperature_not_changed(
    setting: Setting, tmp_path: Path
) -> None:
    store = setting.store(tmp_path)
    before = np.array(store.logits)
    _trained(setting, terms=SOFT, store=store)
    np.testing.assert_array_equal(store.logits, before)


def test_soft_labels_are_taken_by_content_whatever_the_order_of_the_store(setting: Setting, tmp_path: Path) -> None:
    first = setting.store(tmp_path / "first")
    order = np.random.default_rng(5).permutation(len(setting.texts))
    shuffled = [setting.texts[i] for i in order]
    SoftLabelStore.write(tmp_path / "second", shuffled, [np.array(first[e]) for e in shuffled])
    second = SoftLabelStore(tmp_path / "second")
    assert (
        largest_difference(_trained(setting, terms=SOFT, store=first), _trained(setting, terms=SOFT, store=second)) == 0
    )


def test_a_text_without_soft_labels_stops_the_training(setting: Setting, tmp_path: Path) -> None:
    store = dataclasses.replace(setting, texts=labelled(5, 77)).store(tmp_path)
    with pytest.raises(KeyError):
        _trained(setting, terms=SOFT, store=store)


def test_texts_without_labels_train_the_soft_term_alone(setting: Setting, tmp_path: Path) -> None:
    store = setting.store(tmp_path)
    bare = dataclasses.replace(setting, texts=[dataclasses.replace(e, label=None) for e in setting.texts])
    found = _trained(bare, terms=SOFT, store=store)
    assert largest_difference(found, _trained(bare, terms=SOFT[1:], store=store)) == 0
    assert largest_difference(found, _trained(setting, terms=SOFT, store=store)) > 1e-4


def test_a_trained_model_is_kept_alive_by_nothing_but_its_user() -> None:
    setting = make_setting()
    model = setting.model()
    setting.run(model, TrainConfig(steps=3, evaluations=1, batch_size=16))
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


def test_prediction_does_not_depend_on_the_batch_and_keeps_the_order(setting: Setting) -> None:
    model = setting.model()
    model.train()
    texts = [*setting.validation, setting.validation[0]]
    whole = predict(model, setting.encoder, setting.task, texts, setting.machine)
    assert not model.training
    for size in (1, 5):
        parts = [texts[i : i + size] for i in range(0, len(texts), size)]
        found = [u for part in parts for u in predict(model, setting.encoder, setting.task, part, setting.machine)]
        np.testing.assert_allclose(np.concatenate(found), np.concatenate(whole), atol=1e-5)
    np.testing.assert_array_equal(whole[0], whole[-1])
    for example, unit in zip(texts[:4], whole, strict=False):
        ids = torch.from_numpy(setting.encoder.encode([example])[0].input_ids)[None]
        with torch.no_grad():
            np.testing.assert_allclose(unit, model(ids).logits.numpy(), atol=1e-5)


def test_prediction_of_no_texts_is_nothing(setting: Setting) -> None:
    assert predict(setting.model(), setting.encoder, setting.task, [], setting.machine) == []


def test_weight_decay_touches_matrices_only(setting: Setting) -> None:
    model = setting.model()
    model.classifier.weight.requires_grad_(False)
    decayed, free = parameter_groups(model, 0.25)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.25, 0.0)
    names = {id(p): name for name, p in model.named_parameters()}
    assert all(names[id(p)].endswith("weight") and "norm" not in names[id(p)] for p in decayed["params"])
    assert all(names[id(p)].endswith("bias") or "norm" in names[id(p)] for p in free["params"])
    assert len(decayed["params"]) + len(free["params"]) == len(names) - 1  # the frozen one is in neither


def test_the_learning_rate_rises_falls_and_ends_at_0(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def spy(self: Any, *arguments: Any, **named: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    monkeypatch.setattr(loop, "score", lambda *_: (0.5, ()))
    setting.run(setting.model(), TrainConfig(steps=12, evaluations=4, batch_size=16, warmup=0.25), rate=1e-3)
    rise = [1e-3 * (i + 1) / 3 for i in range(3)]
    fall = [1e-3 * (12 - i) / 9 for i in range(3, 12)]
    assert rates == pytest.approx(rise + fall)


def test_gradients_are_cut_to_the_norm_asked_for(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    norms: list[float] = []
    step = torch.optim.AdamW.step

    def spy(self: Any, *arguments: Any, **named: Any) -> Any:
        gradients = [p.grad.norm() for group in self.param_groups for p in group["params"] if p.grad is not None]
        norms.append(float(torch.stack(gradients).norm()))
        return step(self, *arguments, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    monkeypatch.setattr(loop, "score", lambda *_: (0.5, ()))
    setting.run(setting.model(), dataclasses.replace(SHORT, clip=0.01))
    assert max(norms) == pytest.approx(0.01, rel=1e-3)
    norms.clear()
    setting.run(setting.model(), dataclasses.replace(SHORT, clip=1e6))
    assert max(norms) > 0.1
