"""Starting a fresh worker process for a model, and reading what it prints."""

import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path

from distill.errors import UserError
from distill.measure.specification import Specification
from distill.results import Figure, Measurement, from_json, to_json

PACKAGE_PARENT = Path(__file__).resolve().parents[2]


def measure(specification: Specification, timeout: float = 600.0) -> Measurement:
    """Measures a model in a fresh process, and its peak memory without the arena in a second one.

    ``timeout`` is in seconds, for each process. Raises UserError, with what the process wrote on stderr, where the
    model cannot be loaded or run, or a process took too long.
    """
    model = Path(specification.model).absolute()
    if not model.is_file():
        raise UserError(f"no file {model} to measure; give the path of an ONNX file")
    specification = dataclasses.replace(specification, model=str(model), memory_only=False)
    figures = from_json(Measurement, _work(specification, timeout))
    without_arena = from_json(Figure, _work(dataclasses.replace(specification, memory_only=True), timeout))
    return dataclasses.replace(figures, memory_peak_no_arena=without_arena)


def _work(specification: Specification, timeout: float) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "specification.json"
        path.write_text(to_json(specification), encoding="utf-8")
        command = [sys.executable, "-m", "distill.measure.worker", str(path)]
        try:
            # From the package's parent this distill is found, and no module of the caller's folder by mistake.
            done = subprocess.run(command, cwd=PACKAGE_PARENT, capture_output=True, text=True, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"measuring {specification.model} took more than {timeout:g} s; "
                "lower measure.seconds or measure it on fewer texts"
            ) from error
    if done.returncode != 0:
        status = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        said = done.stderr.strip() or "nothing on stderr; if the machine ran out of memory, measure on shorter texts"
        raise UserError(f"measuring {specification.model} failed ({status}): {said}")
    return done.stdout.strip().rpartition("\n")[2]
