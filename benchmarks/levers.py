"""The way from `hard` to the teacher, one lever at a time: `python benchmarks/levers.py rotten_tomatoes [KEY=VALUE …]`.

Each row is a run of the recipe with one thing more than the rows above it, under equal budgets within a row. A lever
that does not raise the mean of the seeds on validation is left out below; the last rows are shapes of the student,
each for itself. Runs are resumable and share what does not change, such as the teacher. `KEY=VALUE` holds for all
rows. Writes `outputs/levers-RECIPE-N` as `distill run` does and `benchmarks/results/levers/RECIPE.json`, and prints
the table.
"""

import argparse
import json
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runs import arm_named, bounds, contrast, run, table

from distill.results import scale_of

RESULTS = Path(__file__).parent / "results" / "levers"
LEVERED = "soft+transfer"
"""The arm that levers are added to."""


@dataclass(frozen=True)
class Lever:
    """One row."""

    name: str
    sets: tuple[str, ...] = ()
    """Overrides that this row adds to those of the rows above that paid."""
    arm: str = LEVERED
    """What the row shows."""
    shape: bool = False
    """Whether it is for itself, and no row below has it, too."""


LEVERS = (
    Lever("hard", arm="hard"),
    Lever("soft labels", arm="soft"),
    Lever("+ texts without labels"),
    Lever("+ steps", ("train.steps={steps}",)),
    Lever("+ augmentation", ("augment=splice",)),
    Lever("+ cross-fitting", ("teacher.folds=3",)),
    Lever("+ MSE of logits", ("objective=mse",)),
    Lever("+ a third layer", ("student.count=3",), shape=True),
    Lever("or all layers at half width", ("student=thin",), shape=True),
)
HEAD = [
    "", "on validation", "score", "gap recovered", "agreement", "learnt", "against hard", "against hard+augmented",
    "MB", "minutes",
]  # fmt: skip


def climb(steps: int, reached: Callable[[int, list[str]], float]) -> None:
    """Takes one row after another. ``reached`` runs the row of a number with its overrides and tells its score on
    validation."""
    kept: list[str] = []
    best = -math.inf
    for number, lever in enumerate(LEVERS):
        sets = [*kept, *(text.format(steps=steps) for text in lever.sets)]
        score = reached(number, sets)
        if lever.arm == LEVERED and not lever.shape and score > best:
            kept, best = sets, score


def arms(sets: list[str]) -> str:
    """The arms of a run: of the first one, which has nothing set, three rows are read."""
    augmented = ["hard+augmented"] if any(text.startswith("augment=") for text in sets) else []
    return f"arms=[{','.join(['linear', 'hard', *augmented, *([] if sets else ['soft']), 'soft+transfer'])}]"


def cells(lever: Lever, report: dict[str, Any]) -> list[str]:
    """The row of a report."""
    arm = arm_named(report, lever.arm)
    known = {(one["arm"], one["against"]) for one in report["contrasts"]}

    def against(other: str) -> str:
        if (lever.arm, other) not in known:
            return "–"
        return bounds(report, contrast(report, lever.arm, other)["difference"], "+")

    def percent(share: float | None) -> str:
        return "–" if share is None else f"{100 * share:.1f} %"

    gap = arm["gap_recovered"]
    minutes = [seed["seconds"] / 60 for seed in arm["seeds"]]
    sizes = {(one["model"], one["variant"]): one["file_bytes"] / 1e6 for one in report["variants"]}
    scale = scale_of(report["metric"])
    return [
        lever.name,
        f"{scale.read(validation(arm)):.{scale.digits}f}",
        bounds(report, arm["score"]),
        "–" if gap is None else f"{100 * gap['value']:.0f} [{100 * gap['low']:.0f}, {100 * gap['high']:.0f}]",
        percent(arm["agreement"]),
        percent(arm.get("agreement_learnt")),
        against("hard"),
        against("hard+augmented"),
        f"{sizes['student', 'int8']:.1f}" if ("student", "int8") in sizes else "–",
        f"{sum(minutes) / len(minutes):.1f}",
    ]


def validation(arm: dict[str, Any]) -> float:
    """The mean of its seeds."""
    return statistics.mean(seed["validation"] for seed in arm["seeds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=2400, help="of each arm from the fourth row on (2400)")
    options = parser.parse_intermixed_args()
    rows: list[list[str]] = []
    runs: list[list[str]] = []
    reports: dict[str, dict[str, Any]] = {}

    def reached(number: int, sets: list[str]) -> float:
        name = f"levers-{options.recipe}-{number if sets else 0}"
        if name not in reports:
            runs.append([arms(sets), "measure.enabled=false", *options.overrides, *sets])
            reports[name] = run(options.recipe, name, *runs[-1])
        report, lever = reports[name], LEVERS[number]
        rows.append(cells(lever, report))
        RESULTS.mkdir(parents=True, exist_ok=True)
        found = {"runs": runs, "head": HEAD, "rows": rows, "provenance": report["provenance"]}
        (RESULTS / f"{options.recipe}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        return validation(arm_named(report, lever.arm))

    climb(options.steps, reached)
    print(table(HEAD, rows))


if __name__ == "__main__":
    main()
