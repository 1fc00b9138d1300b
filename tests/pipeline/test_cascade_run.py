"""A run with a cascade, by its commands: the bundle answers with both models, and the report tells what they cost."""

import json

import pytest
from workplace import Copier, Workplace

pytestmark = pytest.mark.usefixtures("measured_here", "plots_stay_undrawn")

UNTRAINED = ("cascade.max_drop=25", "student=lstm", "train.steps=2", "train.learning_rates=[1e-4]", "name=both")


@pytest.mark.slow
def test_a_student_that_learnt_little_asks_its_teacher(finished: Workplace, copy: Copier) -> None:
    place = copy(finished)
    place.overrides = [one for one in place.overrides if not one.startswith("student.")]
    assert place.run(*UNTRAINED) == 0, place.err
    assert "Cascade" in place.out
    assert "Switching over" in place.out
    report = place.report("both")
    found = report.cascade
    assert found is not None
    assert 0 < found.validation_calls < 1
    variants = {(v.model, v.variant): v.measurement for v in report.variants}
    small, larger = variants["student", found.small], variants["teacher", found.larger]
    assert small is not None
    assert larger is not None
    for one, of_small, of_larger in (
        (found.latency, small.latency_p50, larger.latency_p50),
        (found.energy, small.energy, larger.energy),
    ):
        assert of_small.value is not None
        assert of_larger.value is not None
        assert one.how == "estimated"
        assert one.value == pytest.approx(of_small.value + found.calls.value * of_larger.value)
    assert place.distill("evaluate", "exports/both", "--data", "test.csv", "--json") == 0
    told = json.loads(place.out)
    assert told["scores"]["accuracy"]["value"] == pytest.approx(found.score.value)
    texts = [row["text"] for row in place.rows["test"]]
    assert place.distill("predict", "exports/both", "--json", *texts) == 0
    models = [json.loads(line)["model"] for line in place.out.splitlines()]
    assert models.count("larger") == round(found.calls.value * len(texts))
    assert place.distill("measure", "exports/both", "--variant", "int8", "--seconds", "0.02") == 0
    share = f"which it asks about {100 * found.validation_calls:.0f} % of the texts"
    assert "the student alone is measured; the larger model, " + share in place.err
    assert place.distill("measure", "exports/both/larger", "--seconds", "0.02") == 0
    before = place.report("both")
    assert place.run(*UNTRAINED) == 0
    assert "nothing has changed since the last run" in place.err
    assert place.report("both") == before


def test_what_cannot_be_a_cascade_is_refused_before_anything_is_read(finished: Workplace, copy: Copier) -> None:
    place = copy(finished)
    assert place.run("cascade.max_drop=0.5", "task=token_classification", "data.train.path=nowhere") == 2
    assert "does not give a text one label" in place.err
    assert place.run("cascade.most=0.5") == 2
    assert "unknown key 'cascade.most'; known: max_drop" in place.err
