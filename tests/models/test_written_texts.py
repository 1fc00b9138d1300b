"""What an encoder-decoder writes in batches is what it writes from each source alone."""

from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from distill.config import Architecture, RecurrentArchitecture
from distill.models import build_recurrent, build_transformer
from distill.models.writing import write_on, write_texts
from distill.runtime.generation import BEAMS
from distill.tasks import build
from distill.text import Example, Reading, train_tokenizer

TEXTS = ["a cat", "a big dog sat on the mat", "", "the house", "on the mat a cat"]
TOKENIZER = train_tokenizer([Example(text) for text in TEXTS] * 5, 320, "bpe")
TASK = build("text-to-text", ())
END = "</s>"


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


class Counting(torch.nn.Module):
    """Each next token is the one after the last, and those from ``last`` on are followed by the token 0."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.last = last
        self.read: list[int] = []

    def generate(self, input_ids: Any, max_length: int, **settings: Any) -> Any:
        self.read.append(max_length)
        while input_ids.shape[1] < max_length:
            following = input_ids[:, -1:] + 1
            input_ids = torch.cat([input_ids, following.masked_fill(following > self.last, 0)], dim=1)
        return input_ids


def test_a_language_model_goes_on_from_the_beginning_of_a_text_to_its_length() -> None:
    words = [END, *(f"w{i}" for i in range(1, 60))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=END))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([END])
    reading = Reading(tokenizer, 8, special_tokens={"eos_token": END})
    texts = [reading.prompt(text) for text in ("w1 w2 w9 w9 w9", " ".join(f"w{i}" for i in (1, 2, *[50] * 28)))]
    counting = Counting(100)
    short, long = write_on(counting, reading, texts)
    assert short == "w1 w2 w3 w4 w5"
    assert long == " ".join(f"w{i}" for i in range(1, 31))
    assert max(counting.read) == 8  # it never reads more than it can
    assert write_on(Counting(4), reading, texts) == ["w1 w2 w3 w4"] * 2  # the end of a text ends it


def test_sizes_of_encoder_and_decoder() -> None:
    made = model("transformer")
    assert (made.config.num_hidden_layers, made.config.num_decoder_layers) == (1, 2)
    assert (made.config.decoder_start_token_id, made.config.eos_token_id) == (
        TOKENIZER.token_to_id("[CLS]"),
        TOKENIZER.token_to_id("[SEP]"),
    )
    assert model("attention").attention is not None
    assert model("without attention").attention is None
