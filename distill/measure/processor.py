"""The machine and the versions that figures hold for."""

import importlib.metadata
import os
import platform
import sys
from pathlib import Path

from distill.runtime.graphs import usable_cores
from distill.runtime.processor import CPUINFO, cpu_field, int8_flags

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
        if name := cpu_field(cpuinfo, key):
            return name
    return platform.processor() or platform.machine() or "unknown"


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
