import math

import pytest

from distill import formatting
from distill.results import Estimate, Figure, scale_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.0421, "0.0421"),
        (0.9996, "1.00"),
        (9.996, "10.0"),
        (16.34, "16.3"),
        (99.96, "100"),
        (1234.5, "1,234"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_numbers_have_three_digits(value: float | None, text: str) -> None:
    assert formatting.number(value) == text


def test_interval_that_is_missing_leaves_the_value_alone() -> None:
    assert formatting.plus_minus(Estimate(0.8, math.nan, math.nan, "")) == "80.0"
    assert formatting.bounds(Estimate(0.8, math.nan, math.nan, "")) == ""
    assert formatting.plus_minus(Estimate(math.nan, 0.1, 0.2, "")) == "–"
    assert formatting.plus_minus(None) == "–"
    assert formatting.plus_minus(Estimate(1.0, 0.975, 1.0, "")) == "100.0 − 2.5"
    assert formatting.plus_minus(Estimate(0.0, 0.0, 0.02, "")) == "0.0 + 2.0"
    assert formatting.plus_minus(Estimate(-3.1, -3.1, -3.0, ""), scale_of("bits_per_byte")) == "3.100 − 0.100"


def test_unavailable_figure_is_a_dash_and_never_0() -> None:
    assert formatting.figure(Figure(None, "J", "unavailable", "no sensor")) == "–"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.84, "0.8 s"), (59.97, "1 min 00 s"), (252.0, "4 min 12 s"), (7500.0, "2 h 05 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert formatting.duration(seconds) == text


def test_small_negative_differences_keep_their_sign() -> None:
    assert formatting.points(-0.012) == "−1.2"
    assert formatting.points(0.012) == "+1.2"


def test_shortened_name_has_the_width_asked_for() -> None:
    assert formatting.shorten("abcdefghij", 5) == "ab…ij"
    assert formatting.shorten("abc\n def", 10) == "abc def"


def test_a_power_note_is_in_points_and_left_out_where_it_is_not_known() -> None:
    assert formatting.power_note(0.0187) == "80 % power at 1.9 points"
    assert formatting.power_note(None) == formatting.power_note(math.inf) == ""
