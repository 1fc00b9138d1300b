"""The choice of a file by a target: against looking through all of them."""

import math
from typing import Any

import numpy as np
import pytest

from distill.evaluation.choice import choose, front, worse
from distill.results import Estimate, Offer, from_json, to_json


def offer(name: str, drop: float, size: float, latency: float, memory: float = 100.0, half: float = 0.5) -> Offer:
    model, _, variant = name.partition(" ")
    return Offer(model, variant, Estimate(drop, drop - half, drop + half, ""), size, latency, memory)


TEACHER, INT8 = offer("teacher fp32", 0.0, 91.0, 8.0), offer("teacher int8", 0.2, 23.0, 4.0)
STUDENT, SMALL = offer("student fp32", 1.4, 25.0, 3.0), offer("student int8", 1.6, 6.4, 1.0)
ALL = [TEACHER, INT8, STUDENT, SMALL]


@pytest.mark.parametrize(
    ("target", "name", "missed"),
    [
        ({}, "student int8", {}),
        ({"drop": 2.0}, "student int8", {}),
        ({"drop": 1.0}, "teacher int8", {}),
        ({"drop": 0.1}, "teacher fp32", {}),
        ({"size_mb": 30.0}, "student int8", {}),
        ({"drop": 1.5, "latency_ms": 3.5}, "student fp32", {}),
        ({"drop": 0.5, "latency_ms": 5.0}, "teacher int8", {}),
        ({"latency_ms": 5.0}, "student int8", {}),
        ({"drop": 1.0, "size_mb": 10.0}, "student int8", {"drop": 0.6}),
        ({"drop": 0.1, "latency_ms": 2.0}, "teacher int8", {"drop": 0.1, "latency_ms": 2.0}),
        ({"memory_mb": 50.0}, "student int8", {"memory_mb": 50.0}),
    ],
)
def test_the_choice_of_four(target: dict[str, float], name: str, missed: dict[str, float]) -> None:
    found = choose(ALL, target)
    assert found.chosen == name
    assert found.missed == pytest.approx(missed)


def test_a_drop_is_shown_where_the_end_of_its_interval_is_within_the_limit() -> None:
    assert choose([SMALL], {"drop": 2.2}).shown
    assert choose([SMALL], {"size_mb": 10.0}).shown  # none was asked for
    by_estimate = choose([SMALL], {"drop": 2.0})
    assert not by_estimate.missed
    assert not by_estimate.shown


def test_what_could_not_be_measured_meets_no_limit() -> None:
    unmeasured = offer("a b", 0.0, 1.0, math.inf)
    assert choose([unmeasured, INT8], {"latency_ms": 5.0}).chosen == "teacher int8"
    assert choose([unmeasured], {"latency_ms": 5.0}).missed == {"latency_ms": math.inf}
    assert choose([unmeasured, INT8], {"size_mb": 5.0}).chosen == "a b"


def test_what_is_at_its_limit_but_for_rounding_meets_it() -> None:
    lost = 100 * (0.95 - (0.95 - 15 / 750))
    assert lost > 2
    found = choose([offer("student int8", lost, 1.4, 0.1)], {"drop": 2.0})
    assert not found.missed
    assert choose([offer("student int8", 2.001, 1.4, 0.1)], {"drop": 2.0}).missed


def test_a_limit_of_nothing_has_a_distance() -> None:
    assert worse(0.5, 0.0) == 0.5
    assert worse(-0.5, 0.0) == 0
    assert choose([STUDENT, INT8], {"drop": 0.0}).chosen == "teacher int8"


def drawn(generator: Any) -> list[Offer]:
    """Few different figures, so that many are alike."""
    return [offer(f"{i} fp32", *(float(generator.integers(1, 5)) for _ in range(4))) for i in range(7)]


def test_the_front_and_the_choice_are_those_that_every_other_was_held_against() -> None:
    generator = np.random.default_rng(0)
    seen = set()
    for _ in range(200):
        offers = drawn(generator)
        names = [name for name in ("drop", "size_mb", "latency_ms", "memory_mb") if generator.random() < 0.6]
        target = {name: float(generator.integers(0, 5)) for name in names}
        found = choose(offers, target)
        meet = [one for one in offers if all(one.figures[n] <= v for n, v in target.items())]
        seen.add(bool(meet))
        assert (not found.missed) == bool(meet)
        if meet:
            by = "latency_ms" if "latency_ms" in target and "size_mb" not in target else "size_mb"
            own = next(one for one in offers if one.name == found.chosen)
            assert own in meet
            assert own.figures[by] == min(one.figures[by] for one in meet)
        for one in offers:
            a = np.array([one.drop.value, one.size_mb, one.latency_ms])
            beaten = False
            for other in offers:
                b = np.array([other.drop.value, other.size_mb, other.latency_ms])
                beaten |= bool((b <= a).all() and (b < a).any())
            assert (one.name in front(offers)) == (not beaten)
    assert seen == {True, False}


def test_what_is_not_known_is_not_known_after_a_way_through_json_either() -> None:
    read = from_json(Offer, to_json(offer("a b", 0.0, 1.0, math.inf)))
    assert read.figures == {"drop": 0.0, "size_mb": 1.0, "latency_ms": math.inf, "memory_mb": 100.0}
    assert choose([read, INT8], {"latency_ms": 5.0}).chosen == "teacher int8"
