"""Trimmed vocabularies."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from distill.errors import UserError
from distill.text import Example, TrimmedVocabulary, train_tokenizer, trim_vocabulary

CORPUS = [
    "the quick brown fox jumps over the lazy dog",
    "quick foxes and lazy dogs keep jumping over browner fences",
    "a gorgeous witty seductive movie that jumps over fences",
    "unbelievably lazy and unbelievably quick, the movie keeps jumping",
] * 6
USED = ["the quick fox jumps", "a lazy movie, unbelievably quick", "keeps jumping"]
UNUSED = ["brown dogs", "gorgeous browner seductive fences", "xylophone", "zzz quickest qqq", "wittydogs", "o"]


def word_piece() -> Tokenizer:
    """Specials not at the start, an unused piece between them; BertProcessing."""
    made = train_tokenizer([Example(text) for text in CORPUS], 300)
    pieces = [t for t, _ in sorted(made.get_vocab().items(), key=lambda item: item[1]) if not t.startswith("[")]
    order = ["[PAD]", "unusedone", *pieces[:40], "[UNK]", "[CLS]", *pieces[40:], "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(order)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", tokenizer.token_to_id("[SEP]")), ("[CLS]", tokenizer.token_to_id("[CLS]"))
    )
    return tokenizer


def template() -> Tokenizer:
    """WordPiece with TemplateProcessing inside a Sequence."""
    tokenizer = word_piece()
    special = [(t, tokenizer.token_to_id(t)) for t in ("[CLS]", "[SEP]")]
    inner = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=special
    )
    tokenizer.post_processor = processors.Sequence([inner])
    return tokenizer


def _bpe(special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def byte_level() -> Tokenizer:
    """As RoBERTa's, with its mask at the very end of the vocabulary."""
    tokenizer = _bpe(["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.add_special_tokens(["<mask>"])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def byte_level_template() -> Tokenizer:
    """As ModernBERT's: all special tokens stand after the pieces."""
    tokenizer = _bpe([])
    tokenizer.add_special_tokens(["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"])
    special = [(t, tokenizer.token_to_id(t)) for t in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=special
    )
    tokenizer.enable_padding(length=128, pad_token="[PAD]", pad_id=tokenizer.token_to_id("[PAD]"))
    tokenizer.enable_truncation(128)
    return tokenizer


def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=special, unk_token="[UNK]", show_progress=False, n_sub_iterations=1
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(["[MASK]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(t, tokenizer.token_to_id(t)) for t in ("[CLS]", "[SEP]")],
    )
    return tokenizer


KINDS = [word_piece, template, byte_level, byte_level_template, unigram]


@pytest.fixture(params=KINDS, ids=lambda make: make.__name__)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    make: Callable[[], Tokenizer] = request.param
    return make()


def _trim(tokenizer: Tokenizer, min_count: int = 1) -> TrimmedVocabulary:
    return trim_vocabulary(tokenizer, [Example(text) for text in USED], min_count)


def _unpadded(tokenizer: Tokenizer) -> Tokenizer:
    copied = Tokenizer.from_str(tokenizer.to_str())
    copied.no_padding()
    return copied


def test_the_texts_are_cut_into_the_same_pieces_special_tokens_included(tokenizer: Tokenizer) -> None:
    trimmed = _unpadded(_trim(tokenizer).tokenizer)
    full = _unpadded(tokenizer)
    for text in USED:
        assert trimmed.encode(text).tokens == full.encode(text).tokens
        assert trimmed.encode(text, USED[0]).tokens == full.encode(text, USED[0]).tokens
        assert trimmed.encode(text, USED[0]).type_ids == full.encode(text, USED[0]).type_ids


def test_kept_gives_the_old_id_of_every_new_one(tokenizer: Tokenizer) -> None:
    trimmed = _trim(tokenizer)
    new = trimmed.tokenizer.get_vocab(with_added_tokens=True)
    assert sorted(new.values()) == list(range(len(trimmed.kept)))
    for token, index in new.items():
        assert trimmed.kept[index] == tokenizer.token_to_id(token)
    assert (np.diff(trimmed.kept) > 0).all()
    for text in USED:  # the ids that a model sees are its old rows
        ids = _unpadded(trimmed.tokenizer).encode(text, USED[1]).ids
        assert trimmed.kept[ids].tolist() == _unpadded(tokenizer).encode(text, USED[1]).ids


def test_pieces_that_no_text_uses_are_gone(tokenizer: Tokenizer) -> None:
    full = tokenizer.get_vocab(with_added_tokens=True)
    trimmed = _trim(tokenizer).tokenizer.get_vocab(with_added_tokens=True)
    assert len(trimmed) < len(full)
    gone = set(full) - set(trimmed)
    assert any(len(token) > 4 for token in gone)
    used = {token for text in USED for token in _unpadded(tokenizer).encode(text).tokens}
    assert not gone & used


def test_every_other_word_of_known_characters_is_still_written_in_full(tokenizer: Tokenizer) -> None:
    trimmed, full = _unpadded(_trim(tokenizer).tokenizer), _unpadded(tokenizer)
    unknown = {"[UNK]", "<unk>"}
    for text in UNUSED:
        before = full.encode(text, add_special_tokens=False).tokens
        after = trimmed.encode(text, add_special_tokens=False).tokens
        if not unknown & set(before):
            assert not unknown & set(after)
            assert _spelled(after) == _spelled(before)


def _spelled(tokens: list[str]) -> str:
    return "".join(token.removeprefix("##") for token in tokens)


def test_special_tokens_stay_special_under_their_new_ids(tokenizer: Tokenizer) -> None:
    trimmed = _trim(tokenizer)
    names = {t["content"] for t in json.loads(tokenizer.to_str())["added_tokens"]}
    for token in json.loads(trimmed.tokenizer.to_str())["added_tokens"]:
        names.discard(token["content"])
        assert token["special"]
        assert token["id"] == trimmed.tokenizer.token_to_id(token["content"])
        encoded = _unpadded(trimmed.tokenizer).encode(f"quick {token['content']}", add_special_tokens=False)
        assert encoded.ids[-1] == token["id"]
    assert not names


def test_the_callers_tokenizer_is_unchanged(tokenizer: Tokenizer) -> None:
    before = tokenizer.to_str()
    _trim(tokenizer)
    assert tokenizer.to_str() == before


def test_a_trimmed_vocabulary_can_be_trimmed_again_and_stays(tokenizer: Tokenizer) -> None:
    once = _trim(tokenizer)
    twice = _trim(once.tokenizer)
    assert twice.kept.tolist() == list(range(len(once.kept)))


def test_rarer_pieces_go_with_a_higher_count_and_texts_stay_writable(tokenizer: Tokenizer) -> None:
    rare = _trim(tokenizer, min_count=2)
    assert len(rare.kept) < len(_trim(tokenizer).kept)
    for text in USED:
        tokens = _unpadded(rare.tokenizer).encode(text, add_special_tokens=False).tokens
        before = _unpadded(tokenizer).encode(text, add_special_tokens=False).tokens
        assert _spelled(tokens) == _spelled(before)


def test_no_texts_leave_characters_and_special_tokens(tokenizer: Tokenizer) -> None:
    trimmed = trim_vocabulary(tokenizer, [])
    encoded = _unpadded(trimmed.tokenizer).encode("lazy fox", add_special_tokens=False)
    assert not {"[UNK]", "<unk>"} & set(encoded.tokens)
    assert max(len(token.strip("Ġ▁#")) for token in encoded.tokens) == 1


def test_padding_keeps_its_token_under_the_new_id() -> None:
    trimmed = _trim(byte_level_template()).tokenizer
    assert trimmed.padding is not None
    assert trimmed.padding["pad_id"] == trimmed.token_to_id("[PAD]")
    encoded = trimmed.encode("fox")
    assert encoded.tokens[-1] == "[PAD]"
    assert encoded.ids[-1] == trimmed.token_to_id("[PAD]")


def test_the_second_text_of_a_pair_counts() -> None:
    full = byte_level()
    trimmed = trim_vocabulary(full, [Example("the quick", "gorgeous seductive")]).tokenizer
    assert trimmed.encode("gorgeous seductive").tokens == full.encode("gorgeous seductive").tokens


def test_words_given_one_by_one_keep_their_pieces() -> None:
    full = byte_level()
    sentence = ("lazy", "jumping,", "foxes")
    trimmed = trim_vocabulary(full, [Example(sentence)]).tokenizer
    pieces = trimmed.encode(list(sentence), is_pretokenized=True).tokens
    assert pieces == full.encode(list(sentence), is_pretokenized=True).tokens


def test_a_kind_that_cannot_be_trimmed_is_refused_with_the_mend() -> None:
    bare = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    with pytest.raises(UserError, match=r"WordLevel.*vocabulary\.trim=false"):
        trim_vocabulary(bare, [Example("a")])


def _two_ways() -> Tokenizer:
    """``abc`` is merged from a + bc first, and could be from ab + c; ``za`` is merged in between."""
    vocabulary = {t: i for i, t in enumerate(["a", "b", "c", "z", "bc", "abc", "za", "ab"])}
    merges = [("b", "c"), ("a", "bc"), ("z", "a"), ("a", "b"), ("ab", "c")]
    return Tokenizer(models.BPE(vocab=vocabulary, merges=merges))


def _byte_fallback() -> Tokenizer:
    pieces: list[Any] = [("<unk>", 0.0), ("a", -1.0), ("b", -2.0), ("ab", -1.5)]
    return Tokenizer(models.Unigram(pieces + [(f"<0x{i:02X}>", -9.0) for i in range(256)], 0, True))


def _continuing() -> Tokenizer:
    vocabulary = {"<unk>": 0, "a": 1, "b": 2, "##b": 3, "ab": 4}
    return Tokenizer(models.BPE(vocabulary, [("a", "##b")], unk_token="<unk>", continuing_subword_prefix="##"))


@pytest.mark.parametrize(
    ("make", "used", "text"),
    [(_two_ways, ["zabc", "za"], "zabc"), (_byte_fallback, ["ab"], "aé"), (_continuing, ["ab"], "ab")],
    ids=["two merges to one piece", "Unigram that falls back to bytes", "BPE with a prefix inside words"],
)
def test_rare_kinds_keep_their_pieces_too(make: Callable[[], Tokenizer], used: list[str], text: str) -> None:
    full = make()
    trimmed = trim_vocabulary(full, [Example(t) for t in used]).tokenizer
    assert trimmed.encode(text).tokens == full.encode(text).tokens


def test_tokens_that_only_the_post_processor_names_are_kept() -> None:
    vocabulary = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "##a": 4, "aa": 5}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    assert trim_vocabulary(tokenizer, [Example("a")]).tokenizer.encode("a").tokens == ["[CLS]", "a", "[SEP]"]


def test_a_unigram_tokenizer_without_an_unknown_piece_is_trimmed() -> None:
    tokenizer = Tokenizer(models.Unigram([("a", -1.0), ("b", -2.0), ("ab", -3.0), ("ba", -4.0)]))
    trimmed = trim_vocabulary(tokenizer, [Example("ab")])
    assert set(trimmed.tokenizer.get_vocab()) == {"a", "b", "ab"}
    assert trimmed.tokenizer.encode("ab").tokens == tokenizer.encode("ab").tokens
