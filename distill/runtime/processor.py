"""What the processor can do with bytes."""

import re
from pathlib import Path

from distill.errors import UserError
from distill.runtime.manifest import Manifest

CPUINFO = Path("/proc/cpuinfo")

INT8_FLAGS = (
    *("avx2", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "avx_vnni_int8", "avx10_1", "amx_tile", "amx_int8"),
    *("asimd", "asimddp", "i8mm", "sve", "sve2", "svei8mm", "sme"),
)
"""Which int8 kernels onnxruntime may choose, on x86 and on ARM. Their sums differ, and so may answers."""


def int8_flags(cpuinfo: Path | None = None) -> tuple[str, ...]:
    """Those of ``INT8_FLAGS`` that the processor has; empty where there is no ``/proc/cpuinfo``."""
    cpuinfo = cpuinfo or CPUINFO
    present = set((cpu_field(cpuinfo, "flags") or cpu_field(cpuinfo, "Features")).split())
    return tuple(flag for flag in INT8_FLAGS if flag in present)


def cpu_field(cpuinfo: Path, key: str) -> str:
    """What the first processor of ``/proc/cpuinfo`` says of itself; empty where there is none."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(rf"^{key}[ \t]*:[ \t]*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def runs_here(needed: tuple[str, ...] | list[str]) -> bool:
    """Whether the processor is known to have one of these flags; True where none is needed."""
    return not needed or any(flag in needed for flag in int8_flags())


def check_processor(manifest: Manifest, variant: str) -> None:
    """Raises UserError where the variant needs a flag that this processor does not say it has: its answers would be
    wrong without a word."""
    needed = manifest.needs.get(variant, [])
    if runs_here(needed):
        return
    others = [name for name in manifest.graphs if not manifest.needs.get(name)]
    other = manifest.default_variant if manifest.default_variant in others else next(iter(others), None)
    mend = f"choose the variant '{other}'" if other else "export the bundle again with another variant, such as int8"
    raise UserError(
        f"the variant '{variant}' of {manifest.name} needs a processor with one of {', '.join(needed)}; this one "
        f"has {' '.join(int8_flags()) or 'no flags that are known'}, where its answers may be wrong; {mend}"
    )
