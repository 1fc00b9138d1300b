"""The way from `hard` to the teacher, one lever at a time: `python benchmarks/levers.py rotten_tomatoes [KEY=VALUE …]`.

Each row is a run of the recipe with what the rows above it have and one thing more, under equal budgets within a row.
Runs are resumable and share what does not change, such as the teacher. `KEY=VALUE` holds for all rows. Writes
`outputs/levers-RECIPE-N` as `distill run` does and `benchmarks/results/levers/RECIPE.json`, and prints the table.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runs import arm_named, bounds, contrast, run, table

RESULTS = Path(__file__).parent / "results" / "levers"


@dataclass(frozen=True)
class Lever:
    """One row."""

    name: str
    sets: tuple[str, ...] = ()
    """Overrides that this row adds to those of the rows above."""
    arm: str = "soft+transfer"
    """What the row shows."""
    instead: bool = False
    """Whether it stands in the place of the row above, not with it."""


LEVERS = (
    Lever("hard", arm="hard"),
    Lever("soft labels", arm="soft"),
    Lever("+ texts without labels"),
    Lever("+ steps", ("train.steps={steps}",)),
    Lever("+ augmentation", ("augment=splice",)),
    Lever("+ cross-fitting", ("teacher.folds=3",)),
    Lever("+ MSE of logits", ("objective=mse",)),
    Lever("+ a third layer", ("student.count=3",)),
    Lever("or all layers at half width", ("student=thin",), instead=True),
)
HEAD = ["", "score", "gap recovered", "agreement", "learnt", "against hard", "against hard+augmented", "MB", "minutes"]


def overrides(number: int, steps: int) -> list[str]:
    """What the row of this number sets, with all above it."""
    above = LEVERS[: number - LEVERS[number].instead]
    return [text.format(steps=steps) for lever in (*above, LEVERS[number]) for text in lever.sets]


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
    return [
        lever.name,
        bounds(report, arm["score"]),
        "–" if gap is None else f"{100 * gap['value']:.0f} [{100 * gap['low']:.0f}, {100 * gap['high']:.0f}]",
        percent(arm["agreement"]),
        percent(arm.get("agreement_learnt")),
        against("hard"),
        against("hard+augmented"),
        f"{sizes['student', 'int8']:.1f}" if ("student", "int8") in sizes else "–",
        f"{sum(minutes) / len(minutes):.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=2400, help="of each arm from the fourth row on (2400)")
    options = parser.parse_intermixed_args()
    rows: list[list[str]] = []
    done: dict[str, tuple[list[str], dict[str, Any]]] = {}
    for number, lever in enumerate(LEVERS):
        sets = overrides(number, options.steps)
        name = f"levers-{options.recipe}-{len(sets)}{'-instead' * lever.instead}"
        settings = [arms(sets), "measure.enabled=false", *options.overrides, *sets]
        if name not in done:
            done[name] = settings, run(options.recipe, name, *settings)
        report = done[name][1]
        rows.append(cells(lever, report))
        RESULTS.mkdir(parents=True, exist_ok=True)
        found = {
            "runs": [settings for settings, _ in done.values()],
            "head": HEAD,
            "rows": rows,
            "provenance": report["provenance"],
        }
        (RESULTS / f"{options.recipe}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print(table(HEAD, rows))


if __name__ == "__main__":
    main()
