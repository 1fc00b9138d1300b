"""Device, precision and threads: what is found, and why."""

from pathlib import Path
from typing import Any

import pytest
import torch

from distill.errors import UserError
from distill.training import devices, find_machine

AVX2 = "flags\t\t: fpu sse4_2 avx2 fma\n"
ZEN4 = "flags\t\t: fpu avx2 avx512f avx512_bf16 avx512_vnni\n"
SAPPHIRE = "flags\t\t: fpu avx2 avx512f amx_bf16 amx_tile\n"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Whether torch sees a GPU, and whether that has bf16."""
    monkeypatch.setattr(devices, "NVIDIA_DEVICES", (str(tmp_path),))

    def set_to(there: bool, bf16: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)

    return set_to


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def set_to(info: str) -> None:
        (tmp_path / "cpuinfo").write_text(info)
        monkeypatch.setattr(devices, "CPU_INFO", tmp_path / "cpuinfo")

    return set_to


def test_a_gpu_that_is_not_there_is_told_before_anything_starts(gpu: Any, processor: Any) -> None:
    gpu(False)
    processor(AVX2)
    with pytest.raises(UserError, match="leave device=auto"):
        find_machine("cuda")
    found = find_machine("auto")
    assert (found.device, found.precision) == ("cpu", "fp32")
    assert found.why == "fp32: this processor has neither avx512_bf16 nor AMX"
    asked = find_machine("cpu", "bf16")
    assert (asked.device, asked.precision, asked.why) == ("cpu", "bf16", "bf16: as asked for")


def test_bf16_is_taken_on_a_gpu_that_has_it(gpu: Any, processor: Any) -> None:
    processor(AVX2)
    for has, expected in ((True, "bf16"), (False, "fp32")):
        gpu(True, has)
        found = find_machine("auto")
        assert (found.device, found.precision) == ("cuda", expected)
        assert found.why.startswith(expected)
    assert (find_machine("cpu").device, find_machine("cpu").precision) == ("cpu", "fp32")
    assert (find_machine("auto", "fp32").device, find_machine("auto", "fp32").precision) == ("cuda", "fp32")


@pytest.mark.parametrize("info", [ZEN4, SAPPHIRE])
@pytest.mark.parametrize(
    ("fp32", "bf16", "precision", "why"),
    [
        ([1.6, 9.0, 1.6], [1.0, 1.0, 7.0], "bf16", "bf16: 1.6 times faster than fp32 in a probe of 3 steps"),
        ([1.0, 1.0, 1.0], [1.25, 1.25, 0.1], "fp32", "fp32: bf16 took 1.25 of its time in a probe of 3 steps"),
        ([1.05], [1.0], "fp32", "fp32: bf16 took 0.95 of its time in a probe of 1 step"),
    ],
)
def test_a_probe_decides_on_a_processor_with_bf16(
    processor: Any,
    monkeypatch: pytest.MonkeyPatch,
    info: str,
    fp32: list[float],
    bf16: list[float],
    precision: str,
    why: str,
) -> None:
    """By medians: a single slow step of either does not."""
    processor(info)
    threads: list[int] = []
    monkeypatch.setattr(devices, "probe", lambda own: (threads.append(own), (fp32, bf16))[1])
    found = find_machine("cpu", "auto", 1)
    assert (found.precision, found.why) == (precision, why)
    assert threads == [1]
    assert find_machine("cpu", "fp32", 1).precision == "fp32"
    assert threads == [1]  # what was asked for is not probed


def test_a_probe_is_remembered_for_this_processor_and_these_threads(
    processor: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A second probe could find otherwise, and everything would be trained anew."""
    kept, ratios = tmp_path / "outputs" / "precision.json", iter([1.5, 0.8, 1.2, 0.7])
    monkeypatch.setattr(devices, "probe", lambda own: ([next(ratios)], [1.0]))
    processor("model name\t: one\n" + ZEN4)
    assert [find_machine("cpu", "auto", 1, kept).precision for _ in range(2)] == ["bf16", "bf16"]
    assert find_machine("cpu", "auto", 1, kept).why == "bf16: 1.5 times faster than fp32 in a probe of 1 step"
    assert find_machine("cpu", "auto", 2, kept).precision == "fp32"
    processor("model name\t: another\n" + ZEN4)
    assert find_machine("cpu", "auto", 1, kept).precision == "bf16"
    kept.write_text("{")
    assert find_machine("cpu", "auto", 1, kept).precision == "fp32"


def test_without_bf16_nothing_is_probed(processor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    processor(AVX2)
    monkeypatch.setattr(devices, "probe", None)
    assert find_machine("cpu").precision == "fp32"


def test_a_probe_takes_both_precisions_in_turn_and_leaves_random_numbers_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    precisions: list[bool] = []
    layer = torch.nn.TransformerEncoder.forward

    def spy(self: Any, *arguments: Any, **named: Any) -> Any:
        precisions.append(torch.is_autocast_enabled("cpu"))
        return layer(self, *arguments, **named)

    monkeypatch.setattr(torch.nn.TransformerEncoder, "forward", spy)
    monkeypatch.setattr(devices, "PROBE_SECONDS", 0.0)
    before = torch.get_rng_state()
    fp32, bf16 = devices.probe(1)
    assert len(fp32) == len(bf16) == 1
    assert min(*fp32, *bf16) > 0
    assert precisions == [False, True, False, True]
    assert torch.equal(before, torch.get_rng_state())


def test_processes_on_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch, processor: Any) -> None:
    processor(AVX2)
    monkeypatch.setattr(devices, "usable_cores", lambda: 8)
    assert find_machine("cpu").threads == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert find_machine("cpu").threads == 2
    assert find_machine("cpu", threads=5).threads == 5
