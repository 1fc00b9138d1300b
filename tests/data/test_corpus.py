"""Texts to learn a language on: each once, none that is held out."""

from pathlib import Path

import pytest

from distill.config import DataSource, PretrainingConfig, Source
from distill.data.corpus import load_corpus, pieces_of
from distill.errors import UserError
from distill.text import Example

OWN = [Example("one", "two"), Example("two"), Example(("three", "words")), Example(" "), Example("four", "held")]


def texts(corpus: list[Example]) -> set[str]:
    assert all(e.pair is None and e.label is None for e in corpus)
    assert len({e.text for e in corpus}) == len(corpus)
    return {str(e.text) for e in corpus}


def test_the_training_texts_are_the_corpus_where_none_is_named() -> None:
    corpus = load_corpus(PretrainingConfig(), OWN, [Example("held", label="x"), Example("a", "four")])
    assert texts(corpus) == {"one", "two", "three words"}
    assert load_corpus(PretrainingConfig(), OWN[::-1], [Example("held"), Example("a", "four")]) == corpus


def test_a_column_that_a_corpus_lacks_is_told_with_the_key_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "corpus.csv").write_text("content\na text\n")
    settings = PretrainingConfig((DataSource(path=str(tmp_path / "corpus.csv")),))
    with pytest.raises(UserError, match=r"has no column 'text'.*; set student\.pretraining\.text$"):
        load_corpus(settings, OWN, [])


def test_a_limit_takes_the_same_texts_every_time_and_not_the_first() -> None:
    many = [Example(str(i)) for i in range(200)]
    some = load_corpus(PretrainingConfig(limit=50), many, [])
    assert len(some) == 50
    assert some == load_corpus(PretrainingConfig(limit=50), many[::-1], [])
    assert texts(some) < texts(load_corpus(PretrainingConfig(), many, []))
    assert max(int(str(e.text)) for e in some) > 100


def test_named_corpora_take_the_place_of_the_training_texts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("five\n\nheld\n")
    (tmp_path / "b.csv").write_text("body,label\nsix,?\nfive,?\n")
    sources = (Source(path=str(tmp_path / "b.csv")),)
    corpus = load_corpus(PretrainingConfig(texts=sources, text="body"), OWN, [])
    assert texts(corpus) == {"five", "six"}
    both = (Source(path=str(tmp_path / "a.txt")), *sources)
    assert texts(load_corpus(PretrainingConfig(texts=both, text="body"), OWN, [Example("held")])) == {"five", "six"}
    with pytest.raises(UserError, match="has no column 'text'"):
        load_corpus(PretrainingConfig(texts=sources), OWN, [])


def test_words_are_joined_and_pairs_taken_apart() -> None:
    assert pieces_of(Example(("a", "b"))) == ["a b"]
    assert pieces_of(Example("a", "b")) == ["a", "b"]
