"""The honest floor: TF-IDF and a linear model."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import normalize

from distill.progress import say, track
from distill.tasks import Task
from distill.tasks.task import Logits
from distill.text import Example

REGULARIZATION = (0.3, 1.0, 3.0, 10.0)
"""Inverse strengths that are tried; the best on validation is taken."""
NEVER = -30.0
"""The logit of a label that no training text has."""
MOST_VECTOR_FEATURES = 4096
"""Size of the TF-IDF vectors that stand beside sentence embeddings; the most frequent words."""
MOST_WEIGHTS = 10_000_000
"""Labels times features up to which a regression is fitted: it keeps some 25 numbers of 8 bytes a weight."""
SHARPNESS = 10.0
"""What the cosines of :func:`_nearest_mean` are multiplied with to be logits."""

Fitted = Callable[[Any], NDArray[Any]]
"""Features [N, F] to logits [N, C]."""


@dataclass(frozen=True)
class LinearFloor:
    """A fitted floor."""

    task: Task
    """With the thresholds it chose on validation, where the task has some."""
    vectorizers: tuple[TfidfVectorizer, ...]
    fitted: Fitted
    parameters: int
    """Weights and intercepts."""
    validation: float
    regularization: float
    method: str = ""
    """How it was fitted, where that is another way than the usual one."""

    def units(self, examples: Sequence[Example]) -> list[Logits]:
        """[U, C] of each example: log-probabilities, logits or numbers; for embeddings TF-IDF vectors."""
        return _units(self.task, self.vectorizers, self.fitted, examples)


def fit_linear(task: Task, texts: Sequence[Example], validation: Sequence[Example]) -> LinearFloor:
    """Fits a linear model on TF-IDF of words and pairs of words; for tags, of a word and its neighbours.

    Logistic regression for labels (one a label where a text may have several), ridge regression for numbers. Where
    thousands of labels would take more memory than a machine has, the weights of a label are the mean of its texts.
    Sentence embeddings have nothing to fit: the TF-IDF vectors themselves are the floor.
    """
    vectorizers = tuple(_vectorizer(task) for _ in range(2 if texts[0].pair is not None else 1))
    documents = _documents(task, texts)
    for vectorizer in vectorizers:
        vectorizer.fit([document for column in documents for document in column])
    if task.kind == "vector":
        return _scored(task, vectorizers, lambda features: features.toarray(), 0, 0.0, validation)
    features = _features(vectorizers, documents)
    targets = np.concatenate([task.targets(e) for e in texts])
    if task.width > 2 and task.width * features.shape[1] > MOST_WEIGHTS:
        method = (
            f"each label's weights are the mean TF-IDF of its texts: a regression of {task.width:,} labels on "
            f"{features.shape[1]:,} words and pairs of words would not fit in memory"
        )
        say(f"linear floor: {method}")
        fitted, parameters = _nearest_mean(features, targets, task.width)
        return dataclasses.replace(_scored(task, vectorizers, fitted, parameters, 0.0, validation), method=method)
    fit = {"categorical": _classes, "bernoulli": _yes_or_no, "number": _numbers}[task.kind]
    best: LinearFloor | None = None
    for regularization in track(REGULARIZATION, "linear floor"):
        fitted, parameters = fit(features, targets, task.width, regularization)
        floor = _scored(task, vectorizers, fitted, parameters, regularization, validation)
        if best is None or floor.validation > best.validation:
            best = floor
    assert best is not None
    return best


def _scored(
    task: Task,
    vectorizers: tuple[TfidfVectorizer, ...],
    fitted: Fitted,
    parameters: int,
    regularization: float,
    validation: Sequence[Example],
) -> LinearFloor:
    units = _units(task, vectorizers, fitted, validation)
    chosen = task.fit(units, validation)
    reached = task.metric.score(chosen.predictions(units, validation), task.gold(validation))
    return LinearFloor(chosen, vectorizers, fitted, parameters, reached, regularization)


def _classes(features: Any, targets: NDArray[Any], width: int, regularization: float) -> tuple[Fitted, int]:
    model = LogisticRegression(C=regularization, max_iter=1000).fit(features, targets)

    def answer(asked: Any) -> NDArray[Any]:
        logits = np.full((asked.shape[0], width), NEVER)
        logits[:, model.classes_] = model.predict_log_proba(asked).clip(NEVER)
        return logits

    return answer, int(model.coef_.size + model.intercept_.size)


def _yes_or_no(features: Any, targets: NDArray[Any], width: int, regularization: float) -> tuple[Fitted, int]:
    models = {
        label: LogisticRegression(C=regularization, max_iter=1000, solver="liblinear").fit(features, column)
        for label, column in enumerate(targets.T)
        if len(np.unique(column)) == 2
    }

    def answer(asked: Any) -> NDArray[Any]:
        logits = np.full((asked.shape[0], width), NEVER)
        for label, model in models.items():
            logits[:, label] = model.decision_function(asked)
        return logits

    return answer, sum(int(m.coef_.size + m.intercept_.size) for m in models.values())


def _nearest_mean(features: Any, targets: NDArray[Any], width: int) -> tuple[Fitted, int]:
    """Rocchio's classifier: the cosine to the mean of each label's texts. Its weights are as sparse as the texts."""
    texts, labels = (np.arange(len(targets)), targets) if targets.ndim == 1 else np.nonzero(targets > 0)
    members = sparse.csr_matrix((np.ones(len(labels)), (labels, texts)), shape=(width, len(targets)))
    means = normalize(members @ features)
    absent = np.bincount(labels, minlength=width) == 0

    def answer(asked: Any) -> NDArray[Any]:
        logits: NDArray[Any] = (SHARPNESS * normalize(asked) @ means.T).astype(np.float32).toarray()
        logits[:, absent] = NEVER
        return logits

    return answer, int(means.nnz)


def _numbers(features: Any, targets: NDArray[Any], width: int, regularization: float) -> tuple[Fitted, int]:
    model = Ridge(alpha=1 / regularization).fit(features, targets[:, 0])

    def answer(asked: Any) -> NDArray[Any]:
        numbers: NDArray[Any] = model.predict(asked)
        return numbers[:, None]

    return answer, int(model.coef_.size + 1)


def _vectorizer(task: Task) -> TfidfVectorizer:
    if task.tagged:
        return TfidfVectorizer(tokenizer=str.split, token_pattern=None, lowercase=False, sublinear_tf=True)
    words = r"(?u)\b\w+\b|[^\w\s]"
    if task.kind == "vector":
        return TfidfVectorizer(
            sublinear_tf=True, strip_accents="unicode", token_pattern=words, max_features=MOST_VECTOR_FEATURES
        )
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, strip_accents="unicode", token_pattern=words)


def _documents(task: Task, examples: Sequence[Example]) -> list[list[str]]:
    """One list of documents, or two for pairs; for words, one document a word that names its surroundings."""
    if task.tagged:
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
    """[N, F]; for a pair the two vectors' absolute difference, product and cosine, as is usual."""
    if len(documents) == 1:
        return vectorizers[0].transform(documents[0])
    first, second = (v.transform(d) for v, d in zip(vectorizers, documents, strict=True))
    product = first.multiply(second)
    return sparse.hstack([abs(first - second), product, sparse.csr_matrix(product.sum(axis=1))]).tocsr()


def _units(
    task: Task, vectorizers: Sequence[TfidfVectorizer], fitted: Fitted, examples: Sequence[Example]
) -> list[Logits]:
    if not examples:
        return []
    documents = _documents(task, examples)
    if task.kind == "vector":
        columns = [fitted(vectorizers[0].transform(column)).astype(np.float32) for column in documents]
        return [np.stack(vectors) for vectors in zip(*columns, strict=True)]
    counts = [len(task.targets(e)) for e in examples]
    logits = np.zeros((0, task.width))
    if sum(counts):
        logits = fitted(_features(vectorizers, documents))
    return np.split(logits.astype(np.float32), np.cumsum(counts)[:-1])
