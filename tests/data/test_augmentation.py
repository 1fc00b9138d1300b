"""Texts made of others: each method against its definition, and what holds for all that is made."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from little_world import word_pieces
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from distill.config import AugmentConfig, MaskedLmStep, MaskStep, NgramStep, SpliceStep, WordStep
from distill.config.steps import AugmentStep
from distill.data.augmentation import Given, make_texts
from distill.data.near_words import near_words
from distill.data.variants import content_of
from distill.data.word_methods import (
    Blank,
    Word,
    Words,
    fill_blanks,
    mask_words,
    replace_words,
    sample_ngram,
    splice,
)
from distill.text import Example

SEEDS = range(40)
NEAR = {"film": ("movie", "picture"), "good": ("great",), "dull": ("boring", "slow")}


def words_of(count: int, tagged: bool = True) -> Words:
    return tuple(Word(f"w{i}", f"t{i}" if tagged else None) for i in range(count))


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_masking_replaces_its_share_of_the_words_and_leaves_the_others(seed: int) -> None:
    words = words_of(1 + seed)
    made = mask_words(words, 0.3, "[MASK]", generator(seed))
    masked = [i for i, word in enumerate(made) if word.text == "[MASK]"]
    assert len(masked) == (0 if seed == 0 else min(max(1, round(0.3 * len(words))), seed))
    assert [word.tag for word in made] == [word.tag for word in words]
    assert all(made[i] == words[i] for i in range(len(words)) if i not in masked)


@pytest.mark.parametrize("seed", SEEDS)
def test_without_a_mask_token_the_same_words_are_left_out_with_their_tags(seed: int) -> None:
    words = words_of(1 + seed)
    masked = mask_words(words, 0.3, "[MASK]", generator(seed))
    made = mask_words(words, 0.3, None, generator(seed))
    assert made == tuple(word for word in masked if word.text != "[MASK]")
    assert made


def test_every_word_is_masked_as_often_as_any_other() -> None:
    draws = generator(0)
    counts = Counter(
        i for _ in range(2000) for i, w in enumerate(mask_words(words_of(5), 0.4, "_", draws)) if w.text == "_"
    )
    assert sum(counts.values()) == 4000
    assert all(abs(counts[i] - 800) < 100 for i in range(5))  # 4.6 standard deviations


@pytest.mark.parametrize("seed", SEEDS)
def test_ngrams_are_neighbouring_words_of_a_length_in_range(seed: int) -> None:
    words = words_of(1 + seed % 9)
    made = sample_ngram(words, 2, 5, generator(seed))
    assert min(2, len(words)) <= len(made) <= min(5, len(words))
    numbers = [int(word.text[1:]) for word in made]
    assert all(b == a + 1 for a, b in pairwise(numbers))
    assert all(word in words for word in made)


def test_every_length_and_place_of_an_ngram_is_drawn() -> None:
    draws = generator(0)
    found = {tuple(word.text for word in sample_ngram(words_of(4), 1, 3, draws)) for _ in range(400)}
    whole = [word.text for word in words_of(4)]
    assert found == {tuple(whole[i : i + n]) for n in (1, 2, 3) for i in range(5 - n)}


@pytest.mark.parametrize(
    ("place", "begins", "ends"),
    [(0.5, 4, 2), (0.25, 2, 3), (0.0, 1, 3), (1.0, 7, 1), (0.75, 6, 1)],
)
def test_splices_are_cut_at_the_same_relative_place(place: float, begins: int, ends: int) -> None:
    first, second = words_of(8), tuple(Word(f"v{i}") for i in range(4))
    assert splice(first, second, place) == (first[:begins], second[4 - ends :])


@pytest.mark.parametrize("seed", SEEDS)
def test_words_are_replaced_by_near_ones_and_marks_stay(seed: int) -> None:
    words = tuple(map(Word, ["a", "(good)", "film,", "not", '"dull"', "fi-lm"]))
    made = replace_words(words, 0.34, NEAR, 1, generator(seed))
    wanted = {1: "(great)", 2: "movie,", 4: '"boring"'}
    changed = [i for i, (a, b) in enumerate(zip(words, made, strict=True)) if a != b]
    assert len(changed) == 2
    assert all(made[i].text == wanted[i] for i in changed)


def test_no_more_words_are_replaced_than_have_near_ones() -> None:
    words = (Word("good"), Word("x"), Word("y"))
    assert [w.text for w in replace_words(words, 1.0, NEAR, 5, generator(0))] == ["great", "x", "y"]
    assert replace_words(words[1:], 1.0, NEAR, 5, generator(0)) == words[1:]


def likely(blanks: Sequence[Blank], count: int = 2) -> list[tuple[str, ...]]:
    """Two words for each blank that nothing else could have given."""
    return [tuple(f"{word}{'xyz'[i]}{len(before)}" for i in range(count)) for before, word, _ in blanks]


@pytest.mark.parametrize("seed", SEEDS)
def test_blanks_are_filled_with_words_that_are_likely_there_and_all_else_stays(seed: int) -> None:
    words = tuple(Word(text, f"t{text}") for text in ["a", "(good)", "film,", "of", "1984", "fi-lm", "[MASK]"])
    first, *others = fill_blanks([words, words[4:], ()], 0.34, likely, "[MASK]", generator(seed))
    assert others == [words[4:], ()]  # nothing in them is a word of letters
    assert [word.tag for word in first] == [word.tag for word in words]
    changed = [i for i, (a, b) in enumerate(zip(words, first, strict=True)) if a != b]
    assert len(changed) == 2
    wanted = {
        0: {"ax0", "ay0"},
        1: {"(goodx3)", "(goody3)"},  # with "a (" before it
        2: {"filmx9,", "filmy9,"},
        3: {"ofx15", "ofy15"},
    }
    assert all(first[i].text in wanted[i] for i in changed)


def test_a_blank_is_asked_about_once_and_shows_all_other_words_as_they_were() -> None:
    asked: list[Blank] = []

    def remember(blanks: Sequence[Blank]) -> list[tuple[str, ...]]:
        asked.extend(blanks)
        return likely(blanks)

    text = tuple(map(Word, ["(good)", "film,", "1984"]))
    made = fill_blanks([text] * 50, 1.0, remember, None, generator(0))
    assert sorted(asked) == [("(", "good", ") film, 1984"), ("(good) ", "film", ", 1984")]
    assert {word.text for one in made for word in one} == {"(goodx1)", "(goody1)", "filmx7,", "filmy7,", "1984"}


def test_candidates_are_drawn_alike_and_where_there_are_none_a_word_stays() -> None:
    text = tuple(map(Word, ["good", "film"]))
    found = {"good": ("x", "y", "z"), "film": ()}
    made = fill_blanks([text] * 3000, 1.0, lambda blanks: [found[blank.word] for blank in blanks], None, generator(0))
    assert {one[1].text for one in made} == {"film"}
    counts = Counter(one[0].text for one in made)
    assert set(counts) == {*"xyz"}
    assert all(abs(counts[word] - 1000) < 110 for word in "xyz")  # 4.3 standard deviations


def byte_level(words: list[str]) -> Tokenizer:
    """Bytes, and each word behind a blank as one piece."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces, merges = list(alphabet), []
    for word in words:
        piece = "Ġ"
        for letter in word:
            if piece + letter not in pieces:
                pieces.append(piece + letter)
                merges.append((piece, letter))
            piece += letter
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def unigram(words: list[str]) -> Tokenizer:
    """Letters, and each word behind a blank as one piece, as SentencePiece has them."""
    letters = [*"abcdefghijklmnopqrstuvwxyz▁"]
    tokenizer = Tokenizer(
        models.Unigram([("<unk>", 0.0), *((f"▁{w}", -1.0) for w in words), *((x, -9.0) for x in letters)], unk_id=0)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


OWN = ["film", "movie", "cast", "plot"]
FAMILIES = {
    "word pieces": (word_pieces([" ".join([*OWN, "great", "filming"])]), ""),
    "bytes": (byte_level(OWN), "Ġ"),
    "unigram": (unigram(OWN), "▁"),
}
"""A tokenizer, and what its pieces have in the place of a blank."""


@pytest.mark.parametrize("family", FAMILIES)
def test_near_words_are_whole_words_by_the_cosine_of_their_embeddings(family: str) -> None:
    tokenizer, opening = FAMILIES[family]
    vocabulary = tokenizer.get_vocab()
    vectors = np.random.default_rng(0).normal(size=(len(vocabulary), 3)).astype(np.float32)
    at = {word: vocabulary[opening + word] for word in OWN}
    vectors[at["film"]], vectors[at["movie"]] = (1, 0, 0), (5, 0.1, 0)  # far in length, near in direction
    vectors[at["cast"]] = (1, 1, 0)
    near = near_words(tokenizer, vectors, {"film", "Film", "filmed", "zzz"}, 3)
    assert "zzz" not in near  # not one piece
    assert "filmed" not in near
    assert near["film"][0] == "movie"
    assert "film" not in near["film"]
    whole = {piece.removeprefix(opening): i for piece, i in vocabulary.items() if piece.startswith(opening)}
    alphabetic = {word: i for word, i in whole.items() if word.isalpha()}
    cosines = {
        word: float(vectors[i] @ vectors[at["film"]] / np.linalg.norm(vectors[i])) for word, i in alphabetic.items()
    }
    cosines.pop("film")
    assert list(near["film"]) == sorted(cosines, key=lambda word: -cosines[word])[:3]


def test_near_words_of_a_tokenizer_without_whole_words_are_none() -> None:
    assert near_words(byte_level([]), np.ones((256, 2), dtype=np.float32), {"film"}, 5) == {}


TEXTS = [
    *(
        Example(f"the {a} film of {b} is good and the cast is dull", None, label)
        for a, b, label in [("first", "Rome", "fresh"), ("second", "Bern", "rotten"), ("third", "Lima", None)]
    ),
    Example("good", None, "fresh"),
]
PAIRS = [
    Example(f"is the film number {i} good ?", f"the cast of number {i} is dull , very dull", "yes") for i in range(4)
]
TAGGED = [
    Example(tuple(f"w{i}-{j}" for j in range(5 + i)), None, tuple(f"t{i}-{j}" for j in range(5 + i))) for i in range(4)
]
CHAIN = (MaskStep("mask", 0.3), WordStep("words", 0.3, 1), NgramStep("ngrams", 2, 4, 0.5))
FILL = MaskedLmStep("masked_lm", 0.3, 2)
GIVEN = Given("[MASK]", NEAR, likely)
STEPS: list[tuple[AugmentStep, ...]] = [
    *((step,) for step in (*CHAIN, FILL, SpliceStep("splice"))),
    CHAIN,
    (*CHAIN[:1], FILL, *CHAIN[1:]),
]


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("examples", [TEXTS, PAIRS, TAGGED])
def test_what_is_made_is_new_and_the_seed_decides_it(steps: tuple[AugmentStep, ...], examples: list[Example]) -> None:
    config = AugmentConfig(steps, 6)
    made, duplicates = make_texts(examples, config, 3, GIVEN)
    contents = [content_of(one.example) for one in made]
    assert len(set(contents)) == len(contents)
    assert not set(contents) & {content_of(e) for e in examples}
    assert len(made) + duplicates == 6 * len(examples)
    assert (made, duplicates) == make_texts(examples, config, 3, GIVEN)
    if len(made) > 5:
        assert made != make_texts(examples, config, 4, GIVEN)[0]
    names = {step.name for step in steps}
    assert {name for one in made for name in one.by.split(" and ")} <= names
    assert all(one.by for one in made)


@pytest.mark.parametrize("steps", STEPS)
def test_words_stay_whole_and_tags_go_with_them(steps: tuple[AugmentStep, ...]) -> None:
    made, _ = make_texts(TAGGED, AugmentConfig(steps, 6), 0, GIVEN)
    for one in made:
        assert isinstance(one.example.text, tuple)
        assert isinstance(one.example.label, tuple)
        assert len(one.example.label) == len(one.example.text)
        for word, tag in zip(one.example.text, one.example.label, strict=True):
            assert word in ("[MASK]", f"w{str(tag)[1:]}")


@pytest.mark.parametrize("steps", [(step,) for step in (*CHAIN, FILL)])
def test_one_side_of_a_pair_is_changed_at_a_time(steps: tuple[AugmentStep, ...]) -> None:
    made, _ = make_texts(PAIRS, AugmentConfig(steps, 20), 0, GIVEN)
    firsts, seconds = {e.text for e in PAIRS}, {e.pair for e in PAIRS}
    assert all((one.example.text in firsts) != (one.example.pair in seconds) for one in made)
    assert {one.example.text in firsts for one in made} == {True, False}


def test_the_second_text_stays_to_the_letter_where_answers_stand_in_it() -> None:
    questions = [Example(str(e.text), f"{e.pair}\n\n  to  the  letter") for e in PAIRS]
    made, _ = make_texts(questions, AugmentConfig((MaskStep("mask"),), 20), 0, Given("[MASK]", second_stays=True))
    assert {one.example.pair for one in made} == {e.pair for e in questions}
    assert all("[MASK]" in one.example.text for one in made)


def test_a_splice_of_pairs_takes_both_sides_from_the_same_two_pairs() -> None:
    made, _ = make_texts(PAIRS, AugmentConfig((SpliceStep("splice"),), 20), 0, Given())
    assert made
    for one in made:
        sides = [str(one.example.text).split(), str(one.example.pair).split()]
        numbers = [[word for word in side if word.isdigit()] for side in sides]
        assert all(len(found) <= 2 for found in numbers)
        assert sides[0][:2] == ["is", "the"] or sides[0][0] == "is"
        assert sides[1][0] == "the"
        assert sides[1][-1] == "dull"


def test_a_made_text_has_the_label_of_its_origin_and_a_splice_that_of_its_longer_part() -> None:
    masked, _ = make_texts(TEXTS, AugmentConfig((MaskStep("mask"),), 9), 0, Given("[MASK]"))
    place = {"Rome": "fresh", "Bern": "rotten", "Lima": None}
    for one in masked:
        named = [place[word] for word in str(one.example.text).split() if word in place]
        assert not named or named == [one.example.label]
    long = [Example("a " * 9 + "z", None, "A"), Example("b " * 9 + "z", None, "B"), Example("c " * 9 + "z")]
    spliced, _ = make_texts(long, AugmentConfig((SpliceStep("splice"),), 30), 0, Given())
    assert len({one.example.label for one in spliced}) == 3
    for one in spliced:
        words = str(one.example.text).split()
        begins, ends = words[0], words[-2] if words[-2] != words[0] else words[0]
        count = sum(word == begins for word in words)
        longer = begins if count >= len(words) - count else ends
        assert one.example.label == {"a": "A", "b": "B", "c": None}[longer]


def test_a_model_is_asked_once_about_all_that_the_step_before_left() -> None:
    asked: list[Sequence[Blank]] = []

    def remember(blanks: Sequence[Blank], count: int) -> list[tuple[str, ...]]:
        asked.append(blanks)
        return likely(blanks, count)

    steps = (MaskStep("mask", 0.1), MaskedLmStep("masked_lm", 0.2, 3), WordStep("words", 0.1, 1))
    made, _ = make_texts(TEXTS, AugmentConfig(steps, 5), 0, Given("[MASK]", NEAR, remember))
    (blanks,) = asked
    assert len(set(blanks)) == len(blanks) > 20
    assert all("[MASK]" in f"{before}{behind}" for before, _, behind in blanks if before or behind)
    assert "mask and masked_lm and words" in {one.by for one in made}


def test_texts_of_one_word_are_made_into_nothing() -> None:
    one = [Example("good", None, "fresh"), Example("dull")]
    for step in (MaskStep("mask"), NgramStep("ngrams"), SpliceStep("splice")):
        assert make_texts(one, AugmentConfig((step,), 3), 0, Given("[MASK]")) == ([], 6)
