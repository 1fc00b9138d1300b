import subprocess
import sys
from pathlib import Path

import pytest

from distill.measure import machine, versions
from distill.measure.memory import peak_resident_set, resident_set
from distill.measure.processor import processor_name
from distill.runtime.processor import int8_flags

X86 = """processor\t: 0
model name\t: Imaginary Xeon(R) 9
flags\t\t: fpu avx2 avx512_vnni amx_int8 avx512_vnnixyz
bugs\t\t: spectre_v1
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\nCPU architecture: 8\n"


def test_int8_flags_of_x86_and_arm(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(X86)
    assert int8_flags(cpuinfo) == ("avx2", "avx512_vnni", "amx_int8")
    assert processor_name(cpuinfo) == "Imaginary Xeon(R) 9"
    cpuinfo.write_text(ARM)
    assert int8_flags(cpuinfo) == ("asimd", "asimddp", "i8mm")


def test_a_system_without_proc_has_no_flags_but_a_name(tmp_path: Path) -> None:
    assert int8_flags(tmp_path / "none") == ()
    assert processor_name(tmp_path / "none")


def test_machine_and_versions_are_words_and_import_nothing_heavy() -> None:
    code = (
        "import sys; from distill.measure import machine, versions; machine(); versions();"
        "print([m for m in ('torch', 'transformers', 'onnx', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    for found in (machine(), versions()):
        assert all(isinstance(key, str) and isinstance(value, str) and value for key, value in found.items())
    assert versions()["python"] == ".".join(map(str, sys.version_info[:3]))
    assert int(machine()["cores usable"]) >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_resident_set_sees_what_is_allocated_and_the_peak_keeps_it() -> None:
    before = resident_set().value
    block = b"x" * 64_000_000
    held = resident_set().value
    del block
    assert before is not None
    assert held is not None
    assert held - before == pytest.approx(64, abs=6)
    assert (peak_resident_set().value or 0) >= held - 1


def test_kibibytes_of_the_kernel_are_shown_in_megabytes(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t  2000000 kB\nVmRSS:\t  1000000 kB\n")
    assert peak_resident_set(status).value == pytest.approx(2048)
    assert resident_set(status).value == pytest.approx(1024)


def test_memory_that_cannot_be_read_is_unavailable_not_zero(tmp_path: Path) -> None:
    assert resident_set(tmp_path / "none").how == "unavailable"
    if sys.platform == "linux":
        assert peak_resident_set(tmp_path / "none").how == "unavailable"
