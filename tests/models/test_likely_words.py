"""What a masked language model finds likely in a blank, against one text after another and the whole vocabulary."""

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from little_world import write_masked_bert
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForMaskedLM

from distill.config import PretrainedTeacher, Source
from distill.models.masked import likely_words, load_masked_lm
from distill.text import Reading

TEXTS = ["a dull film of note", "the cast is good and the plot is thin", "what a fine plot", "nothing good in it"]
WORDS = sorted({word for text in TEXTS for word in text.split()})


def write_roberta(folder: Path) -> Path:
    """Bytes, and each word behind a blank as one piece; its mask token takes the blank before it."""
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    pieces, merges = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())], []
    for word in WORDS:
        piece = "Ġ"
        for letter in word:
            if piece + letter not in pieces:
                pieces.append(piece + letter)
                merges.append((piece, letter))
            piece += letter
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = RobertaConfig(vocab_size=len(pieces), max_position_embeddings=70, initializer_range=0.2, **sizes)
    RobertaForMaskedLM(config).save_pretrained(folder)
    roles: Any = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token"), special[:4], strict=True))
    roles |= {"cls_token": "<s>", "sep_token": "</s>", "mask_token": AddedToken("<mask>", lstrip=True)}
    inputs = ["input_ids", "attention_mask"]
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=inputs, **roles).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["word pieces", "bytes"])
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Reading]:
    """A masked language model as a checkpoint has it, and what it reads with."""
    folder = tmp_path_factory.mktemp("masked")
    of_words = request.param == "word pieces"
    (write_masked_bert(folder, [*TEXTS, "Film and FILM"]) if of_words else write_roberta(folder))
    mask = "[MASK]" if of_words else "<mask>"
    reading = Reading.from_file(folder / "tokenizer.json", 14, special_tokens={"mask_token": mask})
    model, has_head = load_masked_lm(PretrainedTeacher("pretrained", Source(path=str(folder))), 0)
    assert has_head
    return model.eval(), reading


def in_words(model: Any, reading: Reading, blank: tuple[str, str, str], count: int) -> list[str]:
    """Of one text: its logits over the whole vocabulary, sorted; then what is no whole word, or the one that stood
    there, is left out."""
    before, word, behind = blank
    mask = reading.special_tokens["mask_token"]
    encoding = reading.tokenizer.encode(before + mask + behind)
    (place,) = [i for i, (_, end) in enumerate(encoding.offsets) if end == len(before + mask)]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([encoding.ids])).logits[0, place]
    names = [reading.tokenizer.id_to_token(i) for i in logits.argsort(descending=True).tolist()]
    opening = "Ġ" if mask == "<mask>" else ""
    found = [name.removeprefix(opening) for name in names if name.startswith(opening)]
    return [one for one in found if re.fullmatch("[a-z]+", one) and one != word.lower()][:count]


def blanks_of(text: str) -> list[tuple[str, str, str]]:
    words = text.split()
    return [(" ".join([*words[:i], ""]), word, " ".join(["", *words[i + 1 :]])) for i, word in enumerate(words)]


@pytest.mark.parametrize("count", [1, 5])
def test_words_are_the_likeliest_of_each_place_whatever_is_asked_beside_it(
    asked: tuple[Any, Reading], count: int
) -> None:
    model, reading = asked
    mask = reading.special_tokens["mask_token"]
    blanks = [blank for text in (*TEXTS, f"a {mask} film {mask} note") for blank in blanks_of(text) if blank[1] != mask]
    blanks += [("a (", "Good", "), film"), ("", "Film", "")]
    found = likely_words(model, reading, blanks, count, nullcontext, "likely words")
    assert [list(words) for words in found] == [in_words(model, reading, blank, count) for blank in blanks]
    assert len(set(found)) > 4  # it says something else of many


def test_nothing_is_said_of_a_place_that_the_maximum_length_leaves_out(asked: tuple[Any, Reading]) -> None:
    model, reading = asked
    blanks = blanks_of(" film" * 15)[1:]
    found = likely_words(model, reading, blanks, 2, nullcontext, "likely words")
    first = len(reading.tokenizer.encode("film").ids)  # at the beginning a word is several pieces of bytes
    assert [len(words) for words in found] == [2] * (reading.max_length - first) + [0] * (first)


def test_there_are_no_more_words_than_the_vocabulary_has(asked: tuple[Any, Reading]) -> None:
    model, reading = asked
    (found,) = likely_words(model, reading, [("a ", "film", " of note")], 9999, nullcontext, "likely words")
    whole = {piece.removeprefix("Ġ") for piece in reading.tokenizer.get_vocab() if re.fullmatch("Ġ?[a-z]+", piece)}
    assert set(found) <= whole - {"film"}
    assert set(WORDS) - {"film"} <= set(found)
    assert len(set(found)) == len(found)
