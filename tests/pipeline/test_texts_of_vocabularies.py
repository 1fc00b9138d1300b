"""Which texts a vocabulary is made of."""

from distill.stages.texts import each_text_once
from distill.text import Example


def test_a_text_in_many_pairs_counts_once_and_words_stay_words() -> None:
    made = [Example("a b", pair) for pair in ("c", "d", "a b")] + [Example("e", None, "label", "group")]
    assert [(e.text, e.pair) for e in each_text_once(made)] == [(text, None) for text in ("a b", "c", "d", "e")]
    words = [Example(("a", "b"), label=("O", "O")), Example(("a", "b"), label=("O", "B-x")), Example(("b",))]
    assert [e.text for e in each_text_once(words)] == [("a", "b"), ("b",)]
