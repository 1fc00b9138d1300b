"""`benchmarks/levers.py` adds one setting a row, and reads each row from the right arm of its run."""

import itertools
import json
import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(BENCHMARKS))
    LEVERS = runpy.run_path(str(BENCHMARKS / "levers.py"))
    sys.modules.pop("runs")


def test_each_row_keeps_what_the_rows_above_it_set() -> None:
    rows = [LEVERS["overrides"](number, 70) for number in range(len(LEVERS["LEVERS"]))]
    assert rows[:4] == [[], [], [], ["train.steps=70"]]
    for before, after in itertools.pairwise(rows[2:-1]):
        assert after[:-1] == before
    assert rows[-1] == [*rows[-2][:-1], "student=thin"]  # in the place of the third layer


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ([], "arms=[linear,hard,soft,soft+transfer]"),
        (["train.steps=70"], "arms=[linear,hard,soft+transfer]"),
        (["train.steps=70", "augment=splice"], "arms=[linear,hard,hard+augmented,soft+transfer]"),
    ],
)
def test_augmented_texts_come_with_their_control(sets: list[str], expected: str) -> None:
    assert LEVERS["arms"](sets) == expected


def test_a_row_shows_the_arm_that_it_is_about() -> None:
    report = json.loads((BENCHMARKS / "results" / "rotten_tomatoes" / "report.json").read_text(encoding="utf-8"))
    of = {lever.arm: LEVERS["cells"](lever, report) for lever in LEVERS["LEVERS"][:3]}
    assert [row[1][:4] for row in of.values()] == ["72.9", "72.5", "76.0"]
    assert of["soft+transfer"][2] == "66 [44, 88]"
    assert of["soft+transfer"][5] == "+3.0 [+1.9, +4.2]"
    assert (of["hard"][5], of["soft"][5].split()[0], of["soft"][6]) == ("–", "-0.5", "–")
