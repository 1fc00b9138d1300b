"""What the three kinds of report say of a run, by its task."""

import dataclasses
import io
import re
from functools import cache

import pytest
import yaml
from example_report import TASKS, example_report, example_report_of
from rich.cells import cell_len

from distill import tasks
from distill.report import compare, print_table, render_card, render_html
from distill.results import Report

AGREEMENT = {
    "text-classification": "same answer as the teacher",
    "token-classification": "same tag as the teacher, word by word",
    "multi-label-classification": "same set of labels as the teacher",
    "regression": "Pearson correlation with the teacher's numbers, × 100",
    "question-answering": "same answer text as the teacher",
    "sentence-embedding": "Pearson correlation with the teacher's similarities, × 100",
}
CORRELATED = ("regression", "sentence-embedding")


def printed(report: Report) -> str:
    stream = io.StringIO()
    print_table(report, stream)
    return stream.getvalue()


def words(page: str) -> str:
    """A page without its markup and drawings."""
    page = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", page).replace("&#39;", "'").split())


@cache
def page_of(task: str) -> str:
    return render_html(example_report_of(task))


def everywhere(task: str) -> dict[str, str]:
    report = example_report_of(task)
    return {
        "terminal": " ".join(printed(report).split()),
        "html": words(page_of(task)),
        "card": " ".join(render_card(report).split()),
    }


@pytest.mark.parametrize("task", TASKS)
def test_every_report_says_what_agreement_is(task: str) -> None:
    for where, text in everywhere(task).items():
        assert AGREEMENT[task] in text, where
        assert "nan" not in text.lower().split(), where


@pytest.mark.parametrize("task", TASKS)
def test_no_task_needs_more_than_100_columns(task: str) -> None:
    assert max(map(cell_len, printed(example_report_of(task)).splitlines())) == 100


@pytest.mark.parametrize("task", TASKS)
def test_correlations_are_never_called_percent(task: str) -> None:
    text = everywhere(task)
    unit = "× 100" if task in CORRELATED else "%"
    assert f"{unit} ± 95 %" in text["terminal"]
    assert f"{unit} ± 95 %" in text["card"]
    assert f"seeds, {unit}" in text["html"]
    score = "80.4 %" if unit == "%" else "80.4"
    for where in ("html", "card"):
        assert f"on test: the int8 student {score}, teacher" in text[where]
    assert ("a correlation, × 100" in text["terminal"]) == (unit == "× 100")
    drawings = page_of(task)
    assert f"on test, {unit}</text>" in drawings
    assert f"on validation, {unit}</text>" in drawings


def test_without_a_linear_arm_no_report_speaks_of_the_gap() -> None:
    for where, text in everywhere("question-answering").items():
        assert not re.search(r"\bgap\b|\blinear\b", text), where
    for where, text in everywhere("regression").items():
        assert re.search(r"\bgap\b.*\blinear\b", text), where


def test_further_metrics_have_a_table_with_an_arm_a_row() -> None:
    page = render_html(example_report())
    table = next(t for t in re.findall(r"<table>.*?</table>", page, re.DOTALL) if "macro F1, %" in t)
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in re.findall(r"<tr.*?</tr>", table, re.S)]
    shown = [[words(cell) for cell in row] for row in rows]
    assert shown[0] == [
        "arm",
        "macro F1, %",
        "negative log-likelihood, nats",
        "out-of-scope AUROC, × 100",
        "calibration error, %",
    ]
    assert shown[1] == ["linear", "73.6", "0.493", "78.8", "4.1"]
    assert [row[0] for row in shown[1:]] == ["linear", "teacher", "hard", "soft", "soft+transfer"]


def test_a_metric_that_one_arm_lacks_is_a_dash() -> None:
    report = example_report_of("regression")
    arms = (dataclasses.replace(report.arms[0], metrics={}), *report.arms[1:])
    text = words(render_html(dataclasses.replace(report, arms=arms)))
    assert "arm Spearman, × 100 linear – teacher 81.1" in text
    assert "calibration error" not in text
    bare = tuple(dataclasses.replace(arm, metrics={}) for arm in report.arms)
    assert "Further metrics" not in words(render_html(dataclasses.replace(report, arms=bare)))


def test_out_of_scope_is_said_of_each_arm_that_has_it() -> None:
    by_arm = "linear 78.8, teacher 89.2, hard 80.1, soft 80.6, soft+transfer 85.1"
    report = example_report()
    assert f"Out of scope (AUROC of the confidence, × 100) • {by_arm}" in " ".join(printed(report).split())
    assert f"Out of scope (AUROC of the confidence, × 100): {by_arm}" in render_card(report)
    assert "50 is chance" in words(render_html(report))
    for where, without in everywhere("regression").items():
        assert "scope" not in without.lower(), where


def test_agreement_as_the_metric_has_the_unit_of_the_task() -> None:
    for task, unit in (("text-classification", "%"), ("sentence-embedding", "× 100")):
        report = dataclasses.replace(example_report_of(task), metric="agreement")
        assert f"{unit} ± 95 %" in printed(report)


def test_runs_of_several_metrics_are_compared_in_points() -> None:
    stream = io.StringIO()
    compare([example_report_of("text-classification"), example_report_of("regression")], stream)
    text = stream.getvalue()
    assert max(map(cell_len, text.splitlines())) == 100
    assert "× 100 ± 95 %" in text
    assert "accuracy, Pearson" in text
    assert "scores are not comparable" in " ".join(text.split())


@pytest.mark.parametrize(
    ("task", "tag"),
    [
        ("text-classification", "text-classification"),
        ("multi-label-classification", "text-classification"),
        ("regression", "text-classification"),
        ("token-classification", "token-classification"),
        ("question-answering", "question-answering"),
        ("sentence-embedding", "sentence-similarity"),
    ],
)
def test_the_hub_knows_what_the_model_is_for(task: str, tag: str) -> None:
    head = yaml.safe_load(render_card(example_report_of(task)).split("---\n")[1])
    assert head["pipeline_tag"] == tag


@pytest.mark.parametrize(
    ("task", "line"),
    [
        ("text-classification", 'distill predict FOLDER "text"'),
        ("token-classification", 'distill predict FOLDER "the words of a sentence"'),
        ("regression", """distill predict FOLDER --input json '{"text": "first text", "text_pair": "second text"}'"""),
        (
            "question-answering",
            """distill predict FOLDER --input json """
            """'{"question": "a question", "context": "the passage to find the answer in"}'""",
        ),
    ],
)
def test_predict_is_shown_with_the_input_of_the_task(task: str, line: str) -> None:
    assert f"\n{line}\n" in render_card(example_report_of(task))


def test_long_texts_are_read_in_windows_or_cut() -> None:
    windows = {
        "question-answering": "passages in windows that share 64",
        "token-classification": "texts in windows that share 16",
    }
    for task in TASKS:
        card = " ".join(render_card(example_report_of(task)).split())
        page = words(page_of(task))
        assert (windows.get(task, "Texts are cut at 64 tokens") + (" tokens" if task in windows else "")) in card
        assert ("cut at" in card) != (task in windows)
        assert ("64 tokens a window" in page) == (task in windows)


def test_embeddings_are_cut_even_where_a_stride_is_set() -> None:
    task = tasks.build("sentence-embedding", (), windows=tasks.Windows(16))
    card = render_card(
        dataclasses.replace(example_report_of("sentence-embedding"), task_in_words=task.in_words(True, 64))
    )
    assert "Texts are cut at 64 tokens." in card
    assert "window" not in card


def test_labels_are_listed_where_there_are_some() -> None:
    assert "Labels: anger, joy, relief." in render_card(example_report_of("multi-label-classification"))
    assert "Labels:" not in render_card(example_report_of("regression"))
    assert "<dt>labels</dt>" in page_of("multi-label-classification")
    assert "<dt>labels</dt>" not in page_of("regression")
