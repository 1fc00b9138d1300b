"""What a run holds of each text is little, and is no more for reading many of them."""

import csv
import io
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from distill import tasks
from distill.config import DataConfig, Source, TaskConfig, TrainedTokenizer
from distill.data import Dataset
from distill.data.examples import Seen, read_examples
from distill.data.tables import LINE
from distill.stages import texts as stage_of_texts
from distill.stages.texts import MakeReading
from distill.stages.tokens import ReadTexts
from distill.text import Example, Reading, TokenStore, encoding
from distill.training import Rows, SoftLabelStore
from distill.training.devices import Machine

CPU = Machine("cpu", "fp32", "as asked for", 1)
MANY = 4000
LETTERS = 120
"""Of each text, about."""


def made_up(count: int) -> list[str]:
    generator = random.Random(0)
    words = ["gorgeous", "dull", "film", "story", "the", "a", "cast", "witty"]
    return [" ".join(generator.choices(words, k=20))[:LETTERS] + f" {i}" for i in range(count)]


def dataset_of(texts: list[str]) -> Dataset:
    return Dataset(tuple(map(Example, texts)), (), (), (), (), {}, "", "", ())


def peak_a_text(work: Callable[[], object], count: int = MANY) -> float:
    """Bytes at the peak, above those before."""
    work()  # what is imported and cached is not counted
    tracemalloc.start()
    work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / count


def test_a_table_is_read_in_little_more_than_what_is_kept_of_it(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["text", "label"], *([text, "x"] for text in made_up(MANY))])
    config, task, source = DataConfig(), TaskConfig(), Source(path=str(path))
    assert peak_a_text(lambda: read_examples(source, "train", config, task, Seen())) < 8 * LETTERS


def test_texts_are_encoded_without_holding_what_was_made_of_them(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = Reading(Tokenizer.from_file(str(encoder / "tokenizer.json")), 64)
    part = dataset_of(made_up(MANY)).part("train")
    stage = ReadTexts(reading, tasks.build("text-classification", ("x", "y")), part)
    expected = reading.encode(part.examples)
    monkeypatch.setattr(encoding, "AT_ONCE", 300)
    assert peak_a_text(lambda: stage.compute(tmp_path, CPU)) < 1000
    store = TokenStore(tmp_path / "tokens")
    assert all(np.array_equal(one.input_ids, other.input_ids) for one, other in zip(store, expected, strict=True))


def test_lengths_of_stored_texts_are_those_of_their_first_windows(tmp_path: Path, encoder: Path) -> None:
    reading = Reading(Tokenizer.from_file(str(encoder / "tokenizer.json")), 12)
    task = tasks.build("text-classification", ("x", "y"), windows=tasks.Windows(2))
    examples = [Example(""), Example("film"), *map(Example, made_up(20))]
    rows = Rows.read(task, reading, examples)
    TokenStore.write(tmp_path, rows.encoded)
    assert Rows(task, reading, examples, TokenStore(tmp_path)).lengths.tolist() == rows.lengths.tolist()
    assert max(one.windows for one in rows.encoded) > 1


def test_a_store_of_soft_labels_opens_without_an_object_a_text(tmp_path: Path) -> None:
    examples = list(map(Example, made_up(MANY)))
    SoftLabelStore.write(tmp_path, examples, (np.full((1, 2), i, np.float32) for i in range(MANY)))
    assert peak_a_text(lambda: SoftLabelStore(tmp_path)) < 80
    rows = SoftLabelStore(tmp_path).rows_of(examples[::-1])
    assert rows.tolist() == list(range(MANY))[::-1]


def test_many_texts_are_measured_by_a_part_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a film " * (i % 50 + 1) for i in range(400)]
    stage = MakeReading(
        TrainedTokenizer("trained", vocabulary_size=60),
        None,
        False,
        False,
        None,
        "text-classification",
        dataset_of(texts).part("train"),
    )
    stage.compute(tmp_path / "all", CPU)
    monkeypatch.setattr(stage_of_texts, "MEASURED", 30)
    measured: list[int] = []
    encode = Reading.encode

    def counted(self: Reading, examples: list[Example]) -> object:
        measured.append(len(examples))
        return encode(self, examples)

    monkeypatch.setattr(Reading, "encode", counted)
    stage.compute(tmp_path / "part", CPU)
    assert sum(measured) == 31
    one, other = (Reading.load(tmp_path / name / "reading").max_length for name in ("all", "part"))
    assert one == 102
    assert abs(one - other) <= 4


@pytest.mark.parametrize(
    "content",
    ["", "a", "a\n", "a,b\r\nc\rd\n\n\r\n", '"a\nb",c\r\n"d\r\ne"\r', "\u2028a\x0bb\x0c\x85\n", "\r\r\n\n\r"],
)
def test_lines_end_as_the_csv_module_has_them(content: str) -> None:
    assert [one[0] for one in LINE.finditer(content)] == list(io.StringIO(content, newline=""))
