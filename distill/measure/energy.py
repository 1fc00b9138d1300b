"""Energy of a stretch of work: from a counter where there is one, else an estimate that says so."""

import threading
import time
from pathlib import Path
from typing import Any, Literal, Protocol

from distill.results import Figure

POWERCAP = Path("/sys/class/powercap")

POLL_SECONDS = 30.0
"""A package's counter wraps around after 65 kJ on some processors: 30 s at 2 kW."""


class NoCounter(Exception):
    """A counter of energy is absent, cannot be read or does not move; the message says which."""


class Counter(Protocol):
    """A counter of energy."""

    method: str

    def joules(self) -> float:
        """J since the counter was opened. Raises NoCounter where it cannot be read."""


class Rapl:
    """Running Average Power Limit: the processor's own counters, through the kernel's powercap files.

    Domains called ``package`` are summed. Their subdomains (core, uncore) are part of them, ``psys`` contains them, and
    DRAM is a domain of its own: none of these is added. Counts wrap around at ``max_energy_range_uj``, so
    :meth:`joules` must be called more often than they do.

    Source: Linux, Documentation/power/powercap/powercap.rst.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        try:
            zones = {zone: (zone / "name").read_text().strip() for zone in sorted(root.glob("intel-rapl:*"))}
            self._range = {  # in µJ
                zone: int((zone / "max_energy_range_uj").read_text())
                for zone, name in zones.items()
                if name.startswith("package")
            }
        except (OSError, ValueError) as error:
            raise NoCounter(f"RAPL cannot be read: {error}") from error
        if not self._range:
            raise NoCounter(f"no RAPL: no package domain in {root}")
        self._last = {zone: self._read(zone) for zone in self._range}
        self._total = 0
        packages = ", ".join(zones[zone] for zone in self._range)
        self.method = f"RAPL, {packages}: the whole processor with all that ran on it, without DRAM and other devices"

    def joules(self) -> float:
        """J of all packages since the counter was opened."""
        for zone, last in self._last.items():
            now = self._read(zone)
            self._total += now - last + (self._range[zone] if now < last else 0)
            self._last[zone] = now
        return self._total / 1e6

    @staticmethod
    def _read(zone: Path) -> int:
        try:
            return int((zone / "energy_uj").read_text())
        except (OSError, ValueError) as error:  # since Linux 5.10 root alone may read it
            raise NoCounter(f"RAPL cannot be read: {error}") from error


class Nvml:
    """NVIDIA's counter of the GPU that torch works on: the whole device, whoever uses it.

    It moves about every 100 ms: measure for 5 s or more.
    """

    def __init__(self) -> None:
        try:
            import pynvml
        except ImportError as error:
            raise NoCounter("no NVML: nvidia-ml-py is not installed") from error
        self._nvml: Any = pynvml
        try:
            pynvml.nvmlInit()
            self._device = pynvml.nvmlDeviceGetHandleByUUID(current_gpu())
        except pynvml.NVMLError as error:
            raise NoCounter(f"NVML cannot be read: {error}") from error
        self._start = self._millijoules()
        self.method = (
            "NVML total energy: the whole GPU, without processor and memory; a counter that moves every 100 ms"
        )

    def joules(self) -> float:
        """J of the device since the counter was opened, with the work that torch has queued."""
        return (self._millijoules() - self._start) / 1e3

    def _millijoules(self) -> int:
        if threading.current_thread() is threading.main_thread():  # elsewhere torch would wait for the first GPU
            synchronize()
        try:
            return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._device))
        except self._nvml.NVMLError as error:  # before Volta there is no such counter
            raise NoCounter(f"NVML cannot be read: {error}") from error


def current_gpu() -> str:
    """NVML's name for torch's current device. Their indices differ: CUDA renumbers devices, and hides some."""
    import torch

    try:
        return f"GPU-{torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}"
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        raise NoCounter(f"torch has no CUDA device: {error}") from error


def synchronize() -> None:
    """Waits until the GPU has done what torch queued."""
    import torch

    torch.cuda.synchronize()


class EnergyMeter:
    """Time and energy of what runs inside the ``with`` block.

    On ``cpu`` RAPL where it can be read, else an estimate: CPU seconds of this process, user and system, times
    ``watts_per_core``; child processes are not in the estimate. On ``cuda`` NVML's counter of the device, without the
    processor's part; where there is none the figure is unavailable, since CPU seconds say nothing about a GPU.

    >>> with EnergyMeter("cpu", watts_per_core=10.0) as meter:
    ...     train()
    >>> meter.figure
    Figure(value=412.3, unit='J', how='estimated', method='41.23 CPU seconds of this process …')
    """

    seconds: float
    """Wall time. Set when the block ends, as ``figure`` is."""
    figure: Figure
    """J."""

    def __init__(self, device: Literal["cpu", "cuda"], watts_per_core: float, powercap: Path = POWERCAP) -> None:
        self._device = device
        self._watts_per_core = watts_per_core
        self._powercap = powercap
        self._counter: Counter | None = None
        self._reason = ""
        self._one_at_a_time = threading.Lock()

    def __enter__(self) -> "EnergyMeter":
        try:
            self._counter = Nvml() if self._device == "cuda" else Rapl(self._powercap)
        except NoCounter as error:
            self._reason = str(error)
        self._stop = threading.Event()
        self._poll = threading.Thread(target=self._keep_up, daemon=True)
        if self._device == "cpu" and self._counter is not None:
            self._poll.start()
        self._start, self._cpu_start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._poll.is_alive():
            self._poll.join()
        self.seconds, self.figure = self.so_far()

    def so_far(self) -> tuple[float, Figure]:
        """Wall time and energy since the block began; any thread may ask."""
        cpu_seconds = time.process_time() - self._cpu_start
        with self._one_at_a_time:
            joules = self._joules()
        seconds = time.perf_counter() - self._start
        if joules is not None and self._counter is not None:
            return seconds, Figure(joules, "J", "measured", f"{self._counter.method}; over {seconds:.1f} s")
        if self._device == "cuda":
            return seconds, Figure(None, "J", "unavailable", self._reason)
        method = (
            f"{cpu_seconds:.2f} CPU seconds of this process (user and system, child processes not included) "
            f"x {self._watts_per_core:g} W a core; {self._reason}"
        )
        return seconds, Figure(cpu_seconds * self._watts_per_core, "J", "estimated", method)

    def _keep_up(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            with self._one_at_a_time:
                if self._joules() is None:
                    return

    def _joules(self) -> float | None:
        if self._counter is None or self._reason:
            return None
        try:
            joules = self._counter.joules()
        except NoCounter as error:
            self._reason = str(error)
            return None
        if self._stop.is_set() and joules <= 0:
            self._reason = "the counter of energy did not move"
            return None
        return joules
