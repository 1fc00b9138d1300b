"""Runs whose chosen model is compressed before it is exported."""

from pathlib import Path

import pytest
from workplace import Workplace

from distill import load

pytestmark = pytest.mark.usefixtures("measured_here", "plots_stay_undrawn")

SMALL = [
    "student.count=-1",
    "seeds=[0]",
    "train.learning_rates=[2e-3]",
    "compression.train.steps=6",
    "compression.train.evaluations=2",
    "compression.train.learning_rates=[1e-3,2e-3]",
    "arms=[linear,soft]",
    "measure.enabled=false",
    "device=cpu",
    "name=small",
]


@pytest.fixture
def place(tmp_path: Path, overlay: list[str]) -> Workplace:
    return Workplace(tmp_path, [*overlay, *SMALL])


@pytest.mark.parametrize(("choice", "smaller"), [("prune", True), ("quantization_aware", False)])
def test_a_compressed_model_is_what_answers(place: Workplace, choice: str, smaller: bool) -> None:
    assert place.run(f"compression={choice}") == 0, place.err
    report = place.report()
    (step,) = report.compression
    assert step.name == choice
    assert (step.parameters_after <= step.parameters_before / 2) == smaller
    assert load(place.folder / "exports/small")(["a witty film"])[0].label in ("fresh", "rotten")
    assert place.run(f"compression={choice}") == 0
    assert "nothing has changed" in place.err
