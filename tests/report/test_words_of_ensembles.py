"""What the report says of several teachers."""

import dataclasses
import html
import io

import pytest

from distill.report import print_table, render_card, render_html
from distill.report.findings import soft_labels
from distill.results import Ensemble, Report, from_json, to_json

MIXED = Ensemble(("one", "other"), (0.25, 0.75), False, (0.794, 0.8125), 0.8201)


def pages(report: Report) -> list[str]:
    """Terminal, page and model card, as plain text on one line."""
    stream = io.StringIO()
    print_table(report, stream)
    shown = (stream.getvalue(), html.unescape(render_html(report)), render_card(report).replace("\\", ""))
    return [" ".join(page.split()) for page in shown]


def test_who_is_mixed_is_told_everywhere(report: Report, plots_stay_undrawn: None) -> None:
    mixed = dataclasses.replace(report, ensemble=MIXED)
    words = (
        "The teacher is a mixture of 2, the weighted mean of their probabilities: one, weight 0.25, 79.4 % on "
        "validation; other, weight 0.75, 81.2 % on validation. The mixture reaches 82.0 % on validation. It is not "
        "exported as one model, so its size and speed are not measured."
    )
    assert soft_labels(mixed) == words
    assert all(words in page for page in pages(mixed))
    assert from_json(Report, to_json(mixed)).ensemble == MIXED


@pytest.mark.parametrize(("metric", "reached"), [("accuracy", True), ("agreement", False)])
def test_confidence_is_told_and_no_score_where_there_are_no_labels(report: Report, metric: str, reached: bool) -> None:
    words = soft_labels(
        dataclasses.replace(report, metric=metric, ensemble=dataclasses.replace(MIXED, by_confidence=True))
    )
    assert "the weighted mean of their probabilities, times the probability that each gives to its answer: " in words
    assert ("on validation" in words) == reached
