import dataclasses
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from distill.errors import UserError
from distill.measure import Specification, launch, measure, not_measured
from distill.measure.worker import (
    Batch,
    batches_by_length,
    durations,
    file_size,
    latency,
    measurement,
    padded,
    row_of_length,
    run_of,
    within_budget,
)
from distill.results import Figure, Measurement, from_json, to_json

FORBIDDEN = ("torch", "transformers", "hydra", "rich", "onnx")


class FakeClock:
    """Each run takes as many seconds as its item says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def run(self, seconds: float) -> None:
        self.now += seconds


def test_durations_are_of_whole_passes() -> None:
    clock = FakeClock()
    assert durations(clock.run, [1.0, 2.0, 4.0], 8.0, clock) == [1.0, 2.0, 4.0, 1.0, 2.0, 4.0]
    assert durations(clock.run, [1.0, 2.0, 4.0], 0.5, clock) == [1.0, 2.0, 4.0]


def test_percentiles_in_milliseconds() -> None:
    taken = [i / 1000 for i in range(1, 102)]  # 1 to 101 ms: rank 50 and rank 95 counted from 0
    p50, p95 = latency(taken, "runs")
    assert p50.value == pytest.approx(51)
    assert p95.value == pytest.approx(96)
    assert p50.unit == p95.unit == "ms"
    assert "101 runs" in p50.method


def test_batches_hold_every_text_once_in_order_of_length(specification: Specification) -> None:
    batches = batches_by_length(specification)
    assert [len(b["input_ids"]) for b in batches] == [32, 8]
    lengths = np.concatenate([b["attention_mask"].sum(axis=1) for b in batches])
    assert lengths.tolist() == sorted(map(len, specification.token_ids))
    assert all(b["input_ids"].shape[1] == b["attention_mask"].sum(axis=1).max() for b in batches)


def test_second_texts_of_pairs_are_marked_with_their_own_text(specification: Specification) -> None:
    lengths = [len(ids) for ids in specification.token_ids]
    seconds = tuple(length // 2 for length in lengths)
    batches = batches_by_length(dataclasses.replace(specification, second_lengths=seconds))
    for batch in batches:
        for types, mask in zip(batch["token_type_ids"], batch["attention_mask"], strict=True):
            length = mask.sum()
            assert types.tolist() == [0] * (length - length // 2) + [1] * (length // 2) + [0] * (len(mask) - length)
    assert all((b["token_type_ids"] == 0).all() for b in batches_by_length(specification))


def test_every_figure_of_pairs_is_of_marked_pairs(
    specification: Specification, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int, int]] = []

    def run(batch: Batch) -> None:
        types, mask = batch["token_type_ids"], batch["attention_mask"]
        seen.append((len(types), int(mask.sum()), int(types.sum())))

    monkeypatch.setattr("distill.measure.worker.run_of", lambda *_: run)
    seconds = tuple(len(ids) // 2 for ids in specification.token_ids)
    measurement(dataclasses.replace(specification, second_lengths=seconds, seconds=0.001))
    assert {size for size, _, _ in seen} == {1, 32, 8}
    assert all(0 <= tokens - 2 * second <= size for size, tokens, second in seen if tokens < specification.max_length)
    assert any(tokens == specification.max_length and 0 < second < tokens for _, tokens, second in seen)


def test_row_of_length_repeats_real_ids() -> None:
    assert row_of_length([[5, 6], [7]], 7) == [5, 6, 7, 5, 6, 7, 5]
    assert row_of_length([[5, 6, 7, 8]], 2) == [5, 6]


def test_run_feeds_ids_and_mask(specification: Specification) -> None:
    run: Callable[[Batch], Any] = run_of(specification)
    both = run(padded([[1, 2], [1, 2, 3]], pad_id=49))[0]
    alone = run(padded([[1, 2]], pad_id=0))[0]
    np.testing.assert_allclose(both[0], alone[0], rtol=1e-6)


@pytest.mark.parametrize("memory_only", [False, True])
def test_session_options(specification: Specification, memory_only: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = onnxruntime.InferenceSession

    def session(path: str, options: onnxruntime.SessionOptions, **settings: Any) -> onnxruntime.InferenceSession:
        seen.append(options)
        return real(path, options, **settings)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    run_of(dataclasses.replace(specification, threads=2, memory_only=memory_only))
    assert seen[0].enable_cpu_mem_arena is not memory_only
    assert (seen[0].intra_op_num_threads, seen[0].inter_op_num_threads) == (2, 1)
    assert seen[0].get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_file_size_counts_external_data_and_no_other_file(tmp_path: Path) -> None:
    sizes = {"model.onnx": 1000, "model.onnx.data": 20_000, "model.onnx_data_1": 300_000, "model_int8.onnx": 7}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(b"0" * size)
    assert file_size(tmp_path / "model.onnx").value == pytest.approx(0.321)
    assert file_size(tmp_path / "model_int8.onnx").value == pytest.approx(7e-6)


def test_measure_fills_every_figure(specification: Specification) -> None:
    result = measure(specification)
    figures = {f.name: getattr(result, f.name) for f in dataclasses.fields(Measurement)}
    for name, figure in figures.items():
        if isinstance(figure, Figure):
            assert figure.how == "unavailable" or (figure.value or 0) > 0, name
            assert figure.method, name
    assert result.file_size.value == pytest.approx(Path(specification.model).stat().st_size / 1e6)
    assert result.threads == 1
    assert "40 texts" in result.latency_p50.method
    assert "24 tokens (the model's maximum, below 128)" in result.latency_128_p50.method
    assert result.energy.unit == "J per 1,000 texts"
    if result.energy.how == "estimated":
        assert "12 W a core" in result.energy.method
    if sys.platform == "linux":
        assert (result.memory_peak.value or 0) >= (result.memory_before_load.value or 0)
        assert result.memory_peak_no_arena is not None
        assert "arena off" in result.memory_peak_no_arena.method
    assert from_json(Measurement, to_json(result)) == result


def test_worker_prints_one_line_and_imports_no_torch(specification: Specification, tmp_path: Path) -> None:
    path = tmp_path / "specification.json"
    path.write_text(to_json(specification))
    code = (
        "import sys; from distill.measure import worker; status = worker.main(sys.argv[1:]);"
        f"print([m for m in {FORBIDDEN} if m in sys.modules], file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert len(done.stdout.splitlines()) == 1
    assert json.loads(done.stdout)["threads"] == 1


def test_specification_survives_json(specification: Specification) -> None:
    assert from_json(Specification, to_json(specification)) == specification


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token_ids": ()}, "no texts"),
        ({"token_ids": ((1,), ())}, "no tokens"),
        ({"second_lengths": (1,)}, "1 lengths of second texts are given for 40 texts"),
        ({"inputs": ("attention_mask",)}, "input_ids"),
        ({"inputs": ("input_ids", "pixels")}, "pixels"),
        ({"max_length": 2}, "truncate"),
        ({"threads": 0}, "measure.threads is 0"),
        ({"seconds": 0.0}, "measure.seconds"),
        ({"watts_per_core": -1.0}, "measure.watts_per_core"),
    ],
)
def test_specification_that_cannot_be_measured(
    specification: Specification, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        dataclasses.replace(specification, **changes)  # type: ignore[arg-type]


def test_missing_file_is_told_before_a_process_starts(specification: Specification) -> None:
    with pytest.raises(UserError, match=r"no file .*nothing\.onnx"):
        measure(dataclasses.replace(specification, model="nothing.onnx"))


def test_a_file_that_is_no_model_gives_what_the_worker_said(specification: Specification) -> None:
    Path(specification.model).write_bytes(b"not a model")
    with pytest.raises(UserError, match=r"status 1\): onnxruntime cannot load .*model\.onnx") as caught:
        measure(specification)
    assert "Traceback" not in str(caught.value)


def test_ids_beyond_the_vocabulary_give_what_the_runtime_said(specification: Specification) -> None:
    with pytest.raises(UserError, match="fails on a batch of 1 x 2 ids") as caught:
        measure(dataclasses.replace(specification, token_ids=((1, 5000),)))
    assert "Traceback" not in str(caught.value)


def test_inputs_that_differ_from_the_graph(specification: Specification) -> None:
    with pytest.raises(UserError, match=r"takes \['attention_mask', 'input_ids'\], the specification says"):
        measure(dataclasses.replace(specification, inputs=("input_ids", "token_type_ids")))


def test_a_worker_that_takes_too_long(specification: Specification) -> None:
    with pytest.raises(UserError, match="took more than"):
        measure(dataclasses.replace(specification, budget=0.01))


def test_work_is_cut_to_the_budget(specification: Specification, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run takes 2 ms a token, so that all texts would take some 4 s."""
    sizes: list[int] = []

    def run(batch: Batch) -> None:
        sizes.append(len(batch["input_ids"]))
        time.sleep(0.002 * batch["input_ids"].size)

    monkeypatch.setattr("distill.measure.worker.run_of", lambda *_: run)
    short = dataclasses.replace(specification, budget=1.5, second_lengths=(1,) * 40)
    start = time.monotonic()
    found = measurement(short)
    assert time.monotonic() - start < 1.5
    assert re.search(r"over \d texts of .*, evenly spaced by length among 40, as all would", found.latency_p50.method)
    assert 1 < max(sizes) < 10
    whole = within_budget(dataclasses.replace(short, budget=60.0), run)
    assert whole == dataclasses.replace(short, budget=60.0)


def test_texts_that_stand_for_all_are_of_their_lengths(specification: Specification) -> None:
    lengths = sorted(len(ids) for ids in specification.token_ids)
    for budget in (0.8, 1.5):
        found = within_budget(
            dataclasses.replace(specification, budget=budget), lambda batch: time.sleep(0.002 * batch["input_ids"].size)
        )
        kept = [len(ids) for ids in found.token_ids]
        assert 0 < len(kept) < 40
        assert abs(np.mean(kept) - np.mean(lengths)) < 3


def test_memory_alone_may_be_missing(specification: Specification, monkeypatch: pytest.MonkeyPatch) -> None:
    work = launch._work

    def fails_the_second_time(given: Specification) -> str:
        if given.memory_only:
            raise UserError("no memory left")
        return work(given)

    monkeypatch.setattr(launch, "_work", fails_the_second_time)
    found = measure(specification)
    assert found.memory_peak_no_arena == Figure(None, "MB", "unavailable", "no memory left")
    assert found.latency_p50.how == "measured"


def test_a_model_that_was_not_measured_has_its_size(specification: Specification) -> None:
    found = not_measured([Path(specification.model)], 1, "it took too long")
    figures = [value for name, value in vars(found).items() if isinstance(value, Figure) and name != "file_size"]
    assert {(figure.value, figure.how, figure.method) for figure in figures} == {
        (None, "unavailable", "it took too long")
    }
    assert from_json(Measurement, to_json(found)) == found
    measured = measure(specification)
    assert found.file_size == measured.file_size
    assert found.runtime == measured.runtime
    for name, value in vars(found).items():
        if isinstance(value, Figure):
            assert value.unit == getattr(measured, name).unit, name
