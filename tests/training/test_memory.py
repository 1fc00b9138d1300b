"""Memory that does not suffice: smaller pieces with the same result, or a message."""

import dataclasses
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import SOFT, Setting, largest_difference, make_setting, weights

from distill.config import TrainConfig
from distill.errors import UserError
from distill.training import Answers, Rows, State, forward_on, loop, predict, state
from distill.training.memory import is_out_of_memory

SHORT = TrainConfig(steps=9, evaluations=3, batch_size=16)
ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError(),
]


@pytest.fixture(scope="module", autouse=True)
def few_objects_to_look_through() -> Iterator[None]:
    """A collection, which follows each attempt in vain, takes half a second over all that the libraries hold."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module", params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["text", "words"])
def setting(request: pytest.FixtureRequest) -> Setting:
    return make_setting(words=request.param)


def with_little_memory(model: Any, tokens: int, error: Exception) -> Any:
    """The model, which raises where a forward pass has more tokens."""

    def refuse(module: Any, given: Any, named: dict[str, Any]) -> None:
        if named["input_ids"].numel() > tokens:
            raise error

    model.register_forward_pre_hook(refuse, with_kwargs=True)
    return model


@pytest.mark.parametrize("error", [ERRORS[0], ERRORS[1]], ids=["GPU", "CPU"])
def test_a_step_that_does_not_fit_is_taken_in_smaller_passes(
    setting: Setting, error: Exception, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = setting.store(tmp_path)
    plenty, little = setting.model(dropout=0.0), setting.model(dropout=0.0)
    expected = setting.run(plenty, SHORT, terms=SOFT, store=store, rate=1e-3)
    capsys.readouterr()
    found = setting.run(with_little_memory(little, 60, error), SHORT, terms=SOFT, store=store, rate=1e-3)
    told = capsys.readouterr().err
    assert largest_difference(weights(plenty), weights(little)) < 1e-5
    assert found.steps == expected.steps == 9
    assert [p.train_loss for p in found.curve] == pytest.approx([p.train_loss for p in expected.curve], rel=1e-5)
    assert 1 <= told.count("out of memory: forward passes take at most") <= 3


def test_later_steps_are_made_for_the_room_there_is(setting: Setting) -> None:
    sizes: list[int] = []
    model = with_little_memory(setting.model(), 60, ERRORS[0])
    model.register_forward_hook(
        lambda m, a, k, out: sizes.append(k["input_ids"].numel()) if m.training else None, with_kwargs=True
    )
    tried: list[int] = []
    model.register_forward_pre_hook(
        lambda m, a, k: tried.append(1) if m.training else None, with_kwargs=True, prepend=True
    )
    setting.run(model, TrainConfig(steps=30, evaluations=1, batch_size=16))
    assert max(sizes) <= 60
    assert len(tried) - len(sizes) <= 3  # what was tried in vain


def test_a_text_that_does_not_fit_alone_is_told(setting: Setting) -> None:
    with pytest.raises(UserError, match=r"out of memory with one text of \d+ tokens in a forward pass; lower data"):
        setting.run(with_little_memory(setting.model(), 2, ERRORS[0]), SHORT)
    with pytest.raises(UserError, match=r"out of memory with one row of \d+ tokens; lower data"):
        predict(
            with_little_memory(setting.model(), 2, ERRORS[1]),
            setting.encoder,
            setting.task,
            setting.texts,
            setting.machine,
        )


def test_other_errors_are_not_taken_for_want_of_memory(setting: Setting) -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        setting.run(with_little_memory(setting.model(), 2, RuntimeError("shapes differ")), SHORT)
    assert not is_out_of_memory(ValueError("out of memory"))
    assert all(map(is_out_of_memory, ERRORS))


def test_answers_are_the_same_with_little_memory(setting: Setting) -> None:
    ask_of = (setting.encoder, setting.task, setting.texts, setting.machine)
    expected = predict(setting.model(), *ask_of)
    found = predict(with_little_memory(setting.model(), 40, ERRORS[2]), *ask_of)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_training_that_was_stopped_goes_on_with_the_room_it_had(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(steps=9, evaluations=3, batch_size=16, checkpoint_seconds=-1)

    def model() -> Any:
        return with_little_memory(setting.model(), 60, ERRORS[0])

    whole = model()
    setting.run(whole, config)
    save = State.save

    def save_and_die(kept: State, parts: Any) -> None:
        save(kept, parts)
        if kept.step == 4:
            raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(State, "save", save_and_die)
        with pytest.raises(InterruptedError):
            setting.run(model(), config, directory=tmp_path)
    on = model()
    setting.run(on, config, directory=tmp_path)
    assert largest_difference(weights(whole), weights(on)) == 0


def test_a_labelling_that_was_stopped_goes_on_where_it_was(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "TOKENS", 60)
    monkeypatch.setattr(state, "ANSWERS_SECONDS", -1)
    model = setting.model()
    forward = forward_on(setting.machine, model)
    asked = (setting.encoder, setting.task, setting.texts, setting.machine)
    batches: list[int] = []

    def counted(arrays: Any) -> Any:
        if len(batches) == 5:
            raise InterruptedError
        batches.append(1)
        return forward(arrays)

    expected = loop.ask(forward, *asked)
    with pytest.raises(InterruptedError):
        loop.ask(Answers(counted, tmp_path), *asked)
    (tmp_path / "new.npz").write_bytes(b"half of a file")
    more: list[int] = []
    found = loop.ask(Answers(lambda arrays: (more.append(1), forward(arrays))[1], tmp_path), *asked)
    every: list[int] = []
    loop.ask(lambda arrays: (every.append(1), forward(arrays))[1], *asked)
    assert len(more) == len(every) - 5 > 0
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_answers_that_are_no_numbers_end_a_training_with_the_settings_that_mend_it(
    setting: Setting, value: float
) -> None:
    model = setting.model()

    def spoil(module: Any, given: Any, output: Any) -> Any:
        if not module.training:
            output.logits = output.logits * value
        return output

    model.register_forward_hook(spoil)
    with pytest.raises(UserError) as caught:
        setting.run(model, SHORT)
    told = str(caught.value)
    assert f"{setting.task.metric.title} on validation is nan at step 3 of 9 with learning rate 0.005" in told
    assert "lower train.learning_rates, or lower train.clip" in told


def test_words_without_a_piece_are_no_reason_to_stop() -> None:
    setting = make_setting(words=True)
    blank = [dataclasses.replace(e, text=("", *e.text[1:])) for e in setting.validation]
    rows = Rows.read(setting.task, setting.encoder, blank)
    model = setting.model()
    units = predict(model, rows.reading, rows.task, rows.encoded, setting.machine)
    assert all(np.isnan(unit[0]).all() for unit in units)
    assert 0 <= loop.score(model, rows, setting.machine)[0] <= 1
