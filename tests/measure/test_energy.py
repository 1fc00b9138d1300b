import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from distill.measure import EnergyMeter, energy
from distill.measure.energy import Rapl


def zone(root: Path, zone: str, name: str, microjoules: int, largest: int = 10_000_000) -> Path:
    folder = root / zone
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text(f"{largest}\n")
    return folder / "energy_uj"


@pytest.fixture
def domains(tmp_path: Path) -> dict[str, Path]:
    """Two packages with subdomains, DRAM, and a platform domain that contains everything."""
    return {
        name: zone(tmp_path, where, name, 1_000_000)
        for where, name in [
            ("intel-rapl:0", "package-0"),
            ("intel-rapl:0:0", "core"),
            ("intel-rapl:0:1", "dram"),
            ("intel-rapl:1", "package-1"),
            ("intel-rapl:2", "psys"),
            ("intel-rapl-mmio:0", "package-0-again"),
        ]
    }


def test_rapl_adds_packages_and_nothing_they_contain(tmp_path: Path, domains: dict[str, Path]) -> None:
    with EnergyMeter("cpu", 10.0, tmp_path) as meter:
        for joules, path in enumerate(domains.values(), start=1):
            path.write_text(f"{1_000_000 + joules * 1_000_000}\n")
    assert meter.figure.how == "measured"
    assert meter.figure.unit == "J"
    assert meter.figure.value == pytest.approx(1 + 4)
    assert "package-0, package-1:" in meter.figure.method


def test_rapl_counts_through_each_wrap_around(tmp_path: Path) -> None:
    counter_file = zone(tmp_path, "intel-rapl:0", "package-0", 9_000_000)
    counter = Rapl(tmp_path)
    counter_file.write_text("2000000")
    assert counter.joules() == pytest.approx(3.0)
    counter_file.write_text("1000000")
    assert counter.joules() == pytest.approx(12.0)
    assert counter.joules() == pytest.approx(12.0)


def test_a_long_block_is_polled_between_its_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter_file = zone(tmp_path, "intel-rapl:0", "package-0", 9_000_000)
    wrapped, real = threading.Event(), Rapl._read

    def read(zone: Path) -> int:
        if (microjoules := real(zone)) == 2_000_000:
            wrapped.set()
        return microjoules

    def write(microjoules: int) -> None:  # in one piece: the poll never reads a half-written file
        (tmp_path / "new").write_text(str(microjoules))
        (tmp_path / "new").replace(counter_file)

    monkeypatch.setattr(Rapl, "_read", staticmethod(read))
    monkeypatch.setattr(energy, "POLL_SECONDS", 0.001)
    with EnergyMeter("cpu", 10.0, tmp_path) as meter:
        write(2_000_000)
        assert wrapped.wait(10)
        write(9_500_000)
    assert meter.figure.value == pytest.approx(10.5)  # 0.5 where the ends alone are read


@pytest.mark.parametrize("case", ["absent", "denied", "still", "vanishes"])
def test_without_a_working_counter_the_cpu_figure_is_an_estimate(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case != "absent":
        counter_file = zone(tmp_path, "intel-rapl:0", "package-0", 5)
    if case == "denied":
        real = Path.read_text

        def read_text(self: Path, *args: object, **kwargs: object) -> str:
            if self.name == "energy_uj":  # chmod would not stop a test that runs as root
                raise PermissionError(13, "Permission denied", str(self))
            return real(self)

        monkeypatch.setattr(Path, "read_text", read_text)
    clock = iter([2.0, 5.0])
    monkeypatch.setattr(time, "process_time", lambda: next(clock))
    with EnergyMeter("cpu", 12.5, tmp_path) as meter:
        if case == "vanishes":
            counter_file.unlink()
    assert meter.figure.how == "estimated"
    assert meter.figure.value == pytest.approx(3.0 * 12.5)
    assert "3.00 CPU seconds" in meter.figure.method
    assert "x 12.5 W a core" in meter.figure.method
    reason = {
        "absent": "no package",
        "denied": "Permission denied",
        "still": "did not move",
        "vanishes": "No such file",
    }
    assert reason[case] in meter.figure.method


def test_seconds_are_wall_time_of_the_block(tmp_path: Path) -> None:
    start = time.perf_counter()
    with EnergyMeter("cpu", 10.0, tmp_path) as meter:
        time.sleep(0.01)
    assert 0.01 <= meter.seconds <= time.perf_counter() - start


def test_a_block_that_raises_is_still_accounted_for(tmp_path: Path) -> None:
    meter = EnergyMeter("cpu", 10.0, tmp_path)
    with pytest.raises(ZeroDivisionError), meter:
        _ = 1 / 0
    assert meter.figure.how == "estimated"


class FakeNvmlError(Exception):
    pass


def fake_nvml(monkeypatch: pytest.MonkeyPatch, readings: list[int | Exception]) -> list[str]:
    """A pynvml that counts in mJ; returns the device names it was asked for."""
    asked: list[str] = []

    def total_energy(_: object) -> int:
        reading = readings.pop(0)
        if isinstance(reading, Exception):
            raise reading
        return reading

    module = SimpleNamespace(
        NVMLError=FakeNvmlError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: asked.append(uuid),
        nvmlDeviceGetTotalEnergyConsumption=total_energy,
    )
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.setattr(energy, "current_gpu", lambda: "GPU-1234")
    monkeypatch.setattr(energy, "synchronize", lambda: None)
    return asked


def test_nvml_millijoules_of_the_current_gpu_alone(
    tmp_path: Path, domains: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = fake_nvml(monkeypatch, [7_000, 19_500])
    with EnergyMeter("cuda", 10.0, tmp_path) as meter:
        domains["package-0"].write_text("9000000")
    assert asked == ["GPU-1234"]
    assert meter.figure.how == "measured"
    assert meter.figure.value == pytest.approx(12.5)
    assert "without processor" in meter.figure.method


@pytest.mark.parametrize("readings", [[FakeNvmlError("Not Supported")], [5, FakeNvmlError("GPU is lost")], [5, 5]])
def test_cuda_without_a_working_counter_is_unavailable(
    readings: list[int | Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_nvml(monkeypatch, readings)
    with EnergyMeter("cuda", 10.0, tmp_path) as meter:
        pass
    assert meter.figure.how == "unavailable"
    assert meter.figure.value is None
    assert meter.figure.method


def test_cuda_without_nvml_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with EnergyMeter("cuda", 10.0, tmp_path) as meter:
        pass
    assert meter.figure.how == "unavailable"
    assert "nvidia-ml-py" in meter.figure.method
