"""Fixtures made in the tests: a small world of film reviews, and a random two-layer teacher that reads them."""

import contextlib
import csv
import io
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from little_world import review, write_bert

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["OMP_NUM_THREADS"] = "1"  # threads slow tiny models down, a hundredfold where the cores are busy


@pytest.fixture(autouse=True, scope="session")
def recipes_are_composed_once() -> Iterator[None]:
    """Hydra composes each recipe a first time only to read hydra.mode, which no test sets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hydra._internal.hydra.Hydra.get_mode", lambda *_, **__: None)
        yield


@pytest.fixture
def measured_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker that measures a variant runs in this process. Tests of measure/ start it in one of its own."""
    from distill.measure import Specification, worker
    from distill.results import to_json

    def work(specification: Specification) -> str:
        path, printed = tmp_path / "specification.json", io.StringIO()
        path.write_text(to_json(specification), encoding="utf-8")
        with contextlib.redirect_stdout(printed):
            assert worker.main([str(path)]) == 0
        return printed.getvalue()

    monkeypatch.setattr("distill.measure.launch._work", work)


@pytest.fixture
def plots_stay_undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots are set up, but not drawn, which takes longer than a small training. Tests of report/ draw them."""
    for drawn_in in ("plots", "tradeoffs"):
        monkeypatch.setattr(f"distill.report.{drawn_in}.as_svg", lambda canvas, title: "<svg></svg>")


@pytest.fixture(scope="session")
def reviews_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 reviews with the columns text, label and film."""
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    generator = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "film"])
        writer.writerows(review(generator) for _ in range(400))
    return path


@pytest.fixture(scope="session")
def random_teacher(tmp_path_factory: pytest.TempPathFactory, reviews_csv: Path) -> Path:
    """A folder with a random BERT encoder of two layers x 32, and a tokenizer made of the reviews."""
    with reviews_csv.open(encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    return write_bert(tmp_path_factory.mktemp("teacher"), texts)


@pytest.fixture(scope="session")
def overlay(reviews_csv: Path, random_teacher: Path) -> list[str]:
    """Overrides that make any recipe run in seconds: random teacher, fixture data, floors off."""
    return [
        "data=files",
        f"data.train.path={reviews_csv}",
        "data.group=film",
        "data.labelled=120",
        "data.transfer_limit=100",
        "teacher=folder",
        f"teacher.source.path={random_teacher}",
        "teacher.train.steps=8",
        "teacher.train.evaluations=2",
        "teacher.tries=1",
        "teacher.train.learning_rates=[2e-3]",
        "train.steps=8",
        "train.evaluations=2",
        "train.learning_rates=[1e-3,2e-3]",
        "seeds=[0,1]",
        "measure.seconds=0.05",
        "export.max_drop=50",
        "teacher_floor=false",
        "threads=1",
    ]


@pytest.fixture
def miniature(overlay: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The overlay, in a working directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    return list(overlay)
