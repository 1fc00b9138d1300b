"""What the report says of soft labels that are out of fold."""

import dataclasses
import html
import io

import pytest

from distill.report import print_table, render_card, render_html
from distill.report.findings import soft_labels
from distill.results import CrossFitting, Report, from_json, to_json

OUT_OF_FOLD = CrossFitting(3, out_of_fold=0.764, in_fold=0.962, validation=0.799, teacher_validation=0.7941)


def pages(report: Report) -> list[str]:
    """Terminal, page and model card, as plain text on one line."""
    stream = io.StringIO()
    print_table(report, stream)
    shown = (stream.getvalue(), html.unescape(render_html(report)), render_card(report).replace("\\", ""))
    return [" ".join(page.split()) for page in shown]


def test_that_they_are_out_of_fold_is_told_everywhere_with_what_it_changes(
    report: Report, plots_stay_undrawn: None
) -> None:
    crossed = dataclasses.replace(report, cross_fitting=OUT_OF_FOLD)
    words = (
        "Out of fold (cross-fitting, 3 folds): each labelled training text has the soft label of a teacher that did "
        "not learn it, every other text the mean of 3 teachers. Agreement with the data's labels on the labelled "
        "training texts (accuracy): 76.4 %; of the teacher that learnt them all: 96.2 %. On validation: 79.9 % the "
        "mean, 79.4 % that teacher."
    )
    assert soft_labels(crossed) == words
    assert all(words in page for page in pages(crossed))
    assert from_json(Report, to_json(crossed)).cross_fitting == OUT_OF_FOLD


def test_nothing_is_told_where_students_learn_from_the_teacher(report: Report, plots_stay_undrawn: None) -> None:
    assert not any("Out of fold" in page for page in pages(report))


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("spearman", "training texts (Spearman correlation × 100): 76.4; of the teacher"),
        ("entity_f1", "training texts (entity F1): 76.4 %; of the teacher"),
    ],
)
def test_scores_are_told_in_the_words_of_their_metric(metric: str, words: str, report: Report) -> None:
    assert words in soft_labels(dataclasses.replace(report, metric=metric, cross_fitting=OUT_OF_FOLD))
