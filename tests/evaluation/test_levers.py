"""`benchmarks/levers.py` adds one setting a row, and reads each row from the right arm of its run."""

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


def test_a_row_has_what_paid_above_it() -> None:
    """With scores by hand: steps and cross-fitting pay, augmentation loses, the objective brings nothing."""
    levers = [lever.name for lever in LEVERS["LEVERS"]]
    scores = dict.fromkeys(levers, 0.9) | {"hard": 0.95, "soft labels": 0.95, "+ texts without labels": 0.7}
    scores |= {"+ steps": 0.8, "+ augmentation": 0.75, "+ cross-fitting": 0.85, "+ MSE of logits": 0.85}
    rows: list[list[str]] = []

    def reached(number: int, sets: list[str]) -> float:
        rows.append(sets)
        return scores[levers[number]]

    LEVERS["climb"](70, reached)
    steps, folds = "train.steps=70", "teacher.folds=3"
    assert rows[:3] == [[], [], []]
    assert rows[3:5] == [[steps], [steps, "augment=splice"]]
    assert rows[5:7] == [[steps, folds], [steps, folds, "objective=mse"]]
    assert rows[7:] == [[steps, folds, "student.count=3"], [steps, folds, "student=thin"]]


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
    assert [row[2][:4] for row in of.values()] == ["72.9", "72.5", "76.0"]
    arms = {arm["name"]: arm for arm in report["arms"]}
    for name, row in of.items():
        by_hand = [seed["validation"] for seed in arms[name]["seeds"]]
        assert row[1] == f"{100 * sum(by_hand) / len(by_hand):.1f}"
    assert of["soft+transfer"][3] == "66 [44, 88]"
    assert of["soft+transfer"][6] == "+3.0 [+1.9, +4.2]"
    assert (of["hard"][6], of["soft"][6].split()[0], of["soft"][7]) == ("–", "-0.5", "–")
