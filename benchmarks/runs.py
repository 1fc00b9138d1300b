"""What the benchmarks have in common that read whole runs."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from distill.results import scale_of


def run(recipe: str, name: str, *settings: str) -> dict[str, Any]:
    """The report of `distill run RECIPE SETTING… name=NAME`. Runs are resumable, and share what does not change,
    such as the teacher."""
    command = [sys.executable, "-m", "distill", "run", recipe, *settings, f"name={name}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    report: dict[str, Any] = json.loads((Path("outputs") / name / "report.json").read_text(encoding="utf-8"))
    return report


def arm_named(report: dict[str, Any], name: str) -> dict[str, Any]:
    """The arm of this name."""
    found: dict[str, Any] = next(arm for arm in report["arms"] if arm["name"] == name)
    return found


def contrast(report: dict[str, Any], arm: str, against: str) -> dict[str, Any]:
    """The comparison of two arms."""
    found: dict[str, Any] = next(c for c in report["contrasts"] if (c["arm"], c["against"]) == (arm, against))
    return found


def bounds(report: dict[str, Any], estimate: dict[str, float], sign: str = "") -> str:
    """``76.0 [74.1, 77.9]``, in the units that the metric is read in; ``sign="+"`` for differences."""
    scale = scale_of(report["metric"])
    value, low, high = (scale.read(estimate[key]) for key in ("value", "low", "high"))
    low, high = sorted((low, high))
    return f"{value:{sign}.{scale.digits}f} [{low:{sign}.{scale.digits}f}, {high:{sign}.{scale.digits}f}]"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown, with true minus signs."""
    lines = [head, ["---"] * len(head), *rows]
    return re.sub(r"-(?=\d)", "−", "\n".join("| " + " | ".join(line) + " |" for line in lines))
