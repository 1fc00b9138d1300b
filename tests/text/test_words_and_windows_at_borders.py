"""Words at the border of windows, words of byte-level tokenizers, and calls that mix texts and pairs."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from distill.text import Example, Reading, train_tokenizer, with_leading_blanks


def letters(length: int) -> Reading:
    """A WordPiece tokenizer whose pieces are letters."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijkl", *(f"##{c}" for c in "abcdefghijkl")]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return Reading(tokenizer, length, 0)


@pytest.mark.parametrize("stride", [0, 1, 2])
def test_a_word_over_a_border_is_told_by_its_first_piece(stride: int) -> None:
    reading = letters(10)
    words = ("abcdef", "hijkl", "ab")
    (encoded,) = reading.encode([Example(words)], stride)
    rows = [encoded, *encoded.more]
    firsts = [rows[row].input_ids[start] for row, start in zip(encoded.word_rows, encoded.word_starts, strict=True)]
    assert [reading.tokenizer.id_to_token(int(i)) for i in firsts] == ["a", "h", "a"]


def test_texts_and_pairs_in_one_call_are_read_as_each_alone() -> None:
    reading = letters(12)
    examples = [Example("ab cd ef gh ij kl ab"), Example("ab", "cd ef gh ij kl ab cd"), Example("kl")]
    together = reading.encode(examples, 2)
    for example, encoded in zip(examples, together, strict=True):
        (alone,) = reading.encode([example], 2)
        assert [r.input_ids.tolist() for r in (encoded, *encoded.more)] == [
            r.input_ids.tolist() for r in (alone, *alone.more)
        ]


def test_words_of_a_byte_level_tokenizer_are_the_pieces_of_a_sentence() -> None:
    vocabulary = {piece: i for i, piece in enumerate(["<pad>", "i", "n", "Ġ", "in", "Ġi", "Ġin"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("i", "n"), ("Ġ", "in")], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.ByteLevel(add_prefix_space=False)])
    assert tokenizer.encode(["in", "in"], is_pretokenized=True).tokens == ["in", "in"]
    apart = with_leading_blanks(tokenizer)
    assert apart.encode(["in", "in"], is_pretokenized=True).tokens == ["Ġin", "Ġin"]
    assert letters(8).tokenizer.to_str() == with_leading_blanks(letters(8).tokenizer).to_str()


def test_a_word_whose_blank_is_a_piece_of_its_own_is_told_by_the_blank() -> None:
    """Both pieces have the characters of the first letter."""
    tokenizer = train_tokenizer([Example("abcdefghij abc def ghij")] * 50, 40, "unigram")
    words = ("j", "😀ab", "cd")
    for length in (6, 7, 8):
        reading = Reading(tokenizer, length)
        for stride in range(length - 3):
            (found,) = reading.encode([Example(words)], stride)
            rows = [found, *found.more]
            places = zip(found.word_rows, found.word_starts, strict=True)
            pieces = [tokenizer.id_to_token(int(rows[row].input_ids[start])) for row, start in places]
            assert [piece[:1] for piece in pieces] == ["▁"] * 3, (length, stride, pieces)


def test_threads_that_share_a_reading_read_as_one_alone() -> None:
    """Each way of reading cuts texts at another length."""
    tokenizer = train_tokenizer([Example("the quick brown fox jumps over the lazy dog")] * 50, 60, "wordpiece")
    reading, long = Reading(tokenizer, 24), "the quick brown fox jumps over the lazy dog " * 12

    def read() -> list[Any]:
        encoded = [
            *reading.encode([Example("who is it", pair=long)], 4),
            *reading.encode([Example(long)], 8),
            *reading.encode([Example(long)]),
            *reading.encode_whole([Example(long)]),
        ]
        ids = [row.input_ids.tolist() for one in encoded for row in (one, *one.more)]
        return [*ids, reading.prompt(long).tolist(), reading.encode_targets([long])[0].tolist()]

    expected = read()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: read(), range(400)))
    assert all(one == expected for one in found)
