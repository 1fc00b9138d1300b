import math

import pytest

from distill.export.gate import gate
from distill.results import PERCENT, Estimate, Gate, from_json, scale_of, to_json


def test_a_variant_within_the_limit_passes() -> None:
    drop = Estimate(0.004, -0.002, 0.009, "paired bootstrap")
    assert gate(drop, 0.97, 1.0) == Gate(
        True,
        drop,
        0.01,
        0.97,
        "loses 0.40 points against fp32 on validation, 1 allowed; 95 % interval of the loss −0.20 to 0.90",
    )


def test_a_variant_below_the_limit_falls_and_the_reason_says_by_how_much() -> None:
    result = gate(Estimate(0.021, 0.011, 0.031, "paired bootstrap"), 0.9, 1.0)
    assert not result.passed
    assert result.reason.startswith("loses 2.10 points against fp32 on validation, 1 allowed")


def test_the_limit_is_in_points_and_itself_allowed() -> None:
    assert gate(Estimate(0.01, 0.01, 0.01, ""), 1.0, 1.0).passed
    rounded = 0.97 - (0.97 - 3 / 300)
    assert rounded > 0.01
    assert gate(Estimate(rounded, rounded, rounded, ""), 1.0, 1.0).passed
    assert "not ruled out" not in gate(Estimate(rounded, rounded, rounded, ""), 1.0, 1.0).reason
    assert not gate(Estimate(0.0101, 0.0, 0.01, ""), 1.0, 1.0).passed


def test_a_pass_that_few_examples_support_says_so() -> None:
    result = gate(Estimate(0.005, -0.01, 0.02, ""), 0.95, 1.0)
    assert result.passed
    assert result.reason.endswith("so a loss of more than allowed is not ruled out")


def test_a_variant_that_scores_better_gains() -> None:
    assert gate(Estimate(-0.003, -0.01, 0.004, ""), 0.98, 1.0).reason.startswith("gains 0.30 points")


def test_one_text_gives_no_interval() -> None:
    result = gate(Estimate(0.0, -math.inf, math.inf, ""), 1.0, 1.0)
    assert result.passed
    assert "inf" not in result.reason
    assert "one text, no interval, so a loss of more than allowed is not ruled out" in result.reason


def test_a_point_of_bits_per_byte_is_a_hundredth_of_one() -> None:
    worse = gate(Estimate(0.021, 0.011, 0.031, ""), 0.9, 1.0, scale_of("bits_per_byte"))
    assert not worse.passed
    assert worse.max_drop == 0.01
    allowed = "loses 0.0210 bits per byte against fp32 on validation, 0.01 allowed"
    assert worse.reason == f"{allowed}; 95 % interval of the loss 0.0110 to 0.0310"
    better = gate(Estimate(-0.3, -0.5, 0.1, ""), 0.9, 25.0, scale_of("perplexity"))
    assert better.passed
    assert better.reason.startswith("gains 0.30 in perplexity against fp32 on validation, 0.25 allowed; ")


KEEPS, LOSES = Estimate(0.004, -0.002, 0.009, ""), Estimate(0.021, 0.011, 0.031, "")


@pytest.mark.parametrize(
    ("drop", "tokens", "kept"),
    [
        (KEEPS, 0.97, (True, True)),
        (KEEPS, 0.87, (True, False)),
        (LOSES, 0.97, (False, True)),
        (LOSES, 0.87, (False, False)),
        (KEEPS, 0.9, (True, True)),  # the limit itself is allowed
    ],
)
def test_a_model_that_writes_keeps_its_score_and_its_tokens(
    drop: Estimate, tokens: float, kept: tuple[bool, bool]
) -> None:
    result = gate(drop, 0.5, 1.0, PERCENT, tokens, 0.9)
    assert (result.keeps_score, result.keeps_tokens) == kept
    assert result.passed == all(kept)
    assert result.reason.endswith(
        f"; finds the same token most likely as fp32 at {100 * tokens:.2f} % of the tokens, at least 90 % asked"
    )
    assert from_json(Gate, to_json(result)) == result


def test_tokens_that_nobody_asks_for_decide_nothing() -> None:
    for tokens, least in ((None, None), (0.1, None), (None, 0.9)):
        result = gate(KEEPS, 0.5, 1.0, PERCENT, tokens, least)
        assert result.passed
        assert "tokens" not in result.reason


def test_a_gate_that_was_written_before_tokens_were_asked_for_is_read() -> None:
    drop = '{"value": 0.021, "low": 0.011, "high": 0.031, "method": ""}'
    old = f'{{"passed": false, "drop": {drop}, "max_drop": 0.01, "agreement": 0.9, "reason": "loses 2.10 points"}}'
    assert from_json(Gate, old) == Gate(False, LOSES, 0.01, 0.9, "loses 2.10 points", None, None)
