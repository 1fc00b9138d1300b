"""Corpora that a student is pretrained on: told from others, and looked at before the teacher is trained."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from small_runs import config_of, teacher_in

from distill import pipeline
from distill.config import Config
from distill.data import Dataset
from distill.errors import UserError
from distill.stages.context import open_run
from distill.stages.pretraining import LookAtCorpora


def recipe(reviews: Path, encoder: Path, folder: Path, corpora: list[dict[str, Any]], text: str = "text") -> Config:
    return config_of(
        reviews,
        folder,
        "test A",
        teacher={**teacher_in(encoder), "tries": 1},
        student={
            "name": "layers",
            "layers": [1],
            "start": "checkpoint",
            "pretraining": {"texts": corpora, "text": text, "max_length": 16},
        },
        arms=["linear", "hard", "pretrained"],
    )


def test_corpora_are_read_before_the_teacher_is_trained(
    reviews: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.txt").write_text("one text")
    for suffix in ("en", "de"):
        (tmp_path / f"train.{suffix}").write_text("".join(f"{suffix} {i}\n" for i in range(40)))
    pair = {"path": str(tmp_path / "train"), "suffixes": ["en", "de"]}

    def reach_the_teacher(*_: Any) -> None:
        raise StopIteration

    def start(*corpora: dict[str, Any], text: str = "text") -> None:
        pipeline.run(recipe(reviews, encoder, tmp_path, list(corpora), text))

    monkeypatch.setattr(pipeline, "prepare_teacher", reach_the_teacher)
    for source, said in (
        ({}, r"student\.pretraining\.texts\[0\]: none is set"),
        ({"path": str(tmp_path / "two.txt")}, "two.txt does not exist"),
        ({"path": str(tmp_path / "one.txt")}, r"pretraining has 1 texts; give more in student\.pretraining\.texts"),
        (pair, r"has no column 'text'.*; set student\.pretraining\.text"),
        ({**pair, "suffixes": ["en", "fr"]}, "holds no train.fr"),
    ):
        with pytest.raises(UserError, match=said):
            start(source)
    for good in ({"path": str(reviews / "train.jsonl")}, {**pair, "path": str(tmp_path)}):
        with pytest.raises(StopIteration):
            start(good, text="text" if "suffixes" not in good else "source")
    with pytest.raises(StopIteration):
        start(pair, text="target")
    with pytest.raises(StopIteration):
        start()  # the texts of the data


def test_of_parallel_files_the_side_that_is_the_source_tells_corpora_apart(
    reviews: Path, encoder: Path, tmp_path: Path
) -> None:
    for suffix in ("en", "de"):
        (tmp_path / f"train.{suffix}").write_text(f"{suffix}\n")
    dataset = Dataset((), (), (), (), (), {}, "", "", ())
    for path in (tmp_path, tmp_path / "train"):
        config = recipe(reviews, encoder, tmp_path, [{"path": str(path), "suffixes": ["en", "de"]}], "source")
        this, settings = open_run(config), config.student.pretraining  # type: ignore[union-attr]
        turned = (dataclasses.replace(settings.texts[0], suffixes=("de", "en")),)
        one, other = (
            LookAtCorpora(each, dataset.part("validation")).fingerprint(this.machine)
            for each in (settings, dataclasses.replace(settings, texts=turned))
        )
        assert one != other
