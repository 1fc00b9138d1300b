"""The README's table of tasks and students: `python benchmarks/table.py benchmarks/results/*-*/report.json`.

For each report: scores on test times 100, in brackets the share of the gap between linear and teacher, then the
contrasts with `hard`, bold where a difference is shown.
"""

import json
import sys
from pathlib import Path
from typing import Any

STUDENTS = ("layers", "transformer", "lstm", "rnn")
ARMS = ("hard", "soft", "soft+transfer")


def row(report: dict[str, Any], student: str) -> str:
    score = {arm["name"]: 100 * arm["score"]["value"] for arm in report["arms"]}
    gap = score["teacher"] - score["linear"]
    cells = [student]
    for arm in ARMS:
        share = f" ({100 * (score[arm] - score['linear']) / gap:.0f} %)" if gap > 1 else ""
        cells.append(f"{score[arm]:.1f}{share}")
    for arm in ARMS[1:]:
        contrast = next(c for c in report["contrasts"] if (c["arm"], c["against"]) == (arm, "hard"))
        value, low, high = (100 * contrast["difference"][key] for key in ("value", "low", "high"))
        text = f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
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
        known = {arm["name"]: f"{100 * arm['score']['value']:.1f}" for arm in one["arms"]}
        floor = f"linear {known['linear']}, teacher {known['teacher']}"
        print(f"| **`{task}`**, {one['metric']}: {floor} |" + " |" * (len(head) - 1))
        for student in STUDENTS:
            if student in reports:
                print(row(reports[student], student))


if __name__ == "__main__":
    main(sys.argv[1:])
