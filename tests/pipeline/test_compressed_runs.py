"""Runs whose chosen model is compressed before it is exported."""

import random
from pathlib import Path

import pytest
from little_world import review
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


@pytest.mark.parametrize(
    ("choice", "share"),
    [
        ("all", 0.5),
        pytest.param("prune", 0.5, marks=pytest.mark.slow),
        pytest.param("low_rank", 0.9, marks=pytest.mark.slow),
        pytest.param("quantization_aware", 1.0, marks=pytest.mark.slow),
    ],
)
def test_a_compressed_model_is_what_answers(place: Workplace, choice: str, share: float) -> None:
    assert place.run(f"compression={choice}") == 0, place.err
    report = place.report()
    names = ["prune", "low_rank", "quantization_aware"] if choice == "all" else [choice]
    assert [step.name for step in report.compression] == names
    before, after = report.compression[0].parameters_before, report.compression[-1].parameters_after
    assert after <= share * before
    assert load(place.folder / "exports/small")(["a witty film"])[0].label in ("fresh", "rotten")
    assert {v.variant for v in report.variants if v.model == "student" and v.shipped} == {"fp32", "int8"}
    assert all(v.parity.passed for v in report.variants if v.parity is not None)
    assert place.run(f"compression={choice}") == 0
    assert "nothing has changed" in place.err


def test_a_fine_tuned_classifier_is_compressed_without_a_student_of_its_own(permuted: Path, tmp_path: Path) -> None:
    place = Workplace(tmp_path, [])
    (tmp_path / "texts.txt").write_text("".join(f"{text}\n" for text in texts_of_reviews(200)))
    command = ["compress", str(permuted), "--texts", "texts.txt", "student=whole", "export.max_drop=60", "name=small"]
    recovery = [f"compression.train.{one}" for one in ("steps=30", "evaluations=2", "learning_rates=[2e-3]")]
    others = ["threads=1", "device=cpu", "measure.enabled=false", "export.variants=[fp32]"]
    assert place.distill(*command, "compression=prune", *recovery, *others) == 0, place.err
    report = place.report()
    (step,) = report.compression
    assert step.parameters_after <= step.parameters_before / 2
    student = next(arm for arm in report.arms if arm.name == "soft")
    assert (student.score.value, student.budget, student.agreement) == (1.0, 0, 1.0)
    assert step.before == 1.0
    assert load(place.folder / "exports/small")(["a film"])[0].label in ("rotten", "fresh")


def texts_of_reviews(count: int) -> list[str]:
    generator = random.Random(2)
    return [review(generator)[0] for _ in range(count)]
