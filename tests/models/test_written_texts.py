"""What an encoder-decoder writes in batches is what it writes from each source alone."""

from typing import Any

import pytest
import torch

from distill.config import Architecture, RecurrentArchitecture
from distill.models import build_recurrent, build_transformer
from distill.models.writing import write_texts
from distill.runtime.generation import BEAMS
from distill.tasks import build
from distill.text import Example, Reading, train_tokenizer

TEXTS = ["a cat", "a big dog sat on the mat", "", "the house", "on the mat a cat"]
TOKENIZER = train_tokenizer([Example(text) for text in TEXTS] * 5, 320, "bpe")
TASK = build("text-to-text", ())


def model(name: str) -> Any:
    sizes: Any
    if name == "transformer":
        sizes = Architecture(layers=1, decoder_layers=2, hidden_size=16, heads=2, intermediate_size=32)
        made = build_transformer(sizes, TOKENIZER, {}, TASK, 12, 3).model
    else:
        sizes = RecurrentArchitecture(embedding_size=16, hidden_size=16, attention=name == "attention")
        made = build_recurrent(sizes, TOKENIZER, {}, TASK, 12, 3).model
    with torch.no_grad():
        made.get_input_embeddings().weight.mul_(2)  # so that it writes something
    return made.eval()


@pytest.mark.parametrize("name", ["transformer", "attention", "without attention"])
def test_batches_change_nothing(name: str) -> None:
    writer, reading = model(name), Reading(TOKENIZER, 12)
    encoded = TASK.encode(reading, [Example(text) for text in TEXTS])
    together = write_texts(writer, reading, encoded)
    assert len(set(together)) > 1
    for text, e in zip(together, encoded, strict=True):
        assert write_texts(writer, reading, [e]) == [text]
        ids = writer.generate(input_ids=torch.from_numpy(e.input_ids)[None], num_beams=BEAMS, max_length=12)
        assert TOKENIZER.decode(ids[0].tolist()).strip() == text


def test_sizes_of_encoder_and_decoder() -> None:
    made = model("transformer")
    assert (made.config.num_hidden_layers, made.config.num_decoder_layers) == (1, 2)
    assert (made.config.decoder_start_token_id, made.config.eos_token_id) == (
        TOKENIZER.token_to_id("[CLS]"),
        TOKENIZER.token_to_id("[SEP]"),
    )
    assert model("attention").attention is not None
    assert model("without attention").attention is None
