"""Runs that several tests look at: each is made once, in a folder of its own, and copied where a test changes it."""

import csv
import random
import shutil
from pathlib import Path

import pytest
from little_world import review, write_bert
from workplace import Copier, Workplace, write_rows


@pytest.fixture
def copy(tmp_path: Path) -> Copier:
    """A workplace with all that was done there, to change without harm to other tests."""

    def copied(place: Workplace) -> Workplace:
        shutil.copytree(place.folder, tmp_path / "copy")
        return Workplace(tmp_path / "copy", list(place.overrides), rows=place.rows)

    return copied


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, overlay: list[str]) -> Workplace:
    """A run that has learnt something: a teacher and students that are right on most reviews.

    An eighth of the test labels is wrong, so that no accuracy is 0 or 1; two training texts are empty, one stands
    there twice, and one text of each split is longer than the maximum.
    """
    folder = tmp_path_factory.mktemp("finished")
    generator = random.Random(5)

    def reviews(count: int) -> list[dict[str, str]]:
        return [
            dict(zip(("text", "label", "film"), (f"{text} of part {i}", label, film), strict=True))
            for i in range(count)
            for text, label, film in [review(generator)]
        ]

    rows = {"train": reviews(300), "test": reviews(88)}
    for row in rows["test"][::8]:
        row["label"] = "rotten" if row["label"] == "fresh" else "fresh"
    for split in rows:
        rows[split].append({"text": f"{split} , " + "witty and tender " * 30, "label": "fresh", "film": "x"})
    rows["train"] += [dict(rows["train"][0]), *({"text": blank, "label": "fresh", "film": "x"} for blank in ("", " "))]
    for split, of_split in rows.items():
        write_rows(folder / f"{split}.csv", of_split)
    place = Workplace(
        folder,
        [
            *overlay,
            "data.train.path=train.csv",
            "data.test.path=test.csv",
            "data.group=null",
            "data.labelled=160",
            "data.transfer_limit=60",
            "data.max_length=24",
            "data.validation_share=0.2",
            "teacher.train.steps=120",
            "teacher.train.batch_size=8",
            "teacher.train.learning_rates=[3e-3]",
            "train.steps=100",
            "train.batch_size=8",
            "train.learning_rates=[3e-3]",
            "student.count=1",
            "arms=[linear,hard,soft,soft+transfer]",
            "seeds=[0]",
            "teacher_floor=true",
            "device=cpu",
            "name=small",
        ],
        rows=rows,
    )
    assert place.run() == 0, place.err
    return place


@pytest.fixture(scope="session")
def permuted(tmp_path_factory: pytest.TempPathFactory, reviews_csv: Path) -> Path:
    """A classifier fine-tuned by plain torch code, whose labels are the data's in another order."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    with reviews_csv.open() as file:
        rows = list(csv.DictReader(file))
    texts = [row["text"] for row in rows]
    folder = write_bert(tmp_path_factory.mktemp("permuted"), texts, ("rotten", "fresh"))
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for start in list(range(0, 320, 16)) * 4:
        batch = tokenizer(texts[start : start + 16], padding=True, return_tensors="pt")
        labels = torch.tensor([model.config.label2id[row["label"]] for row in rows[start : start + 16]])
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return folder
