"""What the report says of a cascade, and to who puts the student in the teacher's place."""

import dataclasses
import html
import io
import re

import pytest
from example_report import cascade

from distill.report import print_table, render_card, render_html
from distill.report.findings import headline, losses_to_floors, savings
from distill.report.switching import cascade_in_words, cascade_rows, others_in_words, switch_in_words
from distill.results import Figure, FlippedLabel, Report, from_json, to_json

pytestmark = pytest.mark.usefixtures("plots_stay_undrawn")


@pytest.fixture
def report(report: Report) -> Report:
    return dataclasses.replace(report, cascade=cascade())


def page_of(report: Report) -> str:
    """The HTML as plain text on one line."""
    body = render_html(report).partition("</style>")[2]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_a_cascade_is_told_everywhere(report: Report) -> None:
    words = (
        "The int8 student answers; a text whose highest probability is below 0.8125 is asked of the teacher in int8: "
        "20.0 % of test. Accuracy on test: cascade 83.5 %, student alone 80.4 %, teacher 83.8 %; against the teacher "
        "−0.3 points [−0.7, +0.1]. Chosen on validation, where the teacher is asked about 21.0 % and 0.12 points are "
        "lost, at most 0.45 on other texts (0.5 allowed; one-sided 95 % score bound). Expected of a text: p50 latency "
        "2.32 ms, energy 28.1 J per 1,000 texts (estimated); both models take 26.8 MB."
    )
    assert cascade_in_words(report) == words
    stream = io.StringIO()
    print_table(report, stream)
    card = render_card(report).replace("\\", "")
    for page in (stream.getvalue(), page_of(report), card):
        assert words in " ".join(page.split())
    assert "The teacher is the bundle in `larger/`" in card
    assert from_json(Report, to_json(report)) == report


def test_headline_tiles_and_warnings_are_about_the_cascade(report: Report) -> None:
    words = "Accuracy on test: the cascade 83.5 %, its int8 student alone 80.4 %, teacher 84.2 %, linear 73.8 %."
    assert headline(report) == words
    assert savings(report) == ("3.39 times smaller",)  # 90.8 / 26.8; its latency is estimated, the teacher's measured
    page, card = page_of(report), render_card(report)
    assert words in page
    assert "The cascade beside the teacher in fp32: 3.39 times smaller" in page
    assert "accuracy 83.5 % teacher 84.2 %" in page
    assert "files 26.8 MB teacher 90.8 MB" in page
    assert "The cascade beside the teacher in fp32: 3.39 times smaller" in card
    linear = dataclasses.replace(report.arms[0], score=dataclasses.replace(report.arms[0].score, value=0.82))
    below_student = dataclasses.replace(report, arms=(linear, *report.arms[1:]))
    assert losses_to_floors(below_student) == ()
    linear = dataclasses.replace(linear, score=dataclasses.replace(linear.score, value=0.84))
    (warning,) = losses_to_floors(dataclasses.replace(report, arms=(linear, *report.arms[1:])))
    assert warning == "what is shipped loses to linear, which scores 84.0 %: the cascade 83.5 %."
    macro = dataclasses.replace(report, metric="macro_f1")
    assert headline(macro).startswith("Macro F1 on test: the int8 student alone 80.4 %, teacher")


def test_a_file_of_the_teacher_is_not_called_a_student(report: Report) -> None:
    assert report.switch_over is not None
    files = [dataclasses.replace(v, shipped=(v.model, v.variant) == ("teacher", "int8")) for v in report.variants]
    switched = dataclasses.replace(report.switch_over, model="teacher")
    linear = dataclasses.replace(report.arms[0], score=dataclasses.replace(report.arms[0].score, value=0.9))
    chosen = dataclasses.replace(
        report,
        cascade=None,
        variants=tuple(files),
        switch_over=switched,
        arms=(linear, *report.arms[1:]),
    )
    assert "answer from the int8 file of the teacher than from the teacher: 86" in switch_in_words(chosen)
    page = page_of(chosen)
    assert "soft+transfer not shipped" in page
    assert "soft+transfer exported" not in page
    assert losses_to_floors(chosen) == ("what is shipped loses to linear, which scores 90.0 %: teacher int8 83.8 %.",)
    assert switch_in_words(dataclasses.replace(report, switch_over=dataclasses.replace(switched, model="cascade"))) == (
        "144 of 1,600 test texts (9.0 %) get another answer from the cascade than from the teacher: 86 that the "
        "teacher had right, 41 that the cascade has."
    )


def test_what_is_not_measured_is_said_to_be_unavailable(report: Report) -> None:
    assert report.cascade is not None
    nothing = {
        name: Figure(None, unit, "unavailable", "not measured of both models")
        for name, unit in (("latency", "ms"), ("energy", "J per 1,000 texts"))
    }
    without = dataclasses.replace(report, cascade=dataclasses.replace(report.cascade, **nothing))
    assert "Expected of a text: p50 latency unavailable, energy unavailable; both" in cascade_in_words(without)
    assert "unavailable" in page_of(without)


def test_the_two_models_stand_beside_the_cascade_with_their_own_figures(report: Report) -> None:
    rows = {row.name: row for row in cascade_rows(report)}
    assert list(rows) == ["student int8", "teacher int8", "cascade"]
    assert [row.calls for row in rows.values()] == ["0", "100", "20.0"]
    latency = [row.figures[1].value for row in rows.values() if row.figures[1] is not None]
    assert latency == [0.94, 6.9, 2.32]
    assert [round(row.score.value, 3) for row in rows.values()] == [0.804, 0.838, 0.835]


def test_flips_and_thresholds_are_told(report: Report) -> None:
    words = (
        "144 of 1,600 test texts (9.0 %) get another answer from the int8 student than from the teacher: 86 that the "
        "teacher had right, 41 that the student has."
    )
    assert switch_in_words(report) == words
    stream = io.StringIO()
    print_table(report, stream)
    page = page_of(report)
    for shown in (stream.getvalue(), page, render_card(report).replace("\\", "")):
        assert words in " ".join(shown.split())
    assert "negative 820 802 81 50 31 positive 81" in page
    assert "0.5 0.5009 100.0 99.9 84.2 80.4" in page
    assert "0.95 – 0.0 0.0 – –" in page


def test_without_labels_nothing_is_called_right(report: Report) -> None:
    unlabelled = dataclasses.replace(report, metric="agreement")
    assert switch_in_words(unlabelled).endswith("than from the teacher.")
    assert "Agreement with the teacher on test: cascade" in cascade_in_words(unlabelled)
    page = page_of(unlabelled)
    assert "right before" not in page
    assert "0.5 0.5009 100.0 99.9 0.95" in page


def test_labels_beyond_twenty_stand_in_json_alone(report: Report) -> None:
    assert report.switch_over is not None
    labels = tuple(FlippedLabel(f"intent{i}", 30, 30, 30 - i, {"other": 30 - i}, 0, 0) for i in range(30))
    many = dataclasses.replace(report, switch_over=dataclasses.replace(report.switch_over, labels=labels))
    page = page_of(many)
    assert "intent19" in page
    assert "intent20" not in page
    assert "10 more labels with flips stand in report.json" in page
    assert "more labels" not in page_of(report)


def test_a_label_without_flips_takes_no_row(report: Report) -> None:
    assert report.switch_over is not None
    labels = (*report.switch_over.labels, FlippedLabel("neither", 4, 4, 0, {}, 0, 0))
    more = dataclasses.replace(report, switch_over=dataclasses.replace(report.switch_over, labels=labels))
    assert "neither" not in page_of(more)


def test_the_most_frequent_of_the_labels_that_take_its_place() -> None:
    assert others_in_words({"a": 9, "b": 2, "c": 1}) == "a 9, b 2, c 1"
    assert others_in_words({"a": 9, "b": 2, "c": 1, "d": 1}) == "a 9, b 2, c 1, …"


def test_a_report_without_them_says_nothing_of_them(report: Report) -> None:
    neither = dataclasses.replace(report, cascade=None, switch_over=None)
    assert cascade_in_words(neither) == switch_in_words(neither) == ""
    assert cascade_rows(neither) == []
    for shown in (page_of(neither), render_card(neither)):
        assert "Cascade" not in shown
        assert "Switching over" not in shown
