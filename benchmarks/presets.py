"""Objectives side by side: `python benchmarks/presets.py RECIPE [--arm soft+transfer] [KEY=VALUE …]`.

The same student (weights, texts, steps, rates to choose from, seeds) trained by each preset, against `hard` and against
the first preset, `kl`. P-values against `kl` are also corrected for their number (Holm 1979), where one without a
result counts, too, with a p-value of 1. Runs are resumable. Writes `benchmarks/results/presets/RECIPE.json` and prints
the table.
"""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from runs import arm_named, bounds, run, table

from distill.evaluation import Compared
from distill.evaluation import contrast as compared
from distill.metrics import Metric, Statistics
from distill.tasks import build

RESULTS = Path(__file__).parent / "results" / "presets"
PRESETS = (
    "kl", "mse", "reverse_kl", "jsd", "skewed_kl", "dkd", "annealing", "hidden", "cka", "pkd", "attention", "tinybert",
    "minilm", "minilmv2", "theseus",
)  # fmt: skip
NO_RESULT = 2
"""Exit status of a run that was refused or ended with an error: `dkd` with two classes, a loss that diverged. What it
says must be read."""
HEAD = ["", "score", "gap recovered", "agreement", "− hard", "− kl", "p", "p (Holm)", "minutes a seed"]


def holm(p_values: list[float]) -> list[float]:
    """Adjusted p-values (Holm 1979): the k-th smallest of m times m - k + 1; in their order, and not above 1."""
    order = np.argsort(p_values)
    steps = [p_values[place] * (len(p_values) - rank) for rank, place in enumerate(order)]
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(p) for p in adjusted]


def statistics(name: str, arm: str) -> Statistics:
    """[S, n, K] of an arm on test."""
    with np.load(Path("outputs") / name / "test-statistics.npz") as stored:
        found: Statistics = stored[arm]
        return found


def row(preset: str, arm: str, report: dict[str, Any], metric: Metric, first: Statistics) -> dict[str, Any]:
    """What the table shows of a preset."""
    own = arm_named(report, arm)
    stack, hard = statistics(report["name"], arm), statistics(report["name"], "hard")
    steps = own["budget"]
    against = {
        name: compared(metric, Compared(preset, stack, steps), Compared(name, other, steps), primary=False)
        for name, other in (("hard", hard), ("kl", first))
    }
    return {
        "preset": preset,
        "metric": report["metric"],
        "score": own["score"],
        "gap": own["gap_recovered"],
        "agreement": own["agreement"],
        "minutes": float(np.mean([seed["seconds"] for seed in own["seeds"]])) / 60,
        **{f"minus_{name}": vars(one.difference) for name, one in against.items()},
        "p": against["kl"].p_value,
    }


def cells(one: dict[str, Any], adjusted: float | None) -> list[str]:
    """A row of the table."""
    gap = one["gap"]
    return [
        one["preset"],
        bounds(one, one["score"]),
        "–" if gap is None else f"{100 * gap['value']:.0f} % [{100 * gap['low']:.0f}, {100 * gap['high']:.0f}]",
        f"{100 * one['agreement']:.1f} %",
        bounds(one, one["minus_hard"], "+"),
        "–" if adjusted is None else bounds(one, one["minus_kl"], "+"),
        "–" if adjusted is None else f"{one['p']:.3f}",
        "–" if adjusted is None else f"{adjusted:.3f}",
        f"{one['minutes']:.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--arm", default="soft+transfer", choices=("soft", "soft+transfer"))
    parser.add_argument("--presets", nargs="+", default=PRESETS, help="kl first (all)")
    options = parser.parse_intermixed_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    without: list[str] = []
    first: Statistics | None = None
    settings = [f"arms=[linear,hard,{options.arm}]", "measure.enabled=false", *options.overrides]
    for preset in options.presets:
        name = f"preset-{options.recipe}-{preset}"
        try:
            report = run(options.recipe, name, *settings, f"objective={preset}")
        except subprocess.CalledProcessError as error:
            if error.returncode != NO_RESULT or not rows:
                raise
            print(f"{preset}: no result, as said above", flush=True)
            without.append(preset)
        else:
            metric = build(report["task"], report["labels"], report["metric"]).metric
            first = statistics(name, options.arm) if first is None else first
            rows.append(row(preset, options.arm, report, metric, first))
            print(" | ".join(cells(rows[-1], None)), flush=True)
        found = {"settings": settings, "rows": rows, "without_result": without, "provenance": report["provenance"]}
        (RESULTS / f"{options.recipe}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    adjusted = [None, *holm([one["p"] for one in rows[1:]] + [1.0] * len(without))[: len(rows) - 1]]
    print(table(HEAD, [cells(one, p) for one, p in zip(rows, adjusted, strict=True)]))


if __name__ == "__main__":
    main()
