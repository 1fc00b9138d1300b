"""Intervals and verdicts of a finished run once more, by the code of today:
`python benchmarks/evaluate_again.py outputs/NAME`.

Reads what each arm had right on test (`test-statistics.npz`) and writes `report.json` beside it anew: scores, shares of
the gap and contrasts; nothing is trained or asked again.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from distill.evaluation import Compared, contrast, gap_recovered, score_over_seeds
from distill.metrics import Metric, Statistics
from distill.results import ArmResult, Contrast, Report, from_json, to_json, write_aside
from distill.tasks import build


def again(report: Report, statistics: dict[str, Statistics]) -> Report:
    """The report with every interval, gap and contrast computed from [S, n, K] of each arm."""
    metric = build(report.task, report.labels, report.metric).metric
    arms = tuple(arm_again(arm, metric, statistics) for arm in report.arms)
    budgets = {arm.name: arm.budget for arm in report.arms}

    def side(name: str) -> Compared:
        return Compared(name, statistics[name], budgets[name])

    contrasts: tuple[Contrast, ...] = tuple(
        contrast(metric, side(one.arm), side(one.against), one.primary) for one in report.contrasts
    )
    return dataclasses.replace(report, arms=arms, contrasts=contrasts)


def arm_again(arm: ArmResult, metric: Metric, statistics: dict[str, Statistics]) -> ArmResult:
    stack = statistics[arm.name]
    gap = arm.gap_recovered
    if gap is not None:
        gap = gap_recovered(metric, stack, statistics["linear"][0], statistics["teacher"][0])
    return dataclasses.replace(arm, score=score_over_seeds(metric, stack), gap_recovered=gap)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run, outputs/NAME")
    options = parser.parse_args()
    path = options.run / "report.json"
    with np.load(options.run / "test-statistics.npz") as stored:
        statistics = {name: stored[name] for name in stored}
    report = again(from_json(Report, path.read_text(encoding="utf-8")), statistics)
    write_aside(path, to_json(report))
    scale = report.scale
    digits = scale.digits
    for one in report.contrasts:
        value, (low, high) = scale.read(one.difference.value), scale.ends(one.difference)
        print(f"{one.arm} against {one.against}: {one.verdict}; {value:+.{digits}f} {scale.steps}")
        print(f"  [{low:+.{digits}f}, {high:+.{digits}f}], p = {one.p_value:.3f}")


if __name__ == "__main__":
    main()
