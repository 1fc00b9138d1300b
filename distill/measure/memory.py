"""Resident memory of this process, from the kernel's own accounts, and what a model takes on the disk."""

import re
import sys
from pathlib import Path

from distill.results import Figure

STATUS = Path("/proc/self/status")


def resident_set(status: Path = STATUS) -> Figure:
    """MB (1e6 bytes) of memory this process holds now; unavailable where the system has no ``/proc``."""
    return _from_status(status, "VmRSS") or Figure(None, "MB", "unavailable", f"no VmRSS in {status}")


def peak_resident_set(status: Path = STATUS) -> Figure:
    """MB (1e6 bytes): the most memory this process has held since it started."""
    return (
        _from_status(status, "VmHWM") or _from_getrusage() or Figure(None, "MB", "unavailable", f"no VmHWM in {status}")
    )


def file_size(*models: Path) -> Figure:
    """MB (1e6 bytes) of ONNX files with the external data beside them (``model.onnx.data``, ``model.onnx_data`` …)."""
    files = []
    for model in models:
        external = re.compile(rf"({re.escape(model.name)}|{re.escape(model.stem)})[._]data(_\d+)?")
        files += [model, *(path for path in sorted(model.parent.iterdir()) if external.fullmatch(path.name))]
    names = " + ".join(path.name for path in files)
    return Figure(sum(path.stat().st_size for path in files) / 1e6, "MB", "measured", f"bytes of {names}")


def _from_status(status: Path, key: str) -> Figure | None:
    try:
        found = re.search(rf"^{key}:\s*(\d+) kB$", status.read_text(), re.MULTILINE)
    except OSError:
        return None
    return Figure(int(found[1]) * 1024 / 1e6, "MB", "measured", f"{key} of {status}") if found else None


def _from_getrusage() -> Figure | None:
    # On Linux ru_maxrss outlives exec: a worker would report what its parent held.
    if sys.platform in ("linux", "win32"):
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on other systems
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Figure(peak * unit / 1e6, "MB", "measured", "ru_maxrss of getrusage")
