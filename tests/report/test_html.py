import dataclasses
import json
import math
import re
from html.parser import HTMLParser

import pytest
from example_report import example_report

from distill.report import render_html
from distill.results import AttentionMap, Estimate, Inside, Parity, Report, from_json, to_json

VOID = {"meta", "link", "br", "path", "use", "rect"}


class Page(HTMLParser):
    """Elements, text and what is requested; fails where elements do not close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def badges(self, how: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if attributes.get("class") == f"badge {how}"]


@pytest.fixture(scope="module")
def page() -> str:
    """Of the example, drawn once."""
    return render_html(example_report())


def test_what_was_seen_inside_is_drawn_side_by_side() -> None:
    tokens = ("[CLS]", "a", "<b>", "film")
    looks = tuple(tuple(0.7 if i == j else 0.1 for j in range(4)) for i in range(4))
    probes = tuple(Estimate(0.5 + 0.1 * i, 0.45 + 0.1 * i, 0.55 + 0.1 * i, "Wilson") for i in range(3))
    maps = tuple(AttentionMap(f"layer {i}", tokens, tokens, looks) for i in (1, 2))
    inside = (Inside("teacher", maps, probes), Inside("student", maps[:1], probes[:2]))
    text = Page(render_html(dataclasses.replace(example_report(), inside=inside))).text
    assert "What each layer tells of the label" in text
    assert all(title in text for title in ("teacher, layer 1", "teacher, layer 2", "student, layer 1"))
    assert "student, layer 2" not in text
    assert "has no attention" not in text
    blind = (inside[0], Inside("student", (), ()))
    text = Page(render_html(dataclasses.replace(example_report(), inside=blind))).text
    assert "The student has no attention to show." in text
    assert "Inside" not in Page(render_html(example_report())).text


def test_page_asks_nothing_of_the_network(page: str) -> None:
    for tag, attributes in Page(page).elements:
        assert tag not in {"script", "img", "iframe", "object", "embed"}
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
    assert "@import" not in page
    assert "@font-face" not in page
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)]*)", page))


def test_same_report_gives_the_same_page(report: Report, page: str) -> None:
    assert render_html(report) == page


def test_names_are_escaped_everywhere(hostile: Report) -> None:
    page = render_html(hostile)
    assert "<script" not in page
    assert "alert('x')</script>" in Page(page).text


def test_plots_are_drawn_with_the_pages_colours(page: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(drawings) == 4
    assert all("var(--ink)" in drawing for drawing in drawings)
    assert all("<metadata" not in drawing for drawing in drawings)
    assert not re.search(r"#0[1-4]0[1-4]0[1-4]|#0a0a0", page)
    for name in ("soft+transfer", "linear", "teacher"):
        assert any(f">{name}</text>" in drawing for drawing in drawings)


def test_every_figure_says_how_it_was_obtained(page: str) -> None:
    parsed = Page(page)
    estimated = [b["title"] for b in parsed.badges("estimated") if b.get("title")]
    assert estimated.count("CPU seconds x 12 W a core (constant, not a counter)") == 4  # of each file
    assert [b["title"] for b in parsed.badges("unavailable") if b.get("title")].count("no /proc on this system") == 4
    assert len([b for b in parsed.badges("measured") if b.get("title")]) == 4 * 8
    assert "perf_counter, 200 calls after 20 to warm up" in parsed.text


def test_latencies_name_the_length_that_they_are_about(report: Report) -> None:
    for most, shown in ((26, 26), (128, 128), (512, 128)):
        data = dataclasses.replace(report.data, max_length=most)
        page = render_html(dataclasses.replace(report, data=data))
        assert f"latency p50, {shown} tokens" in page
        assert page.count(" tokens<span") == page.count(f", {shown} tokens<span") == 2


def test_fallen_variant_is_shown_with_its_reason(page: str) -> None:
    parsed = Page(page)
    assert "student int4: gate: loses 4.2 points on validation, at most 1.0 allowed" in parsed.text
    assert len([a for _, a in parsed.elements if a.get("class") == "fallen"]) == 1
    assert "gate failed" in parsed.text


@pytest.mark.usefixtures("plots_stay_undrawn")
def test_failed_parity_is_shown_with_its_difference(report: Report) -> None:
    parity = report.variants[0].parity
    assert parity is not None
    broken = dataclasses.replace(
        report.variants[2],
        shipped=False,
        parity=dataclasses.replace(parity, passed=False, max_abs_difference=0.0312, answers_equal=False),
    )
    variants = (*report.variants[:2], broken, *report.variants[3:])
    text = Page(render_html(dataclasses.replace(report, variants=variants))).text
    assert "student fp32: parity: differs from torch by 0.031 (at most 0.0001 allowed), answers not equal" in text


@pytest.mark.usefixtures("plots_stay_undrawn")
def test_a_model_that_could_not_be_exported_shows_why_and_no_difference(report: Report) -> None:
    parity = Parity(False, math.nan, 1e-4, 0, False, "it could not be exported: no such operator")
    variant = dataclasses.replace(report.variants[0], shipped=False, parity=parity)
    text = render_html(dataclasses.replace(report, variants=(variant, *report.variants[1:])))
    assert "it could not be exported: no such operator" in text
    assert "differs by at most nan" not in text
    assert "0 cases" not in text


def test_verdict_intervals_and_data_are_there(page: str) -> None:
    text = " ".join(Page(page).text.split())
    assert "Accuracy on test: the int8 student 80.4 %, teacher 84.2 %, linear 73.8 %." in text
    assert "soft+transfer recovers 60 % [49, 71] of the gap" in text
    assert text.count("80 % power at 2.3 points") == 2  # in the verdict and in the table of contrasts
    assert "1,500labelled" in text.replace(" ", "")
    assert "1,920 plot rows, 41 duplicates" in text
    assert "12 in train, 3 in test" in text
    assert "2.13.0" in text
    assert "hidden_size" in text
    assert "unknown (snippets of reviews, research use)" in text


@pytest.mark.usefixtures("plots_stay_undrawn")
def test_ratio_of_measured_to_estimated_is_left_out(report: Report) -> None:
    student = report.variants[3]
    assert student.measurement is not None
    guess = dataclasses.replace(student.measurement.latency_p50, how="estimated")
    student = dataclasses.replace(student, measurement=dataclasses.replace(student.measurement, latency_p50=guess))
    page = render_html(dataclasses.replace(report, variants=(*report.variants[:3], student, report.variants[4])))
    assert "times faster" in render_html(report)
    assert "times faster" not in page
    assert "times smaller" in page


@pytest.mark.usefixtures("plots_stay_undrawn")
def test_texts_of_the_data_stand_only_in_samples(report: Report) -> None:
    assert "Samples" not in render_html(report)
    shown = dataclasses.replace(report, samples=({"text": "a <b>gorgeous</b> movie", "answer": "positive"},))
    assert "a &lt;b&gt;gorgeous&lt;/b&gt; movie" in render_html(shown)


def test_nothing_known_renders_without_nan(sparse: Report) -> None:
    text = Page(render_html(sparse)).text
    assert not re.search(r"\bnan\b", text, flags=re.IGNORECASE)
    assert "None" not in text


def test_bare_report_without_arms_or_variants_renders(report: Report) -> None:
    bare = dataclasses.replace(report, arms=(), contrasts=(), variants=(), costs=(), warnings=())
    assert "No student is shipped" in Page(render_html(bare)).text


@pytest.mark.parametrize("kind", ["report", "hostile"])
def test_report_is_the_same_after_json(kind: str, request: pytest.FixtureRequest) -> None:
    report = request.getfixturevalue(kind)
    assert from_json(Report, to_json(report)) == report


@pytest.mark.usefixtures("plots_stay_undrawn")
def test_a_report_of_before_tasks_had_words_is_read(report: Report) -> None:
    values = json.loads(to_json(report))
    del values["task_in_words"]
    assert "same answer as the teacher" in Page(render_html(from_json(Report, json.dumps(values)))).text


def test_nan_survives_json_as_nan(sparse: Report) -> None:
    text = to_json(sparse)
    assert "NaN" not in text
    assert to_json(from_json(Report, text)) == text
    assert render_html(from_json(Report, text)) == render_html(sparse)


def test_figures_of_writing_are_shown_where_there_are_some(page: str, plots_stay_undrawn: None) -> None:
    assert "time to first token" not in page
    report = example_report()
    first = next(variant for variant in report.variants if variant.measurement)
    figure = dataclasses.replace(first.measurement.latency_p50, value=12.5, method="of one prompt")
    writes = dataclasses.replace(first, measurement=dataclasses.replace(first.measurement, first_token=figure))
    variants = tuple(writes if variant is first else variant for variant in report.variants)
    shown = Page(render_html(dataclasses.replace(report, variants=variants))).text
    assert "time to first token" in shown
    assert "of one prompt" in shown
    assert "tokens behind one prompt" not in shown
