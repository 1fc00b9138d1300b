"""The machine and the versions that figures hold for."""

import importlib.metadata
import os
import platform
import re
import sys
from pathlib import Path

from distill.runtime.graphs import usable_cores

CPUINFO = Path("/proc/cpuinfo")

INT8_FLAGS = (
    *("avx2", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "avx_vnni_int8", "avx10_1", "amx_tile", "amx_int8"),
    *("asimd", "asimddp", "i8mm", "sve", "sve2", "svei8mm", "sme"),
)
"""Which int8 kernels onnxruntime may choose, on x86 and on ARM. Their sums differ, and so may answers."""

LIBRARIES = (
    *("numpy", "onnxruntime", "tokenizers", "torch", "transformers", "accelerate", "datasets"),
    *("onnx", "onnxscript", "scikit-learn", "safetensors", "pyarrow"),
)


def machine() -> dict[str, str]:
    """Processor, cores, int8 flags, memory, GPU (where there is one) and system, each in words."""
    found = {
        "processor": processor_name(),
        "cores usable": str(usable_cores()),
        "int8 flags": " ".join(int8_flags()) or "unknown",
        "memory": _memory(),
        "architecture": platform.machine(),
        "system": platform.platform(),
    }
    gpus = _gpus()
    return found | {"GPU": ", ".join(gpus)} if gpus else found


def versions() -> dict[str, str]:
    """Versions of distill, Python and the libraries that are installed, none of which is imported for it."""
    from distill.version import __version__

    found = {"distill": __version__, "python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def processor_name(cpuinfo: Path = CPUINFO) -> str:
    """The processor's model; where the system does not say, its architecture."""
    for key in ("model name", "Model", "Hardware"):  # the last two on ARM boards
        if name := _field(cpuinfo, key):
            return name
    return platform.processor() or platform.machine() or "unknown"


def int8_flags(cpuinfo: Path = CPUINFO) -> tuple[str, ...]:
    """Those of ``INT8_FLAGS`` that the processor has; empty where there is no ``/proc/cpuinfo``."""
    present = set((_field(cpuinfo, "flags") or _field(cpuinfo, "Features")).split())
    return tuple(flag for flag in INT8_FLAGS if flag in present)


def _field(cpuinfo: Path, key: str) -> str:
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(rf"^{key}[ \t]*:[ \t]*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return f"unknown on {sys.platform}"
    return f"{size / 1e9:.1f} GB"


def _gpus() -> list[str]:
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        names = [pynvml.nvmlDeviceGetName(handle) for handle in handles]
    except pynvml.NVMLError:  # no driver, or not permitted: no GPU that could be named
        return []
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]
