"""Fixtures made in the tests: a small world of film reviews, and a random two-layer teacher that reads them."""

import csv
import os
import random
from pathlib import Path

import pytest

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

GOOD = ["gorgeous", "witty", "moving", "clever", "tender", "brilliant", "charming", "fresh"]
BAD = ["dull", "clumsy", "tedious", "shallow", "noisy", "bland", "stale", "lazy"]
THINGS = ["film", "story", "script", "cast", "ending", "comedy", "drama", "scene"]
FORMS = ["a {0} {1}", "the {1} is {0} from start to end", "what a {0} {1} , truly {2}", "{0} , {2} and never {3}"]


def review(generator: random.Random) -> tuple[str, str, str]:
    """(text, label, film)"""
    label = generator.choice(["fresh", "rotten"])
    own, other = (GOOD, BAD) if label == "fresh" else (BAD, GOOD)
    text = generator.choice(FORMS).format(
        generator.choice(own), generator.choice(THINGS), generator.choice(own), generator.choice(other)
    )
    return text + f" number {generator.randrange(1000)}", label, f"film {generator.randrange(40)}"


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
    """A folder with a random BERT encoder of two layers x 32, and a tokenizer trained on the reviews."""
    import torch
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    from distill.text import Example, train_tokenizer

    torch.manual_seed(0)
    with reviews_csv.open(encoding="utf-8") as file:
        tokenizer = train_tokenizer([Example(row["text"]) for row in csv.DictReader(file)], 300)
    folder = tmp_path_factory.mktemp("teacher")
    BertModel(
        BertConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
        )
    ).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def miniature(reviews_csv: Path, random_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Overrides that make any recipe run in seconds: random teacher, fixture data, floors off."""
    monkeypatch.chdir(tmp_path)
    return [
        "data=files",
        f"data.train.path={reviews_csv}",
        "data.group=film",
        "data.labelled=120",
        "data.transfer_limit=100",
        "teacher=folder",
        f"teacher.source.path={random_teacher}",
        "teacher.train.epochs=2",
        "teacher.train.learning_rates=[2e-3]",
        "train.epochs=2",
        "train.transfer_epochs=1",
        "train.learning_rates=[1e-3,2e-3]",
        "seeds=[0,1]",
        "measure.seconds=0.05",
        "export.max_drop=50",
        "teacher_floor=false",
        "threads=1",
    ]
