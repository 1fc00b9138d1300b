"""The honest floor: TF-IDF and a linear model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from distill.progress import track
from distill.tasks import Task
from distill.tasks.task import Logits
from distill.text import Example

REGULARIZATION = (0.3, 1.0, 3.0, 10.0)
"""Inverse strengths that are tried; the best on validation is taken."""


@dataclass(frozen=True)
class LinearFloor:
    """A fitted floor."""

    task: Task
    vectorizers: tuple[TfidfVectorizer, ...]
    classifier: LogisticRegression
    validation: float
    regularization: float

    @property
    def parameters(self) -> int:
        """Weights and intercepts."""
        return int(self.classifier.coef_.size + self.classifier.intercept_.size)

    def units(self, examples: Sequence[Example]) -> list[Logits]:
        """[U, C] log-probabilities of each example."""
        return _units(self.task, self.vectorizers, self.classifier, examples)


def fit_linear(task: Task, texts: Sequence[Example], validation: Sequence[Example]) -> LinearFloor:
    """Fits logistic regression on TF-IDF of words and pairs of words; for tags, of a word and its neighbours."""
    labels = np.concatenate([task.targets(e) for e in texts])
    pair = texts[0].pair is not None
    vectorizers = tuple(_vectorizer(task) for _ in range(2 if pair else 1))
    documents = _documents(task, texts)
    for vectorizer, column in zip(vectorizers, documents, strict=True):
        vectorizer.fit(column if len(documents) == 1 else documents[0] + documents[1])
    features = _features(vectorizers, documents)
    gold = task.gold(validation)
    best: LinearFloor | None = None
    for regularization in track(REGULARIZATION, "linear floor"):
        classifier = LogisticRegression(C=regularization, max_iter=1000).fit(features, labels)
        predictions = task.predictions(_units(task, vectorizers, classifier, validation), validation)
        reached = task.metric.score(predictions, gold)
        if best is None or reached > best.validation:
            best = LinearFloor(task, vectorizers, classifier, reached, regularization)
    assert best is not None
    return best


def _vectorizer(task: Task) -> TfidfVectorizer:
    if task.words:
        return TfidfVectorizer(tokenizer=str.split, token_pattern=None, lowercase=False, sublinear_tf=True)
    return TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, strip_accents="unicode", token_pattern=r"(?u)\b\w+\b|[^\w\s]"
    )


def _documents(task: Task, examples: Sequence[Example]) -> list[list[str]]:
    """One list of documents, or two for pairs; for words, one document a word that names its surroundings."""
    if task.words:
        return [[features for e in examples for features in _word_features(e.text)]]
    columns = [[str(e.text) for e in examples]]
    if examples and examples[0].pair is not None:
        columns.append([str(e.pair) for e in examples])
    return columns


def _word_features(words: Sequence[str]) -> list[str]:
    """``word=… before=… after=… suffix=… shape=…`` for each word; white space inside a word becomes an underscore."""
    clean = ["<s>", *("_".join(w.split()) for w in words), "</s>"]
    documents = []
    for i in range(1, len(clean) - 1):
        word = clean[i]
        shape = "".join("X" if c.isupper() else "x" if c.islower() else "0" if c.isdigit() else "-" for c in word)[:4]
        documents.append(
            f"word={word.lower()} before={clean[i - 1].lower()} after={clean[i + 1].lower()} "
            f"suffix={word[-3:].lower()} prefix={word[:2].lower()} shape={shape}"
        )
    return documents


def _features(vectorizers: Sequence[TfidfVectorizer], documents: list[list[str]]) -> Any:
    """[N, F]; for a pair the two vectors' absolute difference and product, as is usual."""
    if len(documents) == 1:
        return vectorizers[0].transform(documents[0])
    first, second = (v.transform(d) for v, d in zip(vectorizers, documents, strict=True))
    return sparse.hstack([abs(first - second), first.multiply(second)]).tocsr()


def _units(
    task: Task, vectorizers: Sequence[TfidfVectorizer], classifier: LogisticRegression, examples: Sequence[Example]
) -> list[Logits]:
    if not examples:
        return []
    counts = [len(task.targets(e)) for e in examples]
    logits = np.full((sum(counts), len(task.labels)), -30.0, dtype=np.float32)
    if len(logits):
        features = _features(vectorizers, _documents(task, examples))
        logits[:, classifier.classes_] = classifier.predict_log_proba(features).clip(-30.0)
    return np.split(logits, np.cumsum(counts)[:-1])
