"""What the report says of a model that was compressed before it was exported."""

import dataclasses
import html
import io
import re

import pytest

from distill.report import print_table, render_card, render_html
from distill.report.findings import compression_in_words
from distill.report.rows import summary_rows
from distill.results import CompressionResult, Report, from_json, to_json

pytestmark = pytest.mark.usefixtures("plots_stay_undrawn")

STEP = CompressionResult("prune", "6 of 12 heads a layer", 22_700_000, 11_200_000, 0.842, 0.611, 0.8365, 5e-4)
WORDS = (
    "prune (6 of 12 heads a layer): 22.7 M parameters before, 11.2 M after; accuracy on validation 84.2 % before, "
    "61.1 % behind it, 83.7 % after training on"
)


@pytest.fixture
def compressed(report: Report) -> Report:
    return dataclasses.replace(report, compression=(STEP,))


def test_each_step_is_told_everywhere(compressed: Report, report: Report) -> None:
    stream = io.StringIO()
    print_table(compressed, stream)
    card = render_card(compressed).replace("\\", "")
    for page in (stream.getvalue(), card):
        assert WORDS in " ".join(page.split())
    page = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", render_html(compressed).partition("</style>")[2])).split())
    assert "prune 6 of 12 heads a layer; learning rate 0.0005 22.7 M 11.2 M 84.2 61.1 83.7" in page
    assert f"seed {compressed.exported_seed} is compressed" in page
    assert from_json(Report, to_json(compressed)) == compressed
    as_cut = dataclasses.replace(STEP, recovered=0.611, learning_rate=None)
    compressed = dataclasses.replace(report, compression=(as_cut,))
    assert compression_in_words(compressed) == (
        WORDS.replace("83.7 % after training on", "which no training bettered"),
    )
    assert "6 of 12 heads a layer; no training bettered it" in render_html(compressed)
    assert from_json(Report, to_json(compressed)) == compressed
    assert compression_in_words(report) == ()
    assert "Compression" not in render_html(report)


def test_the_table_tells_the_seed_before_from_the_files_after(compressed: Report, report: Report) -> None:
    rows = summary_rows(compressed)
    assert [row.name for row in rows if row.kind == "seed"] == [f"seed {report.exported_seed}, before compression"]
    assert {row.parameters for row in rows if row.name.startswith("student ")} == {11_200_000}
    assert [row for row in rows if row.name.startswith("teacher ")] == [
        row for row in summary_rows(report) if row.name.startswith("teacher ")
    ]
