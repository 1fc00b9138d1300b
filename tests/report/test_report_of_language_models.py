"""Bits per byte and perplexity are better the lower they are: people read them without the minus that they are stored
with."""

import dataclasses
import io
import json
import re
import runpy
from functools import cache
from pathlib import Path

import pytest
from example_report import arm, example_report
from rich.cells import cell_len

from distill import tasks
from distill.export.gate import gate
from distill.report import compare, print_table, render_card, render_html
from distill.results import Contrast, CurvePoint, Estimate, Report, VariantResult, from_json, scale_of, to_json

SCORES = {
    "bits_per_byte": {"teacher": -0.845, "hard": -0.943, "soft": -0.912},
    "perplexity": {"teacher": -17.2, "hard": -23.4, "soft": -21.3},
}
HALF_WIDTH = {"bits_per_byte": 0.004, "perplexity": 0.6}
HALF_SPREAD = {"bits_per_byte": 0.002, "perplexity": 0.3}
FURTHER = {"perplexity": -21.3, "next_token_accuracy": 0.412}


def language_report(metric: str = "bits_per_byte") -> Report:
    """A run with a teacher and two arms; int8 of the student fell."""
    report, scores, half_width = example_report(), SCORES[metric], HALF_WIDTH[metric]

    def estimate(value: float) -> Estimate:
        return Estimate(value, value - half_width, value + half_width, "t interval over 3 seeds x 1,600 texts")

    arms = []
    for name, value in scores.items():
        spread = (0.0,) if name == "teacher" else (-HALF_SPREAD[metric], 0.0, HALF_SPREAD[metric])
        one = arm(name, "", [value + by for by in spread], 3_412_000, None, None, 1500)
        seeds = tuple(
            dataclasses.replace(
                seed,
                validation=1.1 * seed.test,
                curve=tuple(CurvePoint(step, 1.0, seed.test * (1 + 30 / step)) for step in (100, 200, 300)),
            )
            for seed in one.seeds
        )
        arms.append(
            dataclasses.replace(
                one,
                seeds=seeds,
                candidates=(dataclasses.replace(one.candidates[0], validation=1.2 * value),),
                score=estimate(value),
                agreement=None if name == "teacher" else 0.713,
                calibration_error=None,
                metrics={name: value for name, value in FURTHER.items() if name != metric},
            )
        )
    better = scores["soft"] - scores["hard"]
    difference = Estimate(better, 22 / 31 * better, 40 / 31 * better, "paired t interval")
    drop = Estimate(5 * half_width, 2 * half_width, 8 * half_width, "paired t interval")
    variants: list[VariantResult] = []
    for variant in report.variants[:4]:
        value = scores["teacher" if variant.model == "teacher" else "soft"]
        fallen = (variant.model, variant.variant) == ("student", "int8")
        checked = gate(drop, 0.97, 1.0, scale_of(metric)) if fallen else None
        shipped = variant.shipped and not fallen
        variants.append(dataclasses.replace(variant, score=estimate(value), gate=checked, shipped=shipped))
    return dataclasses.replace(
        report,
        name="language",
        task="language-modelling",
        metric=metric,
        labels=(),
        arms=tuple(arms),
        contrasts=(
            Contrast(
                "soft", "hard", True, difference, 0.0002, "paired t test", "soft is better than hard", 3 * half_width
            ),
        ),
        exported_arm="soft",
        variants=tuple(variants),
        warnings=(),
        data=dataclasses.replace(report.data, majority_share=None),
        task_in_words=tasks.build("language-modelling", ()).in_words(False, 64),
    )


def printed(report: Report) -> str:
    stream = io.StringIO()
    print_table(report, stream)
    return stream.getvalue()


def with_gate(drop: float, tokens: float) -> Report:
    """int8 of the student lost so much, and found so many tokens as fp32 did."""
    report = language_report()
    checked = gate(Estimate(drop, drop - 0.002, drop + 0.002, ""), 0.97, 1.0, report.scale, tokens, 0.9)
    return dataclasses.replace(
        report, variants=(*report.variants[:3], dataclasses.replace(report.variants[3], gate=checked))
    )


@pytest.mark.parametrize(
    ("drop", "tokens", "missed"),
    [
        (0.004, 0.8731, "too many tokens differ"),
        (0.02, 0.97, "too much of the score is lost"),
        (0.02, 0.8731, "too much of the score is lost, and too many tokens differ"),
    ],
)
@pytest.mark.usefixtures("plots_stay_undrawn")
def test_a_report_says_which_condition_of_the_gate_a_variant_missed(drop: float, tokens: float, missed: str) -> None:
    report = with_gate(drop, tokens)
    read = from_json(Report, to_json(report))
    text = f"{missed}: loses {drop:.4f} bits per byte against fp32 on validation, 0.01 allowed; "
    share = f"finds the same token most likely as fp32 at {100 * tokens:.2f} % of the tokens, at least 90 % asked"
    for page in (printed(read), render_card(read).replace("\\", "")):
        assert f"gate: {text}" in " ".join(page.split())
        assert share in " ".join(page.split())
    html = words(render_html(read))
    assert html.count(text) == 2  # above, and in the table of variants
    assert html.count(share) == 2


def words(page: str) -> str:
    """A page without its markup and drawings."""
    page = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", page).replace("&#39;", "'").split())


@cache
def everywhere(metric: str = "bits_per_byte") -> dict[str, str]:
    report = language_report(metric)
    return {
        "terminal": " ".join(printed(report).split()),
        "html": words(render_html(report)),
        "card": " ".join(render_card(report).replace("\\", "").split()),
    }


def test_scores_stand_without_minus_and_not_times_100() -> None:
    for where, text in everywhere().items():
        assert "0.912" in text, where
        assert not re.search(r"[-−](0\.[89]|[89]\d\.\d|21\.3)|\b(91\.2|84\.5)\b", text), where
        assert "lower is better" in text, where
        assert "nan" not in text.lower().split(), where
    text = printed(language_report())
    assert max(map(cell_len, text.splitlines())) == 100
    assert "soft 0.912 ± 0.004 71.3 800" in everywhere()["terminal"]
    assert re.search(r"bits per byte +agree", text)
    assert re.search(r"\n +± 95 % ", text)
    assert "| soft | 0.912 ± 0.004 | 71.3 |" in everywhere()["card"]
    assert "| | bits per byte ± 95 % | agreement, % |" in everywhere()["card"]


def test_the_headline_says_that_lower_is_better() -> None:
    for where in ("html", "card"):
        assert "Bits per byte (lower is better) on test: the fp32 student 0.912, teacher 0.845." in everywhere()[where]


def test_a_better_arm_has_a_difference_below_0_and_the_interval_its_lower_end_first() -> None:
    found = "−0.031 bits per byte [−0.040, −0.022]"
    for where, text in everywhere().items():
        assert found in text, where
        assert "soft is better than hard" in text, where
        assert "80 % power at 0.012 bits per byte" in text, where
    assert f"soft is better than hard ({found}, p < 0.001; 80 %" in everywhere()["terminal"]


def test_what_a_variant_loses_is_above_0() -> None:
    reason = (
        "gate: loses 0.0200 bits per byte against fp32 on validation, 0.01 allowed; "
        "95 % interval of the loss 0.0080 to 0.0320"
    )
    for where, text in everywhere().items():
        assert reason in text, where
    assert everywhere()["html"].count("0.0080 to 0.0320") == 2  # above the tables, and in the row: not twice there


def test_the_page_shows_arms_seeds_and_further_metrics() -> None:
    text = everywhere()["html"]
    assert "0.912 [0.908, 0.916]" in text
    assert "parameters texts steps seeds teacher" in text
    assert "0.914 · 0.912 · 0.910" in text
    assert "arm perplexity next-token accuracy, % teacher 21.3 41.2 hard 21.3 41.2" in text
    assert "validation test best step" in text
    assert "gave 1.094 on validation" in text
    assert "bits per byte 0.912 teacher 0.845" in text  # the tile
    assert "calibration" not in text
    assert not re.search(r"\bgap\b|\blinear\b", text)


def test_drawings_go_down_where_lower_is_better() -> None:
    page = render_html(language_report())
    assert "further left and down is better" in page
    drawings = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", "".join(drawings))
    assert "bits per byte on test" in texts
    assert "bits per byte on validation" in texts
    assert [text for text in texts if text.startswith(("−", "-"))] == []
    assert max(float(text) for text in texts if re.fullmatch(r"0\.\d+|\d\.\d+", text)) < 1.3


def test_perplexity_as_the_metric() -> None:
    text = everywhere("perplexity")
    assert "soft 21.3 ± 0.6 71.3" in text["terminal"]
    assert "(−2.1 in perplexity [−2.7, −1.5], p < 0.001; 80 % power at 1.8 in perplexity)" in text["terminal"]
    assert "Perplexity (lower is better) on test: the fp32 student 21.3, teacher 17.2." in text["html"]
    assert "arm next-token accuracy, % teacher 41.2" in text["html"]
    assert "loses 3.00 in perplexity against fp32 on validation, 0.01 allowed" in text["card"]


def test_no_difference_has_no_minus() -> None:
    report = language_report()
    alike = dataclasses.replace(report.contrasts[0], difference=Estimate(0.0, -0.01, 0.01, ""))
    text = printed(dataclasses.replace(report, contrasts=(alike,)))
    assert "+0.000 bits per byte [−0.010, +0.010]" in " ".join(text.split())


@pytest.mark.parametrize(
    ("others", "header", "scores"),
    [
        ([], r"linear +teacher +exported +gap", "Scores on test (bits per byte);"),
        (["accuracy"], r"\n +± 95 %", "Scores on test (bits per byte, accuracy %);"),
        (["pearson", "accuracy"], r"\n +± 95 %", "Scores on test (bits per byte, Pearson × 100, accuracy %);"),
    ],
)
def test_runs_side_by_side_each_in_its_own_unit(others: list[str], header: str, scores: str) -> None:
    stream = io.StringIO()
    compare([language_report(), *(dataclasses.replace(example_report(), metric=one) for one in others)], stream)
    text = stream.getvalue()
    assert max(map(cell_len, text.splitlines())) == 100
    assert re.search(header, text)
    flat = " ".join(text.split())
    assert scores in flat
    assert "language – 0.845 0.912 ± 0.004 – 0.912 fp32" in flat
    assert ("73.8 84.2 80.1 ± 1.4 60 80.4" in flat) == bool(others)


def test_the_table_of_benchmarks_has_no_gap_without_linear() -> None:
    row = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "table.py"))["row"]
    report = json.loads(to_json(language_report()))
    report["arms"].append({**report["arms"][2], "name": "soft+transfer"})
    report["contrasts"].append({**report["contrasts"][0], "arm": "soft+transfer"})
    assert row(report, "rnn").startswith("| rnn | 0.943 | 0.912 | 0.912 | **−0.031 [−0.040, −0.022]** |")


def test_json_keeps_the_minus() -> None:
    report = language_report()
    assert json.loads(to_json(report))["arms"][2]["score"]["value"] == -0.912
    assert from_json(Report, to_json(report)) == report
