"""How often a verdict is wrong, and how often it finds what is there: `python benchmarks/verdict_error_rates.py`.

Two arms of simulated trainings answer the same test texts, and both have an accuracy of 80 % in the mean over seeds: a
training answers a text rightly with the text's own probability, moved by the training's random effect. There is no
difference, and each "better" or "worse" of the real `contrast` is an error. Then one arm is made better by what the
power note says would be shown with a probability of 80 % (its median over the first cases), and "better" is counted.

With `--taste 0.1` each arm has texts of its own that all its seeds find easier or harder than the other arm does: equal
in accuracy, but right on different texts. Writes `benchmarks/results/verdict_error_rates/taste-TASTE.json`.
"""

import argparse
import json
import platform
import time
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.evaluation import Compared, contrast
from distill.metrics import accuracy
from distill.results import Contrast

SPREADS = (0.0, 0.7, 1.4, 2.8)
"""Standard deviation over seeds of the accuracy that a training would have on infinitely many texts, in points."""
SEEDS, TEXTS = (3, 5, 10), (500, 2_000, 10_000)
HARD, EASY = (2.0, 2.0), (19.0, 1.0)
"""Beta distributions of the probability of a right answer: a third of the texts 0.5 on average, the others 0.95."""
ACCURACY = 0.8
RESULTS = Path(__file__).parent / "results" / "verdict_error_rates"


@dataclass(frozen=True)
class Setting:
    """What a cell of the table simulates."""

    spread: float
    """In points."""
    seeds: int
    texts: int
    taste: float = 0.0
    """How far an arm's own probability of a right answer may lie from that of the text."""


@dataclass(frozen=True)
class Rates:
    """What was found; fractions of 1."""

    called_different: float
    note: float
    """The smallest difference that would be shown with 80 %: median over the cases without a difference."""
    note_tenth: float
    note_ninetieth: float
    found: float
    """Share of "better" where the difference is ``note``."""


def simulate(setting: Setting, difference: float, rng: np.random.Generator) -> Contrast:
    """One verdict; the first arm is better by ``difference`` in the mean over seeds and texts."""
    n = setting.texts
    probability = np.where(rng.random(n) < 1 / 3, rng.beta(*HARD, n), rng.beta(*EASY, n))
    arms = []
    for gain in (difference, 0.0):
        room = np.minimum(setting.taste, np.minimum(probability, 1 - probability))
        arm = probability + room * rng.choice((-1, 1), n)
        shifts = gain + rng.normal(0, setting.spread / 100, (setting.seeds, 1))
        right = rng.random((setting.seeds, n), dtype=np.float32) < moved(arm, shifts)
        arms.append(np.stack([right, np.ones_like(right)], axis=-1).astype(np.float64))
    return contrast(accuracy, Compared("new", arms[0]), Compared("old", arms[1]), primary=True)


def moved(probability: NDArray[np.float64], shifts: NDArray[np.float64]) -> NDArray[np.float64]:
    """[S, n] probabilities whose mean over the distribution of texts is moved by ``shifts`` [S, 1], within 0 and 1."""
    up, down = (1 - probability) / (1 - ACCURACY), probability / ACCURACY
    return probability + shifts * np.where(shifts > 0, up, down)


def rates(setting: Setting, cases: int, seed: int = 0) -> Rates:
    """Error rate over ``cases`` without a difference, found rate over ``cases`` with one."""
    rng = np.random.default_rng(seed)
    nulls = [simulate(setting, 0.0, rng) for _ in range(cases)]
    notes = [null.smallest_shown or 0.0 for null in nulls]
    note = float(np.median(notes))
    planted = [simulate(setting, note, rng) for _ in range(cases)]
    return Rates(
        called_different=float(np.mean([null.verdict != "no difference shown" for null in nulls])),
        note=note,
        note_tenth=float(np.quantile(notes, 0.1)),
        note_ninetieth=float(np.quantile(notes, 0.9)),
        found=float(np.mean([one.verdict == "new is better than old" for one in planted])),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=1_000, help="cases a cell, without and with a difference each")
    parser.add_argument("--taste", type=float, default=0.0, help="see above")
    options = parser.parse_args()
    start = time.process_time()
    near_5, near_80 = (196 * (rate * (1 - rate) / options.cases) ** 0.5 for rate in (0.05, 0.8))
    print(
        f"{options.cases:,} cases a cell, taste {options.taste:g}; chance moves a rate by up to {near_5:.1f} points "
        f"around 5 % and {near_80:.1f} around 80 %"
    )
    print("spread, points  seeds   texts  called different  power note, points (80 % of notes)  found at the note")
    rows = []
    for spread, seeds, texts in product(SPREADS, SEEDS, TEXTS):
        setting = Setting(spread, seeds, texts, options.taste)
        found = rates(setting, options.cases)
        rows.append({**asdict(setting), **asdict(found)})
        between = f"({100 * found.note_tenth:.2f} to {100 * found.note_ninetieth:.2f})"
        print(
            f"{spread:14.1f} {seeds:6} {texts:7,} {100 * found.called_different:15.1f} % "
            f"{100 * found.note:19.2f} {between:>16} {100 * found.found:16.1f} %",
            flush=True,
        )
    worst = max(row["called_different"] for row in rows)
    seconds = time.process_time() - start
    print(
        f"called different: at most {100 * worst:.1f} %, found: {100 * min(r['found'] for r in rows):.1f} to ", end=""
    )
    print(f"{100 * max(r['found'] for r in rows):.1f} %; {seconds:.0f} s of one core")
    RESULTS.mkdir(parents=True, exist_ok=True)
    command = f"python benchmarks/verdict_error_rates.py --cases {options.cases} --taste {options.taste:g}"
    machine = f"one core of {platform.machine()}, numpy {np.__version__}, {seconds:.0f} s"
    content = {"command": command, "machine": machine, "cases": options.cases, "cells": rows}
    (RESULTS / f"taste-{options.taste:g}.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
