"""Text to ids: what transformers' own tokenizers give, and the rules for words, padding and length."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import BertTokenizer, PreTrainedTokenizerFast

from distill.errors import UserError
from distill.text import Example, Reading, pad, train_tokenizer

CORPUS = [
    "the cat sat on the mat, unbelievably!",
    "a dog sat on the unbelievable log.",
    "a gorgeous, witty, seductive movie; not a mess",
]
TEXTS = ["The cat sat on the mat!", "an unbelievable DOG", "Ünseen wörds 42 ☃", "", "movie", "a , b . c", "mat " * 40]
PAIRS = [("the cat", "a dog"), ("", "a dog"), ("the cat", ""), ("mat " * 40, "log"), ("log", "mat " * 40)]
SENTENCES = [("the", "unbelievable", "cat"), ("movie",), ("☃", "sat"), ("mat",) * 40]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([Example(text) for text in CORPUS * 3], 200)


def _bert(tokenizer: Tokenizer) -> Any:
    """transformers' own pipeline over the same vocabulary; nothing of it was made by the project."""
    return BertTokenizer(vocab=tokenizer.get_vocab(), do_lower_case=True)


def _byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_gives_the_ids_of_transformers_bert_tokenizer(tokenizer: Tokenizer, text: str) -> None:
    expected = _bert(tokenizer)(text, truncation=True, max_length=12)
    (encoded,) = Reading(tokenizer, 12).encode([Example(text)])
    assert encoded.input_ids.tolist() == expected["input_ids"]
    assert encoded.token_type_ids.tolist() == expected["token_type_ids"]
    assert encoded.input_ids.dtype == encoded.token_type_ids.dtype == np.int64
    assert encoded.word_starts.size == 0


@pytest.mark.parametrize("pair", PAIRS)
def test_a_pair_gives_the_ids_and_segments_of_transformers_bert_tokenizer(
    tokenizer: Tokenizer, pair: tuple[str, str]
) -> None:
    first, second = pair  # in lists: alone, transformers takes an empty second text for none
    expected = _bert(tokenizer)([first], [second], truncation="longest_first", max_length=12)
    (encoded,) = Reading(tokenizer, 12).encode([Example(*pair)])
    assert encoded.input_ids.tolist() == expected["input_ids"][0]
    assert encoded.token_type_ids.tolist() == expected["token_type_ids"][0]


@pytest.mark.parametrize("words", SENTENCES)
def test_words_give_the_ids_and_the_first_pieces_of_transformers_word_ids(
    tokenizer: Tokenizer, words: tuple[str, ...]
) -> None:
    expected = _bert(tokenizer)(list(words), is_split_into_words=True, truncation=True, max_length=16)
    (encoded,) = Reading(tokenizer, 16).encode([Example(words)])
    assert encoded.input_ids.tolist() == expected["input_ids"]
    of_position = expected.word_ids()
    assert encoded.word_starts.tolist() == [
        of_position.index(w) for w in sorted({w for w in of_position if w is not None})
    ]


@pytest.mark.parametrize("text", TEXTS)
def test_byte_level_bpe_gives_the_ids_of_transformers(text: str) -> None:
    tokenizer = _byte_level()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=_byte_level(), pad_token="<pad>")
    (encoded,) = Reading(tokenizer, 20).encode([Example(text)])
    assert encoded.input_ids.tolist() == wrapped(text, truncation=True, max_length=20)["input_ids"]


def test_many_examples_give_what_each_gives_alone(tokenizer: Tokenizer) -> None:
    reading = Reading(tokenizer, 12)
    together = reading.encode([Example(text) for text in TEXTS])
    for text, encoded in zip(TEXTS, together, strict=True):
        assert encoded.input_ids.tolist() == reading.encode([Example(text)])[0].input_ids.tolist()
    assert reading.encode([]) == []


def test_an_empty_text_is_the_special_tokens_alone(tokenizer: Tokenizer) -> None:
    (encoded,) = Reading(tokenizer, 12).encode([Example("")])
    assert encoded.input_ids.tolist() == [tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")]
    assert not encoded.truncated


def test_an_empty_text_is_one_padding_id_where_the_tokenizer_adds_no_special_tokens() -> None:
    bare = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "[PAD]": 2}, unk_token="[UNK]"))
    (encoded,) = Reading(bare, 4).encode([Example("")])
    assert encoded.input_ids.tolist() == [2]
    assert encoded.token_type_ids.tolist() == [0]


def test_an_unknown_word_is_the_unknown_token(tokenizer: Tokenizer) -> None:
    (encoded,) = Reading(tokenizer, 12).encode([Example("☃")])
    assert encoded.input_ids[1] == tokenizer.token_to_id("[UNK]")


@pytest.mark.parametrize(("words", "truncated"), [(509, False), (510, False), (511, True), (2000, True)])
def test_a_text_is_cut_at_512_tokens_and_says_so(tokenizer: Tokenizer, words: int, truncated: bool) -> None:
    (encoded,) = Reading(tokenizer, 512).encode([Example("mat " * words)])
    assert len(encoded.input_ids) == min(512, words + 2)
    assert encoded.truncated is truncated
    assert encoded.input_ids[-1] == tokenizer.token_to_id("[SEP]")


def test_a_word_that_truncation_cut_off_has_no_start_and_one_cut_in_two_keeps_its_start(tokenizer: Tokenizer) -> None:
    long = "unbelievableunbelievable"
    assert len(tokenizer.encode(long, add_special_tokens=False).ids) > 1
    (encoded,) = Reading(tokenizer, 5).encode([Example(("mat", "mat", long, "mat"))])
    assert encoded.word_starts.tolist() == [1, 2, 3]  # the fourth is gone, the third lost its end
    assert encoded.truncated


def test_a_word_without_a_piece_has_the_start_minus_1(tokenizer: Tokenizer) -> None:
    encoded = Reading(tokenizer, 8).encode([Example(("mat", "", "\u200b", "log")), Example(()), Example(("",))])
    assert [e.word_starts.tolist() for e in encoded] == [[1, -1, -1, 2], [], [-1]]
    assert [len(e.input_ids) for e in encoded] == [4, 2, 2]


def test_a_piece_less_word_at_the_end_of_a_sentence_that_fits_still_counts(tokenizer: Tokenizer) -> None:
    (encoded,) = Reading(tokenizer, 4).encode([Example(("mat", "log", ""))])
    assert encoded.word_starts.tolist() == [1, 2, -1]
    assert not encoded.truncated


def test_default_padding_of_a_downloaded_tokenizer_is_undone_and_the_callers_stays(tokenizer: Tokenizer) -> None:
    downloaded = Tokenizer.from_str(tokenizer.to_str())
    downloaded.enable_padding(length=128, pad_id=7, pad_token="[PAD]")
    downloaded.enable_truncation(128)
    before = downloaded.to_str()
    reading = Reading(downloaded, 12)
    assert len(reading.encode([Example("mat")])[0].input_ids) == 3
    assert reading.pad_id == 7  # the padding's own id is kept
    assert downloaded.to_str() == before
    assert len(downloaded.encode("mat").ids) == 128


def test_a_stored_left_truncation_becomes_the_usual_right_one(tokenizer: Tokenizer) -> None:
    downloaded = Tokenizer.from_str(tokenizer.to_str())
    downloaded.enable_truncation(6, stride=2, direction="left")
    (encoded,) = Reading(downloaded, 4).encode([Example("the cat sat on the mat")])
    assert encoded.input_ids[1:3].tolist() == [tokenizer.token_to_id("the"), tokenizer.token_to_id("cat")]


@pytest.mark.parametrize("token", ["[PAD]", "<pad>", "<|pad|>"])
def test_the_padding_id_is_found_by_its_usual_names(token: str) -> None:
    bare = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, token: 2}, unk_token="[UNK]"))
    assert Reading(bare, 4).pad_id == 2
    assert Reading(bare, 4, pad_id=1).pad_id == 1


@pytest.mark.parametrize("max_length", [-1, 0, 3])
def test_a_maximum_that_special_tokens_fill_is_refused_with_the_least_one(
    tokenizer: Tokenizer, max_length: int
) -> None:
    with pytest.raises(UserError, match=rf"max_length is {max_length}.*at least 4"):
        Reading(tokenizer, max_length)  # a pair takes three special tokens
    assert len(Reading(tokenizer, 4).encode([Example("the cat", "a dog")])[0].input_ids) == 4


def test_pad_fills_on_the_right_to_the_longest(tokenizer: Tokenizer) -> None:
    encoded = Reading(tokenizer, 12).encode([Example("the cat", "a dog"), Example("mat", "log"), Example("", "")])
    batch = pad(encoded, 9)
    longest = max(len(e.input_ids) for e in encoded)
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert batch[name].shape == (3, longest)
        assert batch[name].dtype == np.int64
    for row, e in enumerate(encoded):
        n = len(e.input_ids)
        assert batch["input_ids"][row].tolist() == e.input_ids.tolist() + [9] * (longest - n)
        assert batch["attention_mask"][row].tolist() == [1] * n + [0] * (longest - n)
        assert batch["token_type_ids"][row].tolist() == e.token_type_ids.tolist() + [0] * (longest - n)


def test_pad_equals_the_padding_of_transformers(tokenizer: Tokenizer) -> None:
    expected = _bert(tokenizer)(TEXTS, truncation=True, max_length=12, padding=True, return_tensors="np")
    reading = Reading(tokenizer, 12)
    batch = pad(reading.encode([Example(text) for text in TEXTS]), reading.pad_id)
    for name, array in batch.items():
        np.testing.assert_array_equal(array, expected[name])


def test_pad_to_a_given_length(tokenizer: Tokenizer) -> None:
    assert pad(Reading(tokenizer, 12).encode([Example("mat")]), 0, 30)["input_ids"].shape == (1, 30)


def test_vocabulary_size_is_one_more_than_the_largest_id() -> None:
    bare = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 41}, unk_token="[UNK]"))
    assert Reading(bare, 4).vocabulary_size == 42
    full = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    full.add_special_tokens(["<new>"])
    assert Reading(full, 4).vocabulary_size == 3


def test_a_saved_encoder_reads_back_to_the_same_ids(tokenizer: Tokenizer, tmp_path: Path) -> None:
    reading = Reading(tokenizer, 12)
    reading.save_tokenizer(tmp_path / "tokenizer.json")
    again = Reading.from_file(tmp_path / "tokenizer.json", 12)
    for text in TEXTS:
        assert (
            again.encode([Example(text)])[0].input_ids.tolist() == reading.encode([Example(text)])[0].input_ids.tolist()
        )


@pytest.mark.parametrize("content", [None, "", "{}", "no json", '{"model": {"type": "WordPiece"}}'])
def test_a_file_that_is_no_tokenizer_is_the_users_to_mend(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"tokenizer\.json is not a tokenizer"):
        Reading.from_file(path, 12)


def test_too_small_a_maximum_is_told_as_such_from_a_file_too(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match="max_length is 2"):
        Reading.from_file(tmp_path / "tokenizer.json", 2)


def test_the_key_of_an_example_is_its_content_without_label_and_group() -> None:
    examples = [
        Example("a"),
        Example("b"),
        Example("a", "b"),
        Example("a", ""),
        Example(("a",)),
        Example(("a", "b")),
        Example("ab"),
        Example('["a", "b"]'),
        Example("a", "null"),
    ]
    assert len({e.key for e in examples}) == len(examples)
    assert all(len(e.key) == 16 for e in examples)
    assert Example("a", "b", "good", "group").key == Example("a", "b", "bad").key


@pytest.mark.parametrize(
    ("pair", "opening"),
    [
        ("[CLS] $A [SEP] $B:1 [SEP]:1", 1),
        ("$A [SEP] $B:1 [SEP]:1", 0),
        ("[CLS] [CLS] $A $B:1", 2),
        ("$A $B:1", 0),
        ("$A [SEP] $B:1", 0),
        ("[CLS] $A $B:1 [SEP]:1", 1),
        ("[CLS] $A [SEP] [SEP] $B:1 [SEP]:1", 1),  # both separators are of the first text
        ("[CLS] $A [SEP]:1 $B:1 [SEP]:1", 0),  # a separator opens the second text, as [CLS] does the first
        ("[CLS]:2 $A [SEP] $B:1 [SEP]:1", None),
        ("$A [SEP] $B:1 [SEP]:1 [CLS]:2", None),
        ("[CLS] $B:1 [SEP] $A [SEP]", None),
        ("[CLS] $A [SEP] $B [SEP]", None),
        ("[CLS] $A [SEP] $B [SEP]:1", None),
        ("[CLS] $A:1 [SEP]:1 $B:1 [SEP]:1", None),
    ],
)
def test_pair_opening_counts_what_stands_before_the_first_text_alone(pair: str, opening: int | None) -> None:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "[CLS]": 2, "[SEP]": 3}, "[UNK]"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A", pair=pair, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    assert Reading(tokenizer, 5).pair_opening() == opening


def test_robertas_tokens_do_not_tell_the_texts_of_a_pair_apart() -> None:
    assert Reading(_byte_level(), 10).pair_opening() is None
