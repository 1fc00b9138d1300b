"""What each compression leaves of a trained model: `python benchmarks/compressions.py RECIPE [KEY=VALUE …]`.

One trained student, or with `student=whole` the teacher itself, after each choice of `compression`: parameters, the
score on validation when it was cut and when it has recovered, and of the int8 file that is exported the score on test,
size, and latency over that of the model that was not compressed. Each choice is a run of the recipe with one seed and
the arms `linear` and `soft+transfer`; runs are resumable and share teacher, labels and student. `KEY=VALUE` holds for
all. Latencies are of one process that holds all files, in turns, one thread; the ratio is the median over the turns,
with the smallest and largest beside it. Writes `benchmarks/results/compressions/NAME.json` and prints the table.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from cumulative import Subject, settings_of, teacher_of, times
from runs import bounds, run, table

from distill.results import scale_of

RESULTS = Path(__file__).parent / "results" / "compressions"
CHOICES = {
    "none": "compression=none",
    "prune, half of the parameters": "compression=prune",
    "prune, half of the multiplications": "compression.steps=[{name:prune,multiplications:0.5}]",
    "low rank": "compression=low_rank",
    "quantization-aware": "compression=quantization_aware",
    "all three": "compression=all",
}
ANY_DROP = "export.max_drop=100"
"""No file falls at its gate, so that each can be shown."""
HEAD = [
    "",
    "parameters",
    "validation: cut, recovered",
    "lost by int8",
    "int8 on test",
    "MB",
    "p50 over none",
    "minutes",
]


def subject_of(name: str, run_name: str, longest: int) -> Subject:
    """The int8 file of a run's bundle."""
    bundle = Path("exports") / run_name
    return Subject(name, str(bundle / "onnx" / "model_int8.onnx"), str(bundle / "tokenizer.json"), longest)


def row(name: str, report: dict[str, Any], megabytes: float, p50: list[float]) -> dict[str, Any]:
    """What is known of a choice."""
    student = {one["variant"]: one for one in report["variants"] if one["model"] == "student"}
    steps = report["compression"]
    parameters = next(arm["parameters"] for arm in report["arms"] if arm["name"] == report["exported_arm"])
    seconds = [cost["seconds"] for cost in report["costs"] if cost["stage"].startswith("compression")]
    return {
        "name": name,
        "metric": report["metric"],
        "parameters": steps[-1]["parameters_after"] if steps else parameters,
        "steps": steps,
        "score": student["int8"]["score"],
        "rounding": student["int8"]["gate"]["drop"],
        "megabytes": megabytes,
        "p50": p50,
        "minutes": sum(seconds) / 60,
    }


def cells(one: dict[str, Any], first: dict[str, Any]) -> list[str]:
    """A row of the table."""
    ratios = [a / b for a, b in zip(one["p50"], first["p50"], strict=True)]
    scale = scale_of(one["metric"])
    recovered = "; ".join(
        ", ".join(f"{scale.read(step[key]):.{scale.digits}f}" for key in ("cut", "recovered")) for step in one["steps"]
    )
    return [
        one["name"],
        f"{one['parameters'] / 1e6:.2f} M",
        recovered or "–",
        bounds(one, one["rounding"], "+"),
        bounds(one, one["score"]),
        f"{one['megabytes']:.2f}",
        f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]",
        f"{one['minutes']:.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--name", help="of what is written (the recipe)")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_intermixed_args()
    name = options.name or options.recipe
    overrides = [*options.overrides, ANY_DROP]
    reports, names = {}, {choice: f"compressions-{name}-{number}" for number, choice in enumerate(CHOICES)}
    for choice, override in CHOICES.items():
        reports[choice] = run(options.recipe, names[choice], *settings_of(overrides), override)
    teacher = teacher_of(options.recipe, names["none"], overrides)
    subjects = [subject_of(choice, names[choice], teacher.max_length) for choice in CHOICES]
    alone, _, _ = times(subjects, teacher.texts, options.turns)
    rows = [row(one.name, reports[one.name], one.megabytes, alone[one.name]) for one in subjects]
    RESULTS.mkdir(parents=True, exist_ok=True)
    found = {"settings": settings_of(overrides), "rows": rows, "provenance": reports["none"]["provenance"]}
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print(table(HEAD, [cells(one, rows[0]) for one in rows]))
    print(f"\np50 of the first row: {1e3 * statistics.median(rows[0]['p50']):.2f} ms")


if __name__ == "__main__":
    main()
