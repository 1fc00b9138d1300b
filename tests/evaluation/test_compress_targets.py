"""`benchmarks/compress_targets.py` holds what a search chose against what training every rung would have chosen."""

import argparse
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from distill.results import Estimate, Offer, Rung, Search, TargetResult


def offer(model: str, variant: str, drop: float, size: float) -> Offer:
    return Offer(model, variant, Estimate(drop, drop - 1, drop + 1, ""), size, 2.5, 100.0)


TEACHER, SMALL, LARGE = (
    offer("teacher", "int8", 0.0, 20.0),
    offer("LSTM", "int8", 3.0, 2.0),
    offer("thin", "int8", 1, 9),
)


@pytest.fixture
def module(benchmark: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return benchmark("compress_targets")


def test_a_row_tells_what_was_chosen_of_some_and_of_all(module: ModuleType) -> None:
    every = [
        SimpleNamespace(report=SimpleNamespace(target=SimpleNamespace(offers=(TEACHER,))), offers=(SMALL,)),
        SimpleNamespace(report=None, offers=(LARGE,)),
    ]
    of_all = module.chosen_of(every, {"drop": 2.0})
    assert of_all.chosen == "thin int8"
    rungs = (Rung("LSTM", "short", "cut off"), Rung("thin", "full"))
    result = TargetResult({"drop": 2.0}, (TEACHER, LARGE), "thin int8", {}, False, ())
    found = Search("targets-1", "accuracy", result, rungs, 600.0, 300.0)
    told = [
        "drop=2",
        "by the estimate",
        "thin int8",
        "1.00",
        "9.00",
        "2.50",
        "1 of 2",
        "5.0",
        "thin int8",
        "8.0",
        "yes",
    ]
    assert module.row("drop=2", found, of_all, 8.0) == told
    missed = TargetResult({"drop": 2.0}, (TEACHER, SMALL), "LSTM int8", {"drop": 1.0}, False, ())
    told = module.row("drop=2", Search("targets-1", "accuracy", missed, rungs, 600.0, 300.0), of_all, 8.0)
    assert (told[1], told[-1]) == ("no: drop by 1", "no")


def test_each_search_has_a_name_and_a_target_of_its_own(module: ModuleType) -> None:
    given = argparse.Namespace(
        model="m", texts="t", labelled="l", overrides=["train.steps=3"], text_column="text", label_column="label"
    )
    command = module.given_for(given, "drop=2", "targets-1")
    assert (command.model, command.texts, command.labelled, command.target) == ("m", "t", "l", "drop=2")
    assert command.overrides == ["train.steps=3", "name=targets-1"]
    given.labelled = None
    assert module.given_for(given, "drop=2", "targets-1").label_column is None
