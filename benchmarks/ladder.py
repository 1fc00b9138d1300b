"""From linear to the teacher, rung by rung: `python benchmarks/ladder.py RECIPE [--arm soft+transfer] [KEY=VALUE …]`.

Students of every kind trained alike, each with the budget of its own choice under `conf/student/`, and the teacher:
score on test, size of the file and latency, all in int8. Latency is over that of the teacher's int8, measured in the
same run. Runs are resumable. Writes `benchmarks/results/ladder/` (figures and a plot) and prints the table.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib
from runs import arm_named, bounds, run, table

from distill.report.tradeoffs import front, name_decades, name_points
from distill.results import scale_of

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results" / "ladder"
RUNGS = {
    "static": ("student=static",),
    "LSTM": ("student=lstm",),
    "1 layer": ("student=layers", "student.count=1"),
    "2 layers": ("student=layers", "student.count=2"),
    "3 layers": ("student=layers", "student.count=3"),
    "half width": ("student=thin",),
}
HEAD = ["", "score", "gap recovered, mean of seeds", "MB", "p50, ms", "p50 over the teacher's int8"]


def rung(name: str, report: dict[str, Any], model: str, gap: dict[str, float] | None) -> dict[str, Any]:
    """A model in int8: its score is that of the file; ``gap`` is of the seeds, as they were trained."""
    own, teacher = (
        next(one for one in report["variants"] if (one["model"], one["variant"]) == (of, "int8"))
        for of in (model, "teacher")
    )
    p50, its = (one["measurement"]["latency_p50"]["value"] for one in (own, teacher))
    return {
        "name": name,
        "metric": report["metric"],
        "score": own["score"],
        "gap": gap,
        "megabytes": own["file_bytes"] / 1e6,
        "p50_ms": p50,
        "p50_over_teacher": p50 / its,
    }


def draw(rungs: list[dict[str, Any]], linear: dict[str, Any]) -> Figure:
    """Score over size, and over latency; the line is the front."""
    scale = scale_of(linear["metric"])
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.4), sharey=True, layout="constrained")
    for axis, cost, label in (
        (axes[0], "megabytes", "MB of the int8 file"),
        (axes[1], "p50_over_teacher", "p50 over that of the teacher's int8"),
    ):
        axis.axhline(scale.read(linear["score"]["value"]), color="grey", linestyle=":", label="linear")
        best = front([(one[cost], one["score"]["value"]) for one in rungs])
        axis.plot([x for x, _ in best], [scale.read(score) for _, score in best], color="C0", alpha=0.5, label="front")
        for one in rungs:
            value, low, high = (scale.read(one["score"][key]) for key in ("value", "low", "high"))
            axis.errorbar(one[cost], value, [[value - low], [high - value]], fmt="o", color="C0", capsize=3)
        axis.set(xscale="log", xlabel=label)
        axis.margins(x=0.12, y=0.15)
        axis.grid(alpha=0.3)
        name_decades(axis)
    axes[0].set_ylabel("score on test, × 100, 95 % interval")
    axes[0].legend(frameon=False, loc="lower right")
    figure.draw_without_rendering()  # places are known from here on
    for axis, cost in ((axes[0], "megabytes"), (axes[1], "p50_over_teacher")):
        name_points(axis, [(r[cost], scale.read(r["score"]["high"]), r["name"]) for r in rungs], figure.dpi)
    return figure


def cells(one: dict[str, Any]) -> list[str]:
    """A row of the table."""
    gap = one["gap"]
    known = one["name"] != "linear"
    return [
        one["name"],
        bounds(one, one["score"]),
        f"{100 * gap['value']:.0f} % [{100 * gap['low']:.0f}, {100 * gap['high']:.0f}]" if gap else "–",
        f"{one['megabytes']:.1f}" if known else "–",
        f"{one['p50_ms']:.2f}" if known else "–",
        f"{one['p50_over_teacher']:.3f}" if known else "–",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--arm", default="soft+transfer", choices=("soft", "soft+transfer"))
    options = parser.parse_intermixed_args()
    rungs = []
    for name, sets in RUNGS.items():
        of_run = f"ladder-{options.recipe}-{name.replace(' ', '-').lower()}"
        report = run(options.recipe, of_run, *sets, f"arms=[linear,{options.arm}]", *options.overrides)
        rungs.append(rung(name, report, "student", arm_named(report, options.arm)["gap_recovered"]))
        print(" | ".join(cells(rungs[-1])), flush=True)
    rungs.append(rung("teacher", report, "teacher", None))
    linear = {"name": "linear", "metric": report["metric"], "score": arm_named(report, "linear")["score"], "gap": None}
    RESULTS.mkdir(parents=True, exist_ok=True)
    draw(rungs, linear).savefig(RESULTS / f"{options.recipe}.png", dpi=150)
    settings = {"arm": options.arm, "overrides": options.overrides}
    found = {**settings, "rungs": [linear, *rungs], "provenance": report["provenance"]}
    (RESULTS / f"{options.recipe}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print(table(HEAD, [cells(one) for one in (linear, *rungs)]))


if __name__ == "__main__":
    main()
