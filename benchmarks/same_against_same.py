"""An arm against itself: `python benchmarks/same_against_same.py outputs/NAME --arm hard`.

The seeds of one arm of a finished run, ten or so, are split into two groups of equal size in many ways, and each split
is given to the real `contrast` as if it were two arms. Whatever is called different is called so wrongly: on average
over runs in at most 5 % of splits. Splits of one run share their trainings, so that one run's share scatters widely
around that. Groups of one seed are two trainings that may well differ: their verdict is about these two trainings.
"""

import argparse
import itertools
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.evaluation import Compared, contrast
from distill.metrics import Metric
from distill.results import Report, from_json
from distill.tasks import build

SPLITS = 1_000
"""At most so many for each size of group."""


def splits(seeds: int, size: int, rng: np.random.Generator) -> list[tuple[list[int], list[int]]]:
    """Pairs of disjoint groups of ``size`` seeds: all there are, or ``SPLITS`` at random where they are more."""
    count = math.comb(seeds, size) * math.comb(seeds - size, size) // 2
    if count > SPLITS:
        drawn = (rng.permutation(seeds).tolist() for _ in range(SPLITS))
        return [(order[:size], order[size : 2 * size]) for order in drawn]
    groups = [list(group) for group in itertools.combinations(range(seeds), size)]
    pairs = itertools.combinations(groups, 2)
    # the second group in random order: which seed is paired with which means nothing
    return [(one, rng.permutation(other).tolist()) for one, other in pairs if not set(one) & set(other)]


def called_different(metric: Metric, statistics: NDArray[np.float64], size: int) -> tuple[int, int, float]:
    """(splits called different, splits, median power note) of ``statistics`` [S, n, K]."""
    verdicts = [
        contrast(metric, Compared("one", statistics[one]), Compared("other", statistics[other]), primary=True)
        for one, other in splits(len(statistics), size, np.random.default_rng(0))
    ]
    different = sum(not verdict.verdict.startswith("no difference shown") for verdict in verdicts)
    notes = [math.inf if verdict.smallest_shown is None else verdict.smallest_shown for verdict in verdicts]
    return different, len(verdicts), float(np.median(notes))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run, outputs/NAME")
    parser.add_argument("--arm", default="hard")
    options = parser.parse_args()
    report = from_json(Report, (options.run / "report.json").read_text(encoding="utf-8"))
    with np.load(options.run / "test-statistics.npz") as stored:
        if options.arm not in stored:
            parser.error(f"{options.run} has no arm {options.arm}; it has {', '.join(stored)}")
        statistics = stored[options.arm]
    seeds, texts, _ = statistics.shape
    if seeds < 2:
        parser.error(f"{options.arm} has one seed; a comparison with itself needs two, and ten say more")
    metric = build(report.task, report.labels, report.metric).metric
    scores = [100 * float(metric.reduce(one)) for one in statistics]
    print(
        f"{report.name}, {options.arm}: {seeds} seeds, {texts:,} test texts, {metric.title} "
        f"{np.mean(scores):.2f}, standard deviation between seeds {np.std(scores, ddof=1):.2f} points"
    )
    for size in range(1, seeds // 2 + 1):
        different, count, note = called_different(metric, statistics, size)
        print(
            f"{size} against {size}: {different} of {count} splits called different ({100 * different / count:.1f} %), "
            f"power note {100 * note:.2f} points" + (", single trainings" if size == 1 else "")
        )


if __name__ == "__main__":
    main()
