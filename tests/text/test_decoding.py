"""Text out of tokens as they come."""

import copy
from collections.abc import Callable

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from distill.text import TextStream

TEXTS = ["a small man walks", "naïve café, déjà vu", "two dogs 🐕 run 🏃 in the snow", "don't stop. go on!"]


def byte_level() -> Tokenizer:
    """Of bytes alone: each character beyond ASCII is two to four tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=262,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def byte_fallback() -> Tokenizer:
    """As Llama's: blanks are ``▁``, unknown characters are bytes, the first blank of a text is not shown."""
    bytes_ = {f"<0x{byte:02X}>": byte + 3 for byte in range(256)}
    letters = {letter: 259 + i for i, letter in enumerate("▁abcdefghijklmnopqrstuvwxyz'.,!")}
    tokenizer = Tokenizer(
        models.BPE({"<unk>": 0, "<s>": 1, "</s>": 2} | bytes_ | letters, [], unk_token="<unk>", byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    replace = decoders.Replace("▁", " ")
    tokenizer.decoder = decoders.Sequence(
        [replace, decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<s>", "</s>"])
    return tokenizer


def word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=70, special_tokens=["[UNK]"], show_progress=False)
    )
    return tokenizer


def metaspace() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(
        TEXTS, trainers.UnigramTrainer(vocab_size=60, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    )
    return tokenizer


@pytest.mark.parametrize("make", [byte_level, byte_fallback, word_piece, metaspace])
def test_pieces_together_are_the_text(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make()
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        for prompt in (0, 1, len(ids) // 2):
            stream = TextStream(tokenizer, ids[:prompt])
            pieces = [stream.add(token) for token in ids[prompt:]]
            assert not any("\ufffd" in piece for piece in pieces)
            pieces.append(stream.end())
            before = tokenizer.decode(ids[:prompt]).rstrip("\ufffd")
            assert before + "".join(pieces) == tokenizer.decode(ids)


def test_a_character_is_held_back_until_its_bytes_are_all_there() -> None:
    tokenizer = byte_level()
    ids = tokenizer.encode("a🐕b").ids
    stream = TextStream(tokenizer)
    assert len(ids) == 6
    assert [stream.add(token) for token in ids] == ["a", "", "", "", "🐕", "b"]


def test_bytes_that_stay_incomplete_are_shown_at_the_end() -> None:
    tokenizer = byte_level()
    stream = TextStream(tokenizer)
    assert [stream.add(token) for token in tokenizer.encode("a🐕").ids[:3]] == ["a", "", ""]
    assert stream.end() == "\ufffd"
    assert stream.end() == ""


def test_a_stop_string_ends_the_text_across_borders_of_tokens() -> None:
    tokenizer = byte_level()
    stream = TextStream(tokenizer, stop=("\n\n", "END"))
    pieces = [stream.add(token) for token in tokenizer.encode("E\nEN go END.").ids]
    assert stream.stopped
    assert "".join(pieces) + stream.end() == "E\nEN go "
    assert pieces[0] == ""  # may be the start of END
    assert pieces[1] == "E"


def test_what_only_looked_like_a_stop_string_is_shown_in_the_end() -> None:
    tokenizer = byte_level()
    stream = TextStream(tokenizer, stop=("END",))
    assert [stream.add(token) for token in tokenizer.encode("aEN").ids] == ["a", "", ""]
    assert stream.end() == "EN"


def test_a_copy_goes_on_by_itself() -> None:
    tokenizer = byte_level()
    stream = TextStream(tokenizer, stop=("xy",))
    stream.add(tokenizer.encode("x").ids[0])
    other = copy.copy(stream)
    assert other.add(tokenizer.encode("y").ids[0]) == ""
    assert other.stopped
    assert stream.add(tokenizer.encode("z").ids[0]) == "xz"
    assert not stream.stopped


def test_special_tokens_are_not_shown() -> None:
    tokenizer = byte_level()
    stream = TextStream(tokenizer)
    ids = [tokenizer.token_to_id("<s>"), *tokenizer.encode("é").ids, tokenizer.token_to_id("</s>")]
    assert "".join(map(stream.add, ids)) + stream.end() == "é"
