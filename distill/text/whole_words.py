"""Which pieces of a vocabulary are whole words."""

from collections.abc import Sequence

from tokenizers import Tokenizer

BEFORE = "a"
"""Stands before a word that is to be cut into pieces as inside of a text."""


def whole_words(tokenizer: Tokenizer, size: int) -> dict[int, str]:
    """The pieces below ``size`` that are whole words of letters where they stand inside of a text, by their ids."""
    written = tokenizer.decode_batch([[i] for i in range(min(size, tokenizer.get_vocab_size()))])
    known = {i: text.strip() for i, text in enumerate(written) if text.strip().isalpha()}
    pieces = single_pieces(tokenizer, sorted(set(known.values())))
    return {i: word for i, word in known.items() if pieces.get(word) == i}


def single_pieces(tokenizer: Tokenizer, words: Sequence[str]) -> dict[str, int]:
    """The id of each word that is one piece where it stands inside of a text."""
    found = {}
    encodings = tokenizer.encode_batch([f"{BEFORE} {word}" for word in words], add_special_tokens=False)
    for word, encoding in zip(words, encodings, strict=True):
        own = [i for i, (_, end) in zip(encoding.ids, encoding.offsets, strict=True) if end > len(BEFORE)]
        if len(own) == 1:
            found[word] = own[0]
    return found
