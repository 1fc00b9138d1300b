"""Starting a fresh worker process for a model, and reading what it prints."""

import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from distill.errors import UserError
from distill.measure.memory import file_size
from distill.measure.specification import Specification
from distill.results import Figure, Measurement, from_json, to_json
from distill.runtime.processor import int8_flags

PACKAGE_PARENT = Path(__file__).resolve().parents[2]


def measure(specification: Specification) -> Measurement:
    """Measures a model in a fresh process, and its peak memory without the arena in a second one.

    Raises UserError, with what the process wrote on stderr, where the model cannot be loaded or run, or the process
    took more than its budget. Where the second one fails, its figure alone is unavailable.
    """
    model = Path(specification.model).absolute()
    if not model.is_file():
        raise UserError(f"no file {model} to measure; give the path of an ONNX file")
    specification = dataclasses.replace(specification, model=str(model), memory_only=False)
    figures = from_json(Measurement, _work(specification))
    try:
        without_arena = from_json(Figure, _work(dataclasses.replace(specification, memory_only=True)))
    except UserError as error:
        without_arena = Figure(None, "MB", "unavailable", str(error))
    return dataclasses.replace(figures, memory_peak_no_arena=without_arena)


def not_measured(models: Sequence[Path], threads: int, why: str) -> Measurement:
    """What is known of a model that could not be measured: the size of its files."""
    units = dict.fromkeys(("latency_p50", "latency_p95", "latency_128_p50", "latency_128_p95"), "ms")
    units |= dict.fromkeys(("memory_peak", "memory_after_load", "memory_before_load", "memory_peak_no_arena"), "MB")
    units |= {"throughput": "texts/s", "energy": "J per 1,000 texts"}
    figures: dict[str, Any] = {name: Figure(None, unit, "unavailable", why) for name, unit in units.items()}
    runtime = f"onnxruntime {metadata.version('onnxruntime')}, CPUExecutionProvider"
    return Measurement(threads, runtime, file_size(*models), cpu_flags=int8_flags(), **figures)


def _work(specification: Specification) -> str:
    what = f"measuring {Path(specification.model).name}"  # a report goes elsewhere, and this machine's folders do not
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "specification.json"
        path.write_text(to_json(specification), encoding="utf-8")
        command = [sys.executable, "-m", "distill.measure.worker", str(path)]
        try:
            # From the package's parent this distill is found, and no module of the caller's folder by mistake.
            done = subprocess.run(
                command,
                cwd=PACKAGE_PARENT,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=specification.budget,
            )
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"{what} took more than {specification.budget:g} s; lower measure.seconds "
                "(of distill measure: --seconds), or measure it where nothing else runs"
            ) from error
    if done.returncode != 0:
        status = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        said = done.stderr.strip() or "nothing on stderr; if the machine ran out of memory, measure on shorter texts"
        raise UserError(f"{what} failed ({status}): {said}")
    return done.stdout.strip().rpartition("\n")[2]
