"""Which texts are near those of a task."""

from collections.abc import Sequence

import numpy as np

from distill.data.variants import pieces_of
from distill.text.example import Example


def nearest_to(wanted: Sequence[Example], candidates: Sequence[Example], count: int) -> set[int]:
    """The indices of the ``count`` candidates that are nearest to one of the ``wanted`` texts.

    Near by the cosine of TF-IDF vectors: the share of rare words that two texts have in common. A candidate has to be
    near to one text, not to their mean, so that a task of many topics keeps them all. Of equals the first.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.neighbors import NearestNeighbors

    own, others = ([" ".join(pieces_of(e)) for e in part] for part in (wanted, candidates))
    vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\w+|[^\w\s]").fit([*own, *others])
    index = NearestNeighbors(n_neighbors=1, metric="cosine").fit(vectorizer.transform(own))
    distances, _ = index.kneighbors(vectorizer.transform(others))
    return set(np.argsort(distances[:, 0].round(9), kind="stable")[:count].tolist())
