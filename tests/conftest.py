"""Fixtures made in the tests: a small world of film reviews, and a random two-layer teacher that reads them."""

import csv
import os
import random
from pathlib import Path

import pytest
from little_world import review, write_bert

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


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
