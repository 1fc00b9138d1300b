"""What a report and the terminal say of a target, and of the search for it."""

import dataclasses
import io
import math

import pytest

from distill.report import missed_in_words, print_search, render_card, render_html
from distill.report.target import front_in_words, target_in_words
from distill.report.tradeoffs import drop_against_latency, drop_against_size
from distill.results import Estimate, Offer, Report, Rung, Search, TargetResult, from_json, scale_of, to_json

PERCENT, BITS = scale_of("accuracy"), scale_of("bits_per_byte")


def offer(name: str, drop: float, megabytes: float, latency: float = 1.0) -> Offer:
    model, _, variant = name.rpartition(" ")
    return Offer(model, variant, Estimate(drop, drop - 0.5, drop + 0.5, ""), megabytes, latency, 100.0)


OFFERS = (offer("teacher int8", 0.2, 23.0), offer("2 layers int8", 1.25, 6.4), offer("2 layers fp32", 1.25, 25.0))
MORE = (*OFFERS, offer("a gain int8", -0.8, 30.0))
MET = TargetResult({"drop": 2.0, "size_mb": 10.0}, MORE, "2 layers int8", {}, True, ("2 layers int8", "teacher int8"))
RUNGS = (
    Rung("LSTM", "short", "cut off after 375 steps: at best 1 MB", (offer("LSTM int8", 9.0, 1.0),), 30.0),
    Rung("2 layers", "full", "", OFFERS[1:], 90.0),
    Rung("thin", "failed", "it has no heads", (), 0.0),
)
SEARCH = Search("compress-x", "accuracy", MET, RUNGS, 130.0, 120.0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "The target is met by 2 layers int8."),
        ({"shown": False}, "met by 2 layers int8 by the estimate, not shown: the interval's end is beyond"),
        ({"missed": {"drop": 0.25}, "limits": {"drop": 1.0}}, "1 allowed: missed by 0.25 points"),
        ({"missed": {"drop": 0.25}}, "The target is not met; the nearest is 2 layers int8."),
        ({}, "6.40 MB, 10 allowed: met"),
        (
            {},
            "loses 1.25 points against the teacher on validation, 95 % interval of the loss 0.75 to 1.75, 2 allowed: "
            "met",
        ),
        (
            {"chosen": "a gain int8"},
            "gains 0.80 points against the teacher on validation, 95 % interval of the loss −1.30",
        ),
        ({"missed": {"size_mb": 1.4}, "limits": {"size_mb": 5.0}}, "6.40 MB, 5 allowed: missed by 1.40 MB"),
        ({"missed": {"latency_ms": math.nan}, "limits": {"latency_ms": 5.0}}, "5 allowed: missed by what is not known"),
        ({"floors": {"linear": 0.5}}, "ship that: a linear model on TF-IDF"),
        ({"floors": {"static": 0.5}}, "averaged token vectors (student=static) loses 0.50 points"),
    ],
)
def test_each_limit_is_said_to_be_met_or_by_how_much_it_is_missed(changes: dict[str, object], said: str) -> None:
    words = target_in_words(dataclasses.replace(MET, **changes), PERCENT)  # type: ignore[arg-type]
    assert any(said in sentence for sentence in words), words


def test_a_drop_is_told_in_the_units_of_its_metric() -> None:
    assert "loses 0.0125 bits per byte against" in target_in_words(MET, BITS)[1]
    assert "interval of the loss 0.0075 to 0.0175, " in target_in_words(MET, BITS)[1]
    assert "0.02 allowed: met" in target_in_words(MET, BITS)[1]
    assert front_in_words(MET, BITS)[0] == "2 layers int8 (0.0125 bits per byte, 6.40 MB, 1.00 ms)"


def test_nothing_is_said_without_a_target_nor_of_a_miss_where_it_is_met() -> None:
    assert target_in_words(None, PERCENT) == ()
    assert missed_in_words(None, PERCENT) == missed_in_words(MET, PERCENT) == ""
    missed = dataclasses.replace(MET, missed={"drop": 0.25}, limits={"drop": 1.0})
    assert missed_in_words(missed, PERCENT) == (
        "target not met: the nearest is 2 layers int8: loses 1.25 points against the teacher on validation, 95 % "
        "interval of the loss 0.75 to 1.75, 1 allowed: missed by 0.25 points. "
        "Front (drop, size, latency): 2 layers int8 (1.25 points, 6.40 MB, 1.00 ms); "
        "teacher int8 (0.20 points, 23.0 MB, 1.00 ms)"
    )


def test_a_search_shows_every_rung_on_the_terminal() -> None:
    stream = io.StringIO()
    print_search(SEARCH, stream)
    lines = stream.getvalue().splitlines()
    assert all(len(line) <= 100 for line in lines)
    rows = {line[:14].strip(): line.split() for line in lines}
    assert rows["2 layers int8"][3:] == ["fully", "1.25", "0.75", "to", "1.75", "6.40", "1.00", "100", "chosen"]
    assert rows["2 layers fp32"][-1] == "100"
    assert rows["teacher int8"][-1] == "front"
    assert rows["LSTM int8"][2:4] == ["a", "quarter"]
    assert " • LSTM: cut off after 375 steps: at best 1 MB" in lines
    assert " • thin: it has no heads" in lines
    assert lines[-1] == "This search took 2 min 10 s; all trainings of students 2 min 00 s."


def test_a_search_stands_in_the_report_that_it_led_to(report: Report) -> None:
    found = dataclasses.replace(report, target=MET, search=SEARCH)
    page = render_html(found)
    assert "<h2>Search</h2>" in page
    assert page.count("cut off after 375 steps") == 1
    assert "Drop against size" in page
    assert "<h2>Search</h2>" not in render_html(report)
    assert from_json(Report, to_json(found)) == found
    assert "The target is met by 2 layers int8." in render_card(found)


def test_plots_of_a_search_show_what_was_measured() -> None:
    of_size = drop_against_size(SEARCH)
    assert of_size is not None
    assert of_size.svg.count(">target<") == 1
    assert all(f">{name}<" in of_size.svg for name in ("teacher", "LSTM", "2 layers"))
    unmeasured = dataclasses.replace(
        SEARCH,
        target=dataclasses.replace(MET, offers=tuple(dataclasses.replace(o, latency_ms=math.nan) for o in OFFERS)),
        rungs=(),
    )
    assert drop_against_latency(unmeasured) is None
