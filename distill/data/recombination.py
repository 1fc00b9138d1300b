"""Further pairs without labels, made of the texts of pairs that are there."""

import random
from collections.abc import Sequence

from distill.data.variants import normal_form
from distill.text.example import Example

NEAREST = 40
"""How many texts near to one are drawn from."""


def recombined(examples: Sequence[Example], held_out: set[str], count: int, seed: int) -> list[Example]:
    """Up to ``count`` new pairs, each of a text of ``examples`` and one of those nearest to it; none whose normal form
    is in ``held_out``.

    Near by the cosine of TF-IDF vectors: two texts drawn at random have nothing to do with each other, and a teacher
    has little to say of them (Thakur et al. 2021, Augmented SBERT, section 3.1, who take BM25). The same at every run
    with the same seed.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.neighbors import NearestNeighbors

    found = {str(text) for e in examples for text in (e.text, e.pair)}
    texts = sorted(text for text in found if normal_form(text) not in held_out)
    if len(texts) < 2:
        return []
    known = {frozenset((e.text, e.pair)) for e in examples}
    generator = random.Random(f"recombined {seed}")
    firsts = generator.sample(range(len(texts)), min(len(texts), count))
    vectors = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\w+|[^\w\s]").fit_transform(texts)
    index = NearestNeighbors(n_neighbors=min(NEAREST + 1, len(texts)), metric="cosine").fit(vectors)
    nearest = index.kneighbors(vectors[firsts], return_distance=False)
    made: dict[frozenset[str], Example] = {}
    for _round in range(NEAREST):
        for first, near in zip(firsts, nearest, strict=True):
            pair = texts[first], texts[generator.choice(near)]
            content = frozenset(pair)
            if len(made) < count and len(content) == 2 and content not in known:
                made.setdefault(content, Example(*pair))
    return list(made.values())
