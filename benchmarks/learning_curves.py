"""Soft against hard labels over the number of labels: `python benchmarks/learning_curves.py [DATA …] [KEY=VALUE …]`.

For each data set, each of three students from random weights or token vectors, and 500, 1,000, 3,000 and all labelled
texts: a teacher fine-tuned on these texts, the student trained on their labels, and the same student (weights, order,
steps, seeds) on the teacher's soft labels of these texts. `KEY=VALUE` holds for all runs. Runs are resumable. Writes
`benchmarks/results/learning_curves/` (figures and a plot), a data set as it is done.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from runs import arm_named, bounds, contrast, run, table

from distill.results import scale_of

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results" / "learning_curves"
DATA = {
    "clinc150": ("clinc150", ("data.out_of_scope=null",)),
    "banking77": (
        "clinc150",
        ("data.out_of_scope=null", "data.train.path=data/banking77", "data.train.licence=CC-BY 4.0"),
    ),
    "goemotions": ("goemotions", ()),
}
"""The recipe of each, and what it sets."""
STUDENTS = ("lstm", "static", "transformer")
LABELS = ("500", "1000", "3000", "null")
"""``data.labelled``; null: all."""
SHARED = ("arms=[linear,hard,soft]", "data.transfer_limit=0", "measure.enabled=false", "seeds=[0,1,2,3,4]")
HEAD = ["", "labels", "linear", "teacher", "hard", "soft", "soft − hard", "p", "agreement of soft"]


def point(report: dict[str, Any]) -> dict[str, Any]:
    """Of a run, what the table and the figure show."""
    arms = {name: arm_named(report, name) for name in ("linear", "teacher", "hard", "soft")}
    found = contrast(report, "soft", "hard")
    return {
        "metric": report["metric"],
        "labels": arms["hard"]["texts"],
        **{name: arm["score"] for name, arm in arms.items()},
        "difference": found["difference"],
        "p": found["p_value"],
        "agreement": arms["soft"]["agreement"],
    }


def row(data: str, student: str, one: dict[str, Any]) -> list[str]:
    """The cells of a point."""
    scores = (bounds(one, one[name]).split()[0] for name in ("linear", "teacher", "hard", "soft"))
    difference = bounds(one, one["difference"], "+")
    return [
        f"{data}, {student}",
        f"{one['labels']:,}",
        *scores,
        difference,
        f"{one['p']:.3f}",
        f"{100 * one['agreement']:.1f} %",
    ]


def draw(points: dict[str, dict[str, list[dict[str, Any]]]]) -> Figure:
    """A panel a data set, a line a student; students stand a little beside one another."""
    figure, axes = plt.subplots(
        1, len(points), figsize=(1 + 3.2 * len(points), 3.4), layout="constrained", squeeze=False
    )
    for axis, (data, students) in zip(axes[0], points.items(), strict=True):
        for number, (student, ones) in enumerate(students.items()):
            scale = scale_of(ones[0]["metric"])
            labels = np.array([one["labels"] for one in ones]) * 1.06 ** (number - 1)
            value, low, high = (
                np.array([scale.read(one["difference"][key]) for one in ones]) for key in ("value", "low", "high")
            )
            axis.errorbar(labels, value, (value - low, high - value), fmt="o-", capsize=3, label=student)
        axis.axhline(0, color="grey", linewidth=0.8, linestyle=":")
        axis.set(title=data, xlabel="labelled texts", xscale="log")
        ticks = [one["labels"] for one in next(iter(students.values()))]
        axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=8)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("soft − hard on test, × 100")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", nargs="*", metavar="DATA", help=f"of {', '.join(DATA)} (all)")
    options = parser.parse_args()
    overrides = [given for given in options.data if "=" in given]
    names = [given for given in options.data if "=" not in given] or list(DATA)
    if unknown := [name for name in names if name not in DATA]:
        parser.error(f"{unknown[0]} is none of {', '.join(DATA)}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / "figures.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"points": {}}
    for data in names:
        recipe, sets = DATA[data]
        points: dict[str, list[dict[str, Any]]] = {student: [] for student in STUDENTS}
        for labels in LABELS:
            for student in STUDENTS:
                name = f"curve-{data}-{student}-{labels.replace('null', 'all')}"
                settings = (f"student={student}", *SHARED, *sets, *overrides, f"data.labelled={labels}")
                report = run(recipe, name, *settings)
                points[student].append(point(report))
                print(" | ".join(row(data, student, points[student][-1])), flush=True)
        found["points"][data] = points
        found[data] = {"settings": [*SHARED, *sets, *overrides], "provenance": report["provenance"]}
        file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        draw(found["points"]).savefig(RESULTS / "learning_curves.png", dpi=150)
    rows = [row(d, s, one) for d, students in found["points"].items() for s, ones in students.items() for one in ones]
    print(table(HEAD, rows))


if __name__ == "__main__":
    main()
