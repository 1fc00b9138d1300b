"""Any number of labels: thresholds against a search over all of them, answers and targets."""

import numpy as np
import pytest

from distill import tasks
from distill.errors import UserError
from distill.metrics import micro_f1
from distill.tasks.multi_label_classification import ENOUGH, best_threshold
from distill.text import Example

LABELS = ("joy", "love", "anger")
TASK = tasks.build("multi-label-classification", LABELS)


def _f1(gold: np.ndarray, given: np.ndarray) -> float:
    right = (gold & given).sum()
    return float(2 * right / max(1, gold.sum() + given.sum()))


@pytest.mark.parametrize("seed", range(20))
def test_the_threshold_is_the_best_of_all(seed: int) -> None:
    random = np.random.default_rng(seed)
    gold = (random.random(60) < random.uniform(0.05, 0.8)).astype(np.int64)
    logits = np.round(random.normal(size=60) + gold * random.uniform(-1, 3), int(random.integers(1, 4)))
    chosen = best_threshold(logits, gold)
    tried = [_f1(gold, (logits > bar).astype(np.int64)) for bar in [logits.min() - 1, *np.unique(logits)]]
    if gold.any():
        assert _f1(gold, (logits > chosen).astype(np.int64)) == pytest.approx(max(tried))


def test_a_label_that_never_occurs_is_never_given() -> None:
    logits = np.array([0.5, 2.0, -1.0])
    assert not (logits > best_threshold(logits, np.zeros(3, dtype=np.int64))).any()


@pytest.mark.parametrize("seed", range(5))
def test_with_other_answers_the_threshold_is_best_for_all_together(seed: int) -> None:
    random = np.random.default_rng(seed)
    gold, logits = (random.random(50) < 0.3).astype(np.int64), random.normal(size=50)
    chosen = best_threshold(logits, gold, 40, 90)

    def f1(bar: float) -> float:
        given = logits > bar
        return float(2 * (40 + (gold & given).sum()) / (90 + gold.sum() + given.sum()))

    assert f1(chosen) == pytest.approx(max(map(f1, [logits.max() + 1, logits.min() - 1, *logits])))


@pytest.mark.parametrize("metric", ["micro_f1", "macro_f1"])
def test_frequent_labels_get_a_threshold_of_their_own_and_rare_ones_the_common_one(metric: str) -> None:
    task = tasks.build("multi-label-classification", LABELS, metric)
    random = np.random.default_rng(0)
    count = 4 * ENOUGH
    examples = [Example("x", label=("joy",) * (i % 2) + ("anger",) * (i < 3)) for i in range(count)]
    units = [random.normal(size=(1, 3)).astype(np.float32) for _ in range(count)]
    fitted = task.fit(units, examples)
    gold, logits = np.stack(task.gold(examples)), np.concatenate(units)
    common = best_threshold(logits.ravel(), gold.ravel())
    assert fitted.thresholds[1:] == (common, common)
    assert fitted.thresholds[0] != common
    if metric == "macro_f1":
        assert fitted.thresholds[0] == pytest.approx(best_threshold(logits[:, 0], gold[:, 0]))
    else:
        together = micro_f1(3).score(fitted.predictions(units, examples), list(gold))
        same = task.with_thresholds((common,) * 3)
        assert together >= micro_f1(3).score(same.predictions(units, examples), list(gold))
    assert tasks.from_section(fitted.section()).thresholds == fitted.thresholds
    assert "thresholds" not in task.section()


@pytest.mark.parametrize("seed", range(5))
def test_each_threshold_is_the_best_while_the_other_labels_stand(seed: int) -> None:
    """Against the counts of all other labels, made anew for each."""
    labels = tuple("abcdef")
    task = tasks.build("multi-label-classification", labels, "micro_f1")
    random = np.random.default_rng(seed)
    gold = (random.random((8 * ENOUGH, 6)) < [0.5, 0.4, 0.3, 0.2, 0.15, 0.01]).astype(int)
    logits = (random.normal(size=gold.shape) + 1.5 * gold).astype(np.float32)
    examples = [Example("x", label=tuple(name for name, one in zip(labels, row, strict=True) if one)) for row in gold]
    expected = np.full(6, best_threshold(logits.ravel(), gold.ravel()))
    for i in np.flatnonzero(gold.sum(axis=0) >= ENOUGH):
        given, wanted = np.delete(logits > expected, i, axis=1), np.delete(gold, i, axis=1)
        right, both = int((given & (wanted == 1)).sum()), int(given.sum() + wanted.sum())
        expected[i] = best_threshold(logits[:, i], gold[:, i], right, both)
    assert task.fit(list(logits[:, None]), examples).thresholds == tuple(expected)


def test_answers_name_what_is_above_its_threshold_the_most_probable_first() -> None:
    task = TASK.with_thresholds((0.0, -2.0, 0.0))
    (answer, nothing) = task.answers(
        [np.array([[1.0, -1.0, -0.5]], dtype=np.float32), np.array([[-1.0, -3.0, -1.0]], dtype=np.float32)],
        [Example("a"), Example("b")],
    )
    shown = answer.as_dict()
    assert shown["labels"] == ["joy", "love"]
    assert shown["probabilities"]["love"] == pytest.approx(1 / (1 + np.e))
    assert nothing.as_dict()["labels"] == []


def test_targets_are_zeros_and_ones_and_nan_without_a_label() -> None:
    assert TASK.targets(Example("x", label=("anger", "joy"))).tolist() == [[1.0, 0.0, 1.0]]
    assert TASK.targets(Example("x", label=())).tolist() == [[0.0, 0.0, 0.0]]
    assert np.isnan(TASK.targets(Example("x"))).all()
    assert TASK.labels_of([np.array([1, 0, 1])]) == [("joy", "anger")]


def test_the_constant_answer_is_the_most_frequent_label() -> None:
    gold = [np.array([1, 0, 0]), np.array([1, 0, 1]), np.array([0, 0, 1]), np.array([1, 0, 0])]
    assert [g.tolist() for g in TASK.constant(gold)] == [[1, 0, 0]] * 4


def test_questions_are_texts_and_pairs() -> None:
    assert TASK.question("a") == Example("a")
    assert TASK.question({"text": "a", "text_pair": "b"}) == Example("a", "b")
    with pytest.raises(UserError, match="expected a text"):
        TASK.question(3)
