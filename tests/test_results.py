"""Result types: to JSON and back, what a figure may be, and files that are never half written."""

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.results import (
    ArmResult,
    Contrast,
    CurvePoint,
    Estimate,
    Figure,
    Gate,
    Measurement,
    Parity,
    SeedResult,
    StageCost,
    VariantResult,
    from_json,
    to_json,
    write_aside,
)

ESTIMATE = Estimate(0.8, 0.75, 0.85, "bootstrap")
SEED = SeedResult(3, 0.9, 0.8, 20, 40, 1.5, (CurvePoint(20, 0.3, 0.9), CurvePoint(40, 0.2, 0.85)))
ARM = ArmResult("soft", "ünlike “hard”", 10, 5, (), 1e-3, (SEED, SEED), ESTIMATE, None, 0.9, None, {"macro_f1": 0.7})


def _figure(value: float | None = 1.0, how: Any = "measured", unit: str = "ms") -> Figure:
    return Figure(value, unit, how, "clock")


MEASUREMENT = Measurement(
    1, "onnxruntime", *(_figure(float(i)) for i in range(9)), _figure(None, "unavailable"), ("avx2", "vnni"), None
)
VARIANT = VariantResult(
    "student",
    "int8",
    False,
    Parity(True, 1e-6, 1e-4, 9, True, ""),
    Gate(False, ESTIMATE, 1.0, 0.97, "lost 2 points"),
    None,
    MEASUREMENT,
    1234,
)


@pytest.mark.parametrize(
    "result", [ESTIMATE, SEED, ARM, MEASUREMENT, VARIANT, StageCost("teacher", 3.0, _figure(), True)]
)
def test_json_reads_back_to_an_equal_result(result: Any) -> None:
    text = to_json(result)
    assert from_json(type(result), text) == result
    assert text.endswith("\n")


def test_json_is_what_the_standard_library_reads_with_the_fields_as_keys() -> None:
    data = json.loads(to_json(ARM))
    assert list(data) == [field.name for field in dataclasses.fields(ArmResult)]
    assert data["differs_in"] == "ünlike “hard”"
    assert data["seeds"][0]["curve"][1] == {"step": 40, "train_loss": 0.2, "validation": 0.85}


def test_nan_and_infinities_are_null_and_read_back_as_nan() -> None:
    text = to_json(Estimate(math.nan, -math.inf, math.inf, "none"))
    assert json.loads(text) == {"value": None, "low": None, "high": None, "method": "none"}
    again = from_json(Estimate, text)
    assert all(math.isnan(x) for x in (again.value, again.low, again.high))
    assert from_json(ArmResult, to_json(dataclasses.replace(ARM, agreement=math.nan))).agreement is None


def test_numpy_scalars_are_written_as_plain_numbers() -> None:
    text = to_json(Estimate(np.float32(0.5), np.float64("nan"), np.int64(1), "x"))  # type: ignore[arg-type]
    assert json.loads(text) == {"value": 0.5, "low": None, "high": 1, "method": "x"}


def _edited(result: Any, **changes: Any) -> str:
    return json.dumps({**json.loads(to_json(result)), **changes})


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (Estimate, "[]", "Estimate: expected an object"),
        (Estimate, _edited(ESTIMATE, hgih=1), r"unknown keys \['hgih'\]"),
        (Estimate, '{"value": 1}', r"missing keys \['low', 'high', 'method'\]"),
        (Estimate, _edited(ESTIMATE, method=3), r"Estimate\.method: expected str, got 3"),
        (Estimate, _edited(ESTIMATE, value="many"), "many"),
        (SeedResult, _edited(SEED, seed=1.5), r"SeedResult\.seed: expected int, got 1\.5"),
        (SeedResult, _edited(SEED, curve=[{"step": 1}]), r"SeedResult\.curve\[0\]: missing keys"),
        (Figure, _edited(_figure(), how="guessed"), r"Figure\.how: 'guessed' is none of"),
        (Figure, _edited(_figure(), value=None), "None exactly when unavailable"),
        (Estimate, "{", "Expecting"),
    ],
)
def test_json_that_does_not_fit_is_a_value_error_that_names_the_place(kind: Any, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json(kind, text)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ArmResult, _edited(ARM, metrics=[])),
        (ArmResult, _edited(ARM, seeds=3)),
        (ArmResult, _edited(ARM, seeds=None)),
        (Estimate, _edited(ESTIMATE, value=[])),
    ],
    ids=["list for a mapping", "number for a list", "null for a list", "list for a number"],
)
def test_json_of_the_wrong_shape_is_a_value_error_too(kind: Any, text: str) -> None:
    with pytest.raises(ValueError, match=kind.__name__):
        from_json(kind, text)


@pytest.mark.parametrize("how", ["measured", "estimated"])
def test_a_figure_without_a_value_is_unavailable_and_nothing_else(how: Any) -> None:
    with pytest.raises(ValueError, match="None exactly when unavailable"):
        _figure(None, how)
    with pytest.raises(ValueError, match="None exactly when unavailable"):
        _figure(0.0, "unavailable")
    assert _figure(None, "unavailable").value is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_figure_is_finite(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        _figure(value)


def test_a_ratio_is_of_two_figures_obtained_alike() -> None:
    assert _figure(6.0).ratio_to(_figure(4.0)) == 1.5
    assert _figure(6.0, "estimated").ratio_to(_figure(4.0, "estimated")) == 1.5
    for one, other, message in (
        (_figure(), _figure(1.0, "estimated"), "measured to one that is estimated"),
        (_figure(1.0, "estimated"), _figure(), "estimated to one that is measured"),
        (_figure(None, "unavailable"), _figure(), "unavailable"),
        (_figure(), _figure(None, "unavailable"), "unavailable"),
        (_figure(None, "unavailable"), _figure(None, "unavailable"), "unavailable"),
        (_figure(unit="ms"), _figure(unit="J"), "no ratio of ms to J"),
    ):
        with pytest.raises(ValueError, match=message):
            one.ratio_to(other)


def test_results_cannot_be_changed() -> None:
    contrast = Contrast("soft", "hard", True, ESTIMATE, 0.2, "McNemar", "no difference shown")
    with pytest.raises(dataclasses.FrozenInstanceError):
        contrast.verdict = "better"  # type: ignore[misc]


@pytest.mark.parametrize("data", ["ünïcode\n", b"\x00\xff"])
def test_a_file_is_written_whole_into_a_folder_that_need_not_exist(tmp_path: Path, data: str | bytes) -> None:
    path = tmp_path / "new" / "folder" / "file"
    write_aside(path, data)
    assert path.read_bytes() == (data.encode("utf-8") if isinstance(data, str) else data)
    write_aside(path, "again")
    assert path.read_text() == "again"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_aside(path, "old")

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_aside(path, b"new content")
    with pytest.raises(UnicodeEncodeError):
        write_aside(path, "half \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_rename_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_aside(path, "old")

    def fails(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="Input/output"):
        write_aside(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
