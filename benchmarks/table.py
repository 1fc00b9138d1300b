"""The table of tasks and students in docs/results.md: `python benchmarks/table.py benchmarks/results/*-*/report.json`.

For each report: scores on test as people read them, in brackets the share of the gap between linear and teacher where
the task has a linear floor, then the contrasts with `hard`, bold where a difference is shown.
"""

import json
import sys
from pathlib import Path
from typing import Any

from distill.results import scale_of

STUDENTS = ("layers", "transformer", "lstm", "rnn")
ARMS = ("hard", "soft", "soft+transfer")


def row(report: dict[str, Any], student: str) -> str:
    scale = scale_of(report["metric"])
    digits = scale.digits
    score = {arm["name"]: arm["score"]["value"] for arm in report["arms"]}
    linear = score.get("linear", score["teacher"])
    gap = score["teacher"] - linear
    cells = [student]
    for arm in ARMS:
        share = f" ({100 * (score[arm] - linear) / gap:.0f} %)" if gap > 0.01 else ""
        cells.append(f"{scale.read(score[arm]):.{digits}f}{share}")
    for arm in ARMS[1:]:
        contrast = next(c for c in report["contrasts"] if (c["arm"], c["against"]) == (arm, "hard"))
        value, low, high = (scale.read(contrast["difference"][key]) for key in ("value", "low", "high"))
        low, high = sorted((low, high))
        text = f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
        cells.append(text if contrast["verdict"].startswith("no difference shown") else f"**{text}**")
    sizes = {(v["model"], v["variant"]): v for v in report["variants"]}
    int8, teacher = sizes["student", "int8"], sizes["teacher", "fp32"]
    cells.append(f"{int8['file_bytes'] / 1e6:.1f}")
    speed = (one["measurement"]["latency_p50"]["value"] for one in (teacher, int8))
    cells.append(f"{next(speed) / next(speed):.0f}")
    return (
        "| "
        + " | ".join(cells).replace(" -", " −").replace("[-", "[−").replace("(-", "(−").replace("**-", "**−")
        + " |"
    )


def main(paths: list[str]) -> None:
    by_task: dict[str, dict[str, dict[str, Any]]] = {}
    for path in map(Path, paths):
        task, _, student = path.parent.name.rpartition("-")
        if student in STUDENTS:
            by_task.setdefault(task, {})[student] = json.loads(path.read_text(encoding="utf-8"))
    head = ["student", *ARMS, "soft against hard", "soft+transfer against hard", "int8, MB", "times faster"]
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for task, reports in by_task.items():
        one = next(iter(reports.values()))
        scale = scale_of(one["metric"])
        known = {arm["name"]: f"{scale.read(arm['score']['value']):.{scale.digits}f}" for arm in one["arms"]}
        ends = ", ".join(f"{name} {known[name]}" for name in ("linear", "teacher") if name in known)
        print(f"| **`{task}`**, {one['metric']}: {ends} |" + " |" * (len(head) - 1))
        for student in STUDENTS:
            if student in reports:
                print(row(reports[student], student))


if __name__ == "__main__":
    main(sys.argv[1:])
