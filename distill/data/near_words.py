"""Words that are near each other in a model's embeddings."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from distill.text.whole_words import single_pieces, whole_words

AT_ONCE = 512
"""Words that are compared with all others at a time."""


def near_words(
    tokenizer: Tokenizer, embeddings: NDArray[np.float32], words: Collection[str], neighbours: int
) -> dict[str, tuple[str, ...]]:
    """For each of the ``words`` that is a single piece, the words nearest to it by the cosine of their ``embeddings``
    [V, D], the nearest first. Candidates are all pieces of the vocabulary that are whole words of letters."""
    known = whole_words(tokenizer, len(embeddings))
    whole = np.array(list(known), dtype=np.int64)
    column = {i: at for at, i in enumerate(known)}
    asked = {word: i for word, i in single_pieces(tokenizer, sorted(words)).items() if i in column}
    count = min(neighbours, len(whole) - 1)
    if count < 1:
        return {}
    directions = embeddings[whole] / np.maximum(np.linalg.norm(embeddings[whole], axis=1, keepdims=True), 1e-12)
    rows = sorted({column[i] for i in asked.values()})
    near: dict[int, tuple[str, ...]] = {}
    for start in range(0, len(rows), AT_ONCE):
        part = rows[start : start + AT_ONCE]
        cosines = directions[part] @ directions.T
        cosines[np.arange(len(part)), part] = -np.inf
        best = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        order = np.take_along_axis(best, np.argsort(-np.take_along_axis(cosines, best, axis=1), axis=1), axis=1)
        near |= {row: tuple(known[int(whole[at])] for at in own) for row, own in zip(part, order, strict=True)}
    return {word: near[column[i]] for word, i in asked.items()}
