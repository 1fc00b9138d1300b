"""Tokenizers trained on texts: against a few lines of BPE, all segmentations of a word, and other processes."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from typing import Any, Literal

import pytest
from tokenizers import Tokenizer
from transformers import RobertaTokenizer

from distill.errors import UserError
from distill.text import Example, train_tokenizer, trim_vocabulary

Model = Literal["wordpiece", "bpe", "unigram"]
MODELS: tuple[Model, ...] = ("wordpiece", "bpe", "unigram")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CORPUS = [
    "the quick brown fox jumps over the lazy dog",
    "Quick foxes and lazy dogs keep jumping over browner fences",
    "a gorgeous witty seductive movie that jumps over fences",
    "unbelievably lazy and unbelievably quick, the movie keeps jumping",
    "the dog's fences keep the foxes out; \tthe fox's movie keeps quick dogs in",
] * 6
ODD = ["", "a", "Ünseen wörds 42 ☃", "👩‍👩‍👧 😀😀", "我喜欢这部电影", "x  y\n z", "ﬁne", "zzz!?"]


def _train(model: Model, texts: list[str], size: int = 400) -> Tokenizer:
    return train_tokenizer([Example(text) for text in texts], size, model)


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Model:
    chosen: Model = request.param
    return chosen


@pytest.fixture(scope="module")
def tokenizer(model: Model) -> Tokenizer:
    return _train(model, CORPUS)


def test_special_tokens_have_the_first_ids_and_the_vocabulary_is_no_larger_than_asked(tokenizer: Tokenizer) -> None:
    assert [tokenizer.id_to_token(i) for i in range(5)] == SPECIAL
    assert sorted(tokenizer.get_vocab().values()) == list(range(tokenizer.get_vocab_size()))
    assert tokenizer.get_vocab_size() <= 400


def test_a_pair_is_written_with_berts_template_and_type_ids(tokenizer: Tokenizer) -> None:
    one, two = (tokenizer.encode(text, add_special_tokens=False).tokens for text in ("the lazy fox", "a movie"))
    pair = tokenizer.encode("the lazy fox", "a movie")
    assert pair.tokens == ["[CLS]", *one, "[SEP]", *two, "[SEP]"]
    assert pair.type_ids == [0] * (len(one) + 2) + [1] * (len(two) + 1)
    assert tokenizer.encode("the lazy fox").tokens == ["[CLS]", *one, "[SEP]"]
    assert tokenizer.encode("fox [MASK]").ids[-2] == 4


def test_texts_of_the_corpus_are_read_back(model: Model, tokenizer: Tokenizer) -> None:
    for text in ["unbelievably quick dogs", "Quick witty foxes"]:
        decoded = tokenizer.decode(tokenizer.encode(text).ids).strip()
        assert decoded == (text.lower() if model == "wordpiece" else text)


def test_an_empty_text_is_the_special_tokens_alone(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("").tokens == ["[CLS]", "[SEP]"]
    assert tokenizer.encode("", "").tokens == ["[CLS]", "[SEP]", "[SEP]"]


def test_a_saved_tokenizer_reads_back_the_same(tokenizer: Tokenizer) -> None:
    again = Tokenizer.from_str(tokenizer.to_str())
    assert again.to_str() == tokenizer.to_str()
    for text in [*CORPUS[:5], *ODD]:
        assert again.encode(text).ids == tokenizer.encode(text).ids


SCRIPT = """
import hashlib, json, sys
from distill.text import Example, train_tokenizer
texts, models, sizes = json.load(sys.stdin)
made = [train_tokenizer([Example(t) for t in texts], s, m).to_str() for m in models for s in sizes]
print(json.dumps([hashlib.sha256(m.encode()).hexdigest() for m in made]))
"""


def test_the_same_texts_give_the_same_tokenizer_in_every_process() -> None:
    # many letters that only ever stand in one longer piece, whose own scores the Unigram trainer makes up
    texts = [*CORPUS, *ODD[1:], "Жж Жж ЖжЩщ Щщ ЩщЮю Юю ЮюЖж", "αβγ αβγ αβγδεζ δεζ δεζ"]
    given = json.dumps([texts, MODELS, [330, 8000]])
    found = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            input=given,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "TOKENIZERS_PARALLELISM": parallel},
        ).stdout
        for seed, parallel in (("0", "true"), ("1", "false"), ("2", "true"))
    ]
    assert len(json.loads(found[0])) == 6
    assert len(set(found)) == 1


def test_training_again_and_in_another_order_of_texts_gives_the_same_vocabulary(model: Model) -> None:
    texts = [*CORPUS, *ODD]
    once = _train(model, texts).to_str()
    assert all(_train(model, texts).to_str() == once for _ in range(5))
    assert _train(model, texts[::-1]).get_vocab() == _train(model, texts).get_vocab()


@pytest.mark.parametrize(
    "texts",
    [
        ["a"],
        ["a", "b", ""],
        ["😀"],
        ["👩‍👩‍👧 family", "😀😀"],
        ["我喜欢这部电影。", "他不喜欢看电影"],
        ["!!!", "..."],
        [f"short text {i}" for i in range(10)],
        ["\u200b", "\x00", "x"],
        ["ab" * 3000],
    ],
    ids=["a letter", "letters", "an emoji", "emoji", "Chinese", "marks", "ten texts", "control characters", "long"],
)
def test_tiny_corpora_give_a_small_vocabulary_that_writes_them(model: Model, texts: list[str]) -> None:
    tokenizer = _train(model, texts, 8000)
    assert tokenizer.get_vocab_size() < 400
    for text in texts:
        tokens = tokenizer.encode(text, add_special_tokens=False).tokens
        visible = model != "wordpiece" or text not in ("\u200b", "\x00")  # BERT's normaliser takes these out
        assert bool(tokens) == bool(text and visible)
        if model != "wordpiece":  # which has no word of more than 100 letters
            assert 1 not in tokenizer.encode(text).ids
            assert tokenizer.decode(tokenizer.encode(text).ids).strip() == text


@pytest.mark.parametrize("texts", [[], [""], ["", "  \n"]])
def test_no_text_at_all_is_refused(model: Model, texts: list[str]) -> None:
    with pytest.raises(UserError, match="no text to train a tokenizer on"):
        _train(model, texts)


def test_a_vocabulary_without_room_for_every_byte_or_character_is_refused_with_the_least_size() -> None:
    with pytest.raises(UserError, match=r"vocabulary_size is 261.*256 bytes.*at least 262"):
        _train("bpe", CORPUS, 261)
    assert _train("bpe", CORPUS, 262).get_vocab_size() == 262
    letters = len({c for text in CORPUS for c in text if not c.isspace()}) + 1  # and the blank's
    with pytest.raises(UserError, match=rf"have {letters} different characters.*at least {letters + 6}"):
        _train("unigram", CORPUS, letters + 5)
    assert _train("unigram", CORPUS, letters + 6).get_vocab_size() == letters + 6


def test_words_given_one_by_one_have_the_pieces_of_the_text_and_their_own_numbers(
    model: Model, tokenizer: Tokenizer
) -> None:
    words = ["Quick", "foxes", "jumping", ",", "gorgeous", "xqz", "dogs"]
    encoded = tokenizer.encode(words, is_pretokenized=True)
    assert encoded.tokens == tokenizer.encode(" ".join(words)).tokens
    assert encoded.word_ids[0] is encoded.word_ids[-1] is None
    spelled = dict.fromkeys(range(len(words)), "")
    for token, word in list(zip(encoded.tokens, encoded.word_ids, strict=True))[1:-1]:
        assert word is not None
        spelled[word] += token.removeprefix("##").strip("Ġ▁")
    assert list(spelled.values()) == [word.lower() if model == "wordpiece" else word for word in words]


def test_words_without_a_piece_leave_the_numbers_of_the_others_as_they_are(tokenizer: Tokenizer) -> None:
    encoded = tokenizer.encode(["fox", "", "\u00a0", "dogs"], is_pretokenized=True)
    assert {0, 3} <= {word for word in encoded.word_ids if word is not None}
    assert 1 not in encoded.word_ids
    alone = tokenizer.encode("dogs", add_special_tokens=False).tokens
    assert [t for t, word in zip(encoded.tokens, encoded.word_ids, strict=True) if word == 3] == alone


def test_offsets_leave_out_the_blank_before_a_word(tokenizer: Tokenizer) -> None:
    text = "Quick foxes,  jumping dogs"
    for pair in ((text,), ("fox", text)):
        encoded = tokenizer.encode(*pair)
        rows = zip(encoded.tokens, encoded.offsets, encoded.sequence_ids, strict=True)
        found = {token: text[slice(*span)] for token, span, sequence in rows if sequence == len(pair) - 1}
        assert len(found) >= 5
        for token, covered in found.items():
            letters = token.removeprefix("##").strip("Ġ▁")
            assert covered.lower() == letters.lower() or not letters


@pytest.mark.parametrize("words", [False, True], ids=["texts", "lists of words"])
def test_a_trimmed_tokenizer_cuts_the_training_texts_into_the_same_pieces(
    model: Model, tokenizer: Tokenizer, words: bool
) -> None:
    texts = [*CORPUS[1:4], "Unseen wörds", "a fox " * 3]
    examples = [Example(tuple(text.split()) if words else text) for text in texts]
    trimmed = trim_vocabulary(tokenizer, examples).tokenizer
    assert trimmed.get_vocab_size() < tokenizer.get_vocab_size()
    for example in examples:
        given: Any = list(example.text) if words else example.text
        before, after = (t.encode(given, is_pretokenized=words) for t in (tokenizer, trimmed))
        assert (after.tokens, after.type_ids, after.word_ids) == (before.tokens, before.type_ids, before.word_ids)
        pairs = [t.encode(given, given, is_pretokenized=words) for t in (tokenizer, trimmed)]
        assert (pairs[0].tokens, pairs[0].type_ids) == (pairs[1].tokens, pairs[1].type_ids)


def test_training_reads_the_second_texts_of_pairs_and_lists_of_words(model: Model) -> None:
    tokenizer = train_tokenizer([Example("cat", "dog dogs dogma"), Example(("bird", "birds"))] * 3, 300, model)
    assert {"dog", "bird"} <= {token.strip("Ġ▁") for token in tokenizer.get_vocab()}


def _merged_by_hand(texts: list[str]) -> list[list[str]]:
    """Byte pair encoding over ASCII words: the most frequent pair first, of equal ones that of the lowest ids."""
    words = Counter("Ġ" + word for text in texts for word in text.split())
    cut = {word: list(word) for word in words}
    ids = {byte: i for i, byte in enumerate(sorted(set("".join(words))))}
    merges: list[list[str]] = []
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, pieces in cut.items():
            for pair in pairwise(pieces):
                pairs[pair] += words[word]
        best = min(pairs, key=lambda p: (-pairs[p], ids[p[0]], ids[p[1]]), default=None)
        if best is None or pairs[best] < 2:
            return merges
        merges.append(list(best))
        ids.setdefault("".join(best), len(ids))
        for word, pieces in cut.items():
            done: list[str] = []
            for piece in pieces:
                if done and (done[-1], piece) == best:
                    done[-1] += piece
                else:
                    done.append(piece)
            cut[word] = done


def test_bpe_merges_are_those_of_a_few_lines_of_python() -> None:
    texts = ["low lower lowest newer wider new wide widest", "slow slower slowest knew", "low low wide"]
    trained = json.loads(_train("bpe", texts, 1000).to_str())["model"]["merges"]
    assert trained == _merged_by_hand(texts)


def test_bpe_gives_the_ids_of_transformers_roberta() -> None:
    tokenizer = _train("bpe", CORPUS)
    model = json.loads(tokenizer.to_str())["model"]
    roberta = RobertaTokenizer(
        vocab=model["vocab"],
        merges=[tuple(merge) for merge in model["merges"]],
        add_prefix_space=True,
        **dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True)),
    )
    for text in [*CORPUS[:5], *ODD]:
        expected = roberta(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.encode(text, add_special_tokens=False).ids == expected


def test_bpe_keeps_case_and_writes_every_text() -> None:
    tokenizer = _train("bpe", CORPUS)
    for text in ODD:
        encoded = tokenizer.encode(text)
        assert 1 not in encoded.ids
        assert tokenizer.decode(encoded.ids).removeprefix(" ") == text
    cases = [tokenizer.encode(text).ids for text in ("quick", "Quick")]
    assert cases[0] != cases[1]


def _segmentations(word: str) -> list[list[str]]:
    return [[word]] + [[word[:i], *rest] for i in range(1, len(word)) for rest in _segmentations(word[i:])]


def test_unigram_takes_the_segmentation_with_the_highest_sum_of_scores() -> None:
    tokenizer = _train("unigram", CORPUS, 120)
    scores = dict(json.loads(tokenizer.to_str())["model"]["vocab"])
    for word in ["quick", "jumping", "fences", "dogs", "keeping", "lovers", "movies"]:
        written = tokenizer.encode(word, add_special_tokens=False).tokens
        possible = [s for s in _segmentations("▁" + word) if all(piece in scores for piece in s)]
        best = max(sum(scores[piece] for piece in s) for s in possible)
        assert sum(scores[piece] for piece in written) == pytest.approx(best, abs=1e-9)


def test_unigram_scores_are_log_probabilities_and_frequent_pieces_have_high_ones() -> None:
    tokenizer = _train("unigram", CORPUS, 120)
    vocabulary = json.loads(tokenizer.to_str())["model"]["vocab"]
    assert [token for token, _ in vocabulary[:5]] == SPECIAL
    scores = dict(vocabulary[5:])
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert all(score < 0 for score in scores.values())
    counts = Counter(t for text in CORPUS for t in tokenizer.encode(text, add_special_tokens=False).tokens)
    assert counts[next(iter(scores))] > 2 * sum(counts.values()) / len(counts)


def test_unigram_normalises_by_nfkc_and_takes_a_run_of_blanks_for_one() -> None:
    tokenizer = _train("unigram", [*CORPUS, "a fine find"], 200)

    def pieces(text: str) -> list[str]:
        return list(tokenizer.encode(text).tokens)

    assert pieces("ﬁne") == pieces("fine")
    assert pieces("  the \n\t fox ") == pieces("the fox")
    assert pieces("Quick") != pieces("quick")


def test_unigram_writes_an_unseen_character_as_the_unknown_token() -> None:
    tokenizer = _train("unigram", CORPUS)
    encoded = tokenizer.encode("fox ☃")
    assert encoded.ids[-2:] == [1, 3]
    assert trim_vocabulary(tokenizer, [Example("fox")]).tokenizer.encode("fox ☃").ids[-2:] == [1, 3]


def test_wordpiece_lower_cases_and_splits_into_berts_pieces() -> None:
    tokenizer = _train("wordpiece", CORPUS)
    encoded = tokenizer.encode("The LAZY fox", "a movie")
    assert encoded.tokens == ["[CLS]", "the", "lazy", "fox", "[SEP]", "a", "movie", "[SEP]"]
    assert encoded.type_ids == [0, 0, 0, 0, 0, 1, 1, 1]
    assert tokenizer.decode(tokenizer.encode("unbelievably quick").ids) == "unbelievably quick"


def test_wordpiece_leaves_out_what_occurs_once_and_keeps_its_characters() -> None:
    tokenizer = train_tokenizer([Example("cat cat cat"), Example("dogma"), Example(("cat", "cat"))], 1000)
    assert tokenizer.token_to_id("cat") is not None
    assert tokenizer.token_to_id("dogma") is None
    assert "".join(t.removeprefix("##") for t in tokenizer.encode("dogma", add_special_tokens=False).tokens) == "dogma"
