"""The linear floor learns what a bag of words can say."""

import tracemalloc

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from tiny_training import LABELS, labelled, tagged

from distill import tasks
from distill.text import Example
from distill.training import fit_linear, linear
from distill.training.linear import NEVER, REGULARIZATION

TASK = tasks.build("text-classification", LABELS)


def _accuracy(task: tasks.Task, floor: object, rows: list[Example]) -> float:
    units = floor.units(rows)  # type: ignore[attr-defined]
    right, count = task.counts(task.predictions(units, rows), task.gold(rows)) or (0, 1)
    return right / count


def test_a_rule_on_words_is_learnt() -> None:
    rows = labelled(120, 0)
    floor = fit_linear(TASK, rows[:60], rows[60:90])
    assert floor.validation == 1.0
    assert _accuracy(TASK, floor, rows[90:]) == 1.0


def test_probabilities_are_those_of_scikit_learn_at_the_chosen_strength() -> None:
    rows = labelled(80, 3)
    floor = fit_linear(TASK, rows[:40], rows[40:60])
    texts = [str(e.text) for e in rows]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, strip_accents="unicode")
    features = vectorizer.fit_transform(texts[:40])
    classifier = LogisticRegression(C=floor.regularization, max_iter=1000)
    classifier.fit(features, [LABELS.index(str(e.label)) for e in rows[:40]])
    expected = classifier.predict_proba(vectorizer.transform(texts[60:]))
    np.testing.assert_allclose(np.exp(np.concatenate(floor.units(rows[60:]))), expected, atol=1e-4)
    assert floor.regularization in REGULARIZATION
    assert floor.parameters == features.shape[1] + 1


def test_the_strength_is_the_best_on_validation() -> None:
    rows = labelled(60, 4)
    noisy = [Example(e.text, label=LABELS[(LABELS.index(str(e.label)) + (i % 4 == 0)) % 2]) for i, e in enumerate(rows)]
    floor = fit_linear(TASK, noisy[:40], noisy[40:])
    assert floor.validation == pytest.approx(_accuracy(TASK, floor, noisy[40:]))


def test_a_rule_on_pairs_is_learnt_that_neither_text_shows_alone() -> None:
    random = np.random.default_rng(0)
    words = [f"w{i}" for i in range(12)]
    rows = []
    for i in range(300):
        first = " ".join(random.choice(words, 4, replace=False))
        second = first if i % 2 else " ".join(random.choice(words, 4, replace=False))
        rows.append(Example(first, second, "good" if i % 2 else "bad"))
    floor = fit_linear(TASK, rows[:200], rows[200:250])
    assert _accuracy(TASK, floor, rows[250:]) > 0.9


def test_tags_are_learnt_from_the_word_and_its_neighbours() -> None:
    task = tasks.build("token-classification", ("B-x", "O"))
    rows = tagged(60, 0)
    floor = fit_linear(task, rows[:40], rows[40:50])
    assert _accuracy(task, floor, rows[50:]) == 1.0
    after = [
        Example(e.text, label=tuple("B-x" if i and e.text[i - 1] == "plot" else "O" for i in range(len(e.text))))
        for e in tagged(150, 1)
    ]
    floor = fit_linear(task, after[:120], after[120:135])
    assert _accuracy(task, floor, after[135:]) > 0.97


def test_sentences_get_as_many_rows_as_words_also_empty_and_odd_ones() -> None:
    task = tasks.build("token-classification", ("B-x", "O"))
    rows = tagged(40, 0)
    floor = fit_linear(task, rows[:30], rows[30:])
    odd = [Example(()), Example(("New York", "", "\t")), Example(("ünbekannt",) * 3), Example(())]
    assert [u.shape for u in floor.units(odd)] == [(0, 2), (3, 2), (3, 2), (0, 2)]


def test_an_empty_text_and_a_label_that_no_text_had_are_answered() -> None:
    task = tasks.build("text-classification", ("bad", "fine", "good"))
    rows = labelled(40, 0)
    floor = fit_linear(task, rows[:30], rows[30:])
    (unit,) = floor.units([Example("")])
    assert np.isfinite(unit).all()
    assert np.exp(unit[0, 1]) < 1e-9
    assert np.exp(unit).sum() == pytest.approx(1, abs=1e-5)


def test_no_texts_give_no_units() -> None:
    rows = labelled(40, 0)
    assert fit_linear(TASK, rows[:30], rows[30:]).units([]) == []


def test_each_label_of_several_has_its_own_regression() -> None:
    task = tasks.build("multi-label-classification", ("a", "b", "never"))
    random = np.random.default_rng(0)
    rows = []
    for _ in range(200):
        words = ["filler", *(["alpha"] if random.random() < 0.5 else []), *(["beta"] if random.random() < 0.3 else [])]
        rows.append(Example(" ".join(words), label=("a",) * ("alpha" in words) + ("b",) * ("beta" in words)))
    floor = fit_linear(task, rows[:120], rows[120:160])
    assert floor.validation == 1.0
    assert floor.task.thresholds
    units = floor.units(rows[160:])
    assert floor.task.metric.score(floor.task.predictions(units, rows[160:]), task.gold(rows[160:])) == 1.0
    assert all(u[0, 2] == -30 for u in units)


def test_numbers_are_those_of_ridge_regression() -> None:
    from sklearn.linear_model import Ridge

    task = tasks.build("regression", ())
    random = np.random.default_rng(0)
    words = ["good", "bad", "film", "plot"]
    rows = []
    for _ in range(90):
        chosen = list(random.choice(words, 4))
        rows.append(Example(" ".join(chosen), label=float(chosen.count("good") - chosen.count("bad"))))
    floor = fit_linear(task, rows[:60], rows[60:])
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, strip_accents="unicode")
    features = vectorizer.fit_transform([str(e.text) for e in rows[:60]])
    ridge = Ridge(alpha=1 / floor.regularization).fit(features, [e.label for e in rows[:60]])
    expected = ridge.predict(vectorizer.transform([str(e.text) for e in rows[60:]]))
    np.testing.assert_allclose(np.concatenate(floor.units(rows[60:]))[:, 0], expected, rtol=1e-4, atol=1e-5)
    assert floor.validation > 0.8


def test_the_floor_of_embeddings_is_the_cosine_of_tf_idf() -> None:
    from sklearn.metrics.pairwise import cosine_similarity

    task = tasks.build("sentence-embedding", ())
    texts = [Example("the cat sat"), Example("a dog ran away"), Example("the cat ran")]
    pairs = [
        Example("the cat sat", "the cat ran", 4.0),
        Example("a dog ran", "the cat", 1.0),
        Example("cat", "sat", 0.0),
    ]
    floor = fit_linear(task, texts, pairs)
    vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b|[^\w\s]").fit(
        [str(e.text) for e in texts]
    )
    first, second = (vectorizer.transform([str(getattr(e, side)) for e in pairs]) for side in ("text", "pair"))
    expected = np.diag(cosine_similarity(first, second))
    np.testing.assert_allclose(task.predictions(floor.units(pairs), pairs), expected, atol=1e-6)


def test_of_thousands_of_labels_each_has_the_mean_of_its_texts() -> None:
    labels = tuple(f"class {i}" for i in range(1_000))
    odd = " ".join(f"{letter}{{0}}{letter}" for letter in "cdefg")  # words that no other text has
    texts = [f"a{i % 40} b{i // 40} {odd.format(2 * i + j)}" for i in range(999) for j in range(2)]
    rows = [Example(text, label=labels[n // 2]) for n, text in enumerate(texts)]
    task = tasks.build("text-classification", labels)
    tracemalloc.start()
    floor = fit_linear(task, rows, rows[:200])
    units = floor.units(rows[-200:])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60_000_000  # a regression's weights alone take 200 MB, and it keeps many times as many
    assert _accuracy(task, floor, rows[:300]) > 0.95
    assert all(unit.shape == (1, 1_000) and unit[0, 999] == NEVER for unit in units)
    assert "each label's weights are the mean TF-IDF of its texts: a regression of 1,000 labels" in floor.method
    assert fit_linear(TASK, labelled(40, 0), labelled(20, 1)).method == ""


def test_means_of_sets_of_labels_are_those_of_their_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "MOST_WEIGHTS", 0)
    task = tasks.build("multi-label-classification", ("a", "b", "never"))
    kinds = [("alpha", ("a",)), ("beta", ("b",)), ("alpha beta", ("a", "b"))]
    rows = [Example(f"{words} filler{i % 7}", label=names) for i in range(60) for words, names in kinds]
    floor = fit_linear(task, rows[:120], rows[120:])
    assert floor.validation > 0.95
    units = floor.units([Example("alpha"), Example("")])
    assert units[0][0, 0] > units[0][0, 1] > units[0][0, 2] == NEVER
    assert np.isfinite(units[1]).all()
