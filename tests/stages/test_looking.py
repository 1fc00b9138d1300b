"""What is seen inside of a model stands in `inside.json`, as the models compute it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_writers import tiny_writer
from writing_bundles import prose_reading

from distill import tasks
from distill.config import Config, build_config
from distill.errors import UserError
from distill.models import (
    EncoderConfig,
    EncoderForSequenceClassification,
    LoadedModel,
    RecurrentConfig,
    RecurrentForSequenceClassification,
    save_model,
)
from distill.models.attention import attention_maps
from distill.results import Inside, from_json
from distill.stages.checks import check_report
from distill.stages.looking import LookInside, text_to_show
from distill.text import Example
from distill.training.devices import Machine

CPU = Machine("cpu", "fp32", "as asked for", 1)
LABELS = ("bad", "good")
WORDS = {"bad": "mess from start", "good": "gorgeous witty movie"}


def examples(first: int, count: int) -> tuple[Example, ...]:
    labels = [LABELS[i % 2] for i in range(first, first + count)]
    return tuple(Example(f"a {WORDS[label]} " * (1 + i % 3), label=label) for i, label in enumerate(labels))


@pytest.mark.parametrize("kind", ["encoder", "recurrent"])
def test_attention_and_probes_of_a_classifier(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    reading, task = prose_reading(), tasks.build("text-classification", LABELS)
    sizes = {"vocab_size": 60, "hidden_size": 16, "num_labels": 2}
    model = (
        EncoderForSequenceClassification(EncoderConfig(intermediate_size=32, num_hidden_layers=3, **sizes))
        if kind == "encoder"
        else RecurrentForSequenceClassification(RecurrentConfig(num_hidden_layers=2, embedding_size=8, **sizes))
    )
    special = {"pad_token": "[PAD]"}
    save_model(LoadedModel(model, reading.tokenizer, special), tmp_path / "model", reading.max_length)
    splits = {"train": examples(0, 40), "validation": examples(1, 20), "test": examples(0, 30)}
    stage: Any = LookInside(
        "student",
        SimpleNamespace(directory=tmp_path),  # type: ignore[arg-type]
        reading,
        task,
        Example("a gorgeous movie"),
        SimpleNamespace(of=splits.__getitem__),  # type: ignore[arg-type]
    )
    stage.compute(tmp_path, CPU)
    found = from_json(Inside, (tmp_path / "inside.json").read_text())
    assert found.model == "student"
    assert len(found.probes) == (4 if kind == "encoder" else 3)
    assert found.probes[-1].value == 1.0  # other words stand in good texts than in bad ones
    assert [one.title for one in found.attention] == (["layer 1", "layer 2", "layer 3"] if kind == "encoder" else [])
    if kind == "encoder":
        ids = reading.tokenizer.encode("a gorgeous movie").ids
        asked = torch.tensor([ids])
        with torch.no_grad():
            expected = model.eval()(input_ids=asked, output_attentions=True).attentions
        for one, weights_BHLL in zip(found.attention, expected, strict=True):
            assert one.rows == one.columns == tuple(reading.tokenizer.id_to_token(i) for i in ids)
            np.testing.assert_allclose(one.weights, weights_BHLL[0].mean(0), atol=1e-6)


@pytest.mark.parametrize("family", ["encoder-decoder", "gru encoder-decoder", "Marian", "T5"])
def test_what_an_encoder_decoder_writes_looks_at_the_source(family: str) -> None:
    reading = prose_reading(12)
    maps = attention_maps(tiny_writer(family), reading, tasks.build("text-to-text", ()), Example("a witty movie"))
    assert len(maps) == (1 if family.startswith("gru") else 2)
    for one in maps:
        assert one.columns == tuple(reading.tokenizer.encode("a witty movie").tokens)
        assert one.rows[-1] == "[SEP]"
        assert np.shape(one.weights) == (len(one.rows), len(one.columns))
        np.testing.assert_allclose(np.sum(one.weights, axis=1), 1, atol=1e-5)


def test_a_decoder_looks_back_and_a_network_without_attention_nowhere() -> None:
    task = tasks.build("language-modelling", ())
    for family in ("decoder", "GPT2"):
        for one in attention_maps(tiny_writer(family), prose_reading(), task, Example("a witty movie")):
            assert not np.triu(one.weights, 1).any()
    assert attention_maps(tiny_writer("lstm"), prose_reading(), task, Example("a witty movie")) == ()
    blind = tiny_writer("encoder-decoder without attention")
    assert attention_maps(blind, prose_reading(12), tasks.build("text-to-text", ()), Example("a movie")) == ()


def test_the_text_that_is_shown_can_be_read_in_a_figure() -> None:
    long, fitting, short = Example("word " * 50), Example("six words stand in this one"), Example("two words")
    assert text_to_show((long, short, fitting)) is fitting
    assert text_to_show((long, Example(""), short)) is short


def config(**report: bool) -> Config:
    values = {"name": "a", "recipe": "a", "data": {"train": {"path": "a.csv"}}, "report": report}
    teacher, student = {"name": "transformer"}, {"name": "transformer"}
    return build_config({**values, "teacher": teacher, "student": student, "tokenizer": {"name": "trained"}})


def test_a_look_inside_shows_a_text_and_asks_for_leave() -> None:
    check_report(config(look_inside=True, show_texts=True))
    check_report(config())
    with pytest.raises(UserError, match=r"report\.look_inside is true, .*report\.show_texts is false: set it to true"):
        check_report(config(look_inside=True))
