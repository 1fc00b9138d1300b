"""Branch and bound over a ladder whose rungs need no training: what is cut off could not have been chosen."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from distill import ladder as module
from distill.errors import UserError
from distill.evaluation.choice import choose, key_of
from distill.ladder import Trained, bound, climb, hoped_for, ladder, last_doubling, try_rungs
from distill.results import CurvePoint, Estimate, Figure, Offer

RECOVERY = SimpleNamespace(steps=8)
PLAIN, PRUNED = (SimpleNamespace(steps=steps, train=RECOVERY) for steps in ((), ("prune",)))
LIMITS = [{"drop": 2.0, "size_mb": 3.0}, {"drop": 1.0}, {"size_mb": 2.0}, {"latency_ms": 2.0, "drop": 3.0}, {}]


def report_of(
    drop: float, sizes: tuple[float, float], latencies: tuple[float, float], curve: tuple[tuple[int, float], ...]
) -> Any:
    """Of a student in fp32 and int8, and of a teacher that loses nothing."""
    estimate = Estimate(drop, drop - 1, drop + 1, "")
    files = list(zip(("fp32", "int8"), sizes, latencies, strict=True))
    offers = [Offer("student", v, estimate, size, latency, 100.0) for v, size, latency in files]
    offers.append(Offer("teacher", "int8", Estimate(0.0, 0.0, 0.0, ""), 5.0, 6.0, 100.0))
    variants = [
        SimpleNamespace(
            model="student",
            variant=v,
            file_bytes=int(1e6 * size),
            needs=(),
            measurement=SimpleNamespace(
                latency_p50=Figure(latency, "ms", "measured", ""), memory_peak=Figure(100.0, "MB", "measured", "")
            ),
        )
        for v, size, latency in files
    ]
    seeds = (SimpleNamespace(curve=tuple(CurvePoint(step, 0.0, value) for step, value in curve)),)
    arm = SimpleNamespace(name="soft", seeds=seeds, budget=25)
    return SimpleNamespace(
        target=SimpleNamespace(offers=tuple(offers)), variants=variants, exported_arm="soft", arms=[arm], costs=[]
    )


def test_what_two_rungs_have_in_common_ends_the_search_and_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A teacher that has not learnt the task, and rungs that a task does not have."""
    said = iter(["the teacher has not learnt the task"] * 4)

    def refuse(config: Any) -> Any:
        raise UserError(next(said))

    monkeypatch.setattr(module, "run", refuse)
    monkeypatch.setattr(module, "rung_of", lambda config, name, exports: config)
    monkeypatch.setattr(module, "brief", lambda config: config)
    config: Any = SimpleNamespace(train=SimpleNamespace(steps=4), compression=PLAIN)
    rungs: dict[str, tuple[str, ...]] = dict.fromkeys("abcd", ())
    with pytest.raises(UserError, match="has not learnt"):
        try_rungs(lambda sets: config, rungs, "")
    assert len(list(said)) == 2
    assert capsys.readouterr().err.count("has not learnt") == 1
    said = iter("wxyz")
    with pytest.raises(UserError, match="w"):
        try_rungs(lambda sets: config, rungs, "")
    assert not list(said)


def test_what_climbing_finds_is_what_training_everything_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    cut, missed = 0, 0
    for _ in range(200):
        short, whole = [], {}
        for rung in "abcde":
            won = float(generator.uniform(0, 0.03))
            drop = float(generator.uniform(0, 14))
            sizes = tuple(map(float, sorted(generator.integers(1, 9, 2), reverse=True)))
            latencies = tuple(map(float, generator.uniform(1, 9, 2)))
            curve = ((12, 0.7), (25, 0.7 + won))
            regained = float(generator.uniform(0, 2)) * max(100 * won, 0.5)  # no doubling wins more than the last
            noisy = (latencies[0] * 0.8, latencies[1] * 0.8)
            config: Any = SimpleNamespace(name=rung, train=SimpleNamespace(steps=100), compression=PLAIN)
            short.append(Trained(rung, config, report_of(drop, sizes, latencies, curve)))  # type: ignore[arg-type]
            whole[rung] = report_of(drop - regained, sizes, noisy, curve)  # type: ignore[arg-type]
        asked: list[str] = []

        def run(config: Any, whole: dict[str, Any] = whole, asked: list[str] = asked) -> Any:
            asked.append(config.name)
            return SimpleNamespace(report=whole[config.name])

        monkeypatch.setattr(module, "run", run)
        for limits in LIMITS:
            asked.clear()
            full = climb(short, limits)
            assert [one.rung for one in full] == asked
            teacher = module.teachers_of(short[0].report)
            found = choose([*teacher, *(offer for one in full for offer in one.offers)], limits)
            every = [Trained(rung, short[0].config, report) for rung, report in whole.items()]
            best = choose([*teacher, *(offer for one in every for offer in one.offers)], limits)
            assert key_of(found.taken, limits)[:2] == key_of(best.taken, limits)[:2]
            cut += 5 - len(full)
            missed += bool(best.missed)
    assert cut > 1500  # of 5,000
    assert missed > 20


@pytest.mark.parametrize(
    ("curve", "lost"),
    [
        (((5, 0.5), (12, 0.6), (25, 0.61)), 10 - 1 - 4 * 1.0),
        (((12, 0.6), (18, 0.58), (25, 0.59)), 10 - 1 - 4 * 0.5),  # a doubling may always have won half a point
        (((5, 0.5), (12, 0.3), (25, 0.55)), 10 - 1 - 4 * 5.0),
        (((25, 0.9),), -100.0),  # nothing is known of how fast it learns
        ((), -100.0),
    ],
)
def test_hope_is_what_further_doublings_may_win(curve: Any, lost: float) -> None:
    config: Any = SimpleNamespace(name="a", compression=PLAIN)
    fp32, int8 = hoped_for(Trained("a", config, report_of(10.0, (4.0, 1.0), (2.0, 1.0), curve)))
    assert fp32.drop.value == int8.drop.value == pytest.approx(lost)
    assert (fp32.size_mb, int8.size_mb) == (4.0, 1.0)
    assert (fp32.latency_ms, int8.latency_ms) == pytest.approx((1.4, 0.7))
    assert fp32.memory_mb == pytest.approx(95)


def test_a_file_that_fell_at_its_gate_is_hoped_for_and_one_without_files_is_not() -> None:
    config: Any = SimpleNamespace(name="a", compression=PLAIN)
    fallen = report_of(10.0, (4.0, 1.0), (2.0, 1.0), ((12, 0.6), (25, 0.61)))
    fallen.target.offers = tuple(one for one in fallen.target.offers if one.variant == "fp32")
    one = Trained("a", config, fallen)
    assert bound(one, {"size_mb": 3.0}) == (0.0, 1.0, "a int8")
    fallen.variants = []
    assert bound(one, {"size_mb": 3.0})[:2] == (math.inf, math.inf)


def test_the_second_half_is_told_by_steps() -> None:
    arm: Any = report_of(0.0, (1.0, 1.0), (1.0, 1.0), ((10, 0.5), (20, 0.7), (30, 0.6), (40, 0.75))).arms[0]
    assert last_doubling(arm) == pytest.approx(0.05)


def test_the_ladder_of_a_teacher_has_all_of_its_layers_but_the_last() -> None:
    assert list(ladder(4)) == ["static", "LSTM", "1 layer", "2 layers", "3 layers", "thin", "pruned"]
    assert ladder(4)["2 layers"] == ("student=layers", "student.count=2")
    assert list(ladder(0)) == list(ladder(1)) == ["static", "LSTM", "thin", "pruned"]


def test_nothing_is_known_of_how_fast_a_compressed_model_recovers() -> None:
    config: Any = SimpleNamespace(name="a", compression=PRUNED)
    report = report_of(10.0, (4.0, 1.0), (2.0, 1.0), ((12, 0.6), (25, 0.61)))
    assert [offer.drop.value for offer in hoped_for(Trained("a", config, report))] == [-100.0, -100.0]


@pytest.mark.parametrize(
    ("metric", "lost"), [("accuracy", "1.25 points lost"), ("bits_per_byte", "0.0125 bits per byte lost")]
)
def test_a_rung_that_is_cut_off_says_what_it_would_lose_in_the_units_of_the_metric(
    metric: str, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "brief", lambda config: config)
    report = report_of(6.25, (4.0, 1.0), (2.0, 1.0), ((12, 0.6), (25, 0.61)))  # two doublings win two points each
    report.metric = metric
    config: Any = SimpleNamespace(train=SimpleNamespace(steps=100), compression=PLAIN)
    (rung,) = module.rungs_of([Trained("LSTM", config, report)], [], {})
    assert rung.reason.endswith(lost)
