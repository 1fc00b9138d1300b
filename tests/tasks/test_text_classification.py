"""One label for a text: units, targets, questions, answers and metrics."""

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score, f1_score

from distill import tasks
from distill.errors import UserError
from distill.tasks.task import AGREEMENT, NO_LABEL
from distill.text import Encoded, Example

LABELS = ("bad", "fine", "good")
LOGITS = np.array([[0.5, 3.0, -1.0], [2.0, 1.0, 1.5], [-1.0, 0.0, 9.0]], dtype=np.float32)


@pytest.fixture
def task() -> tasks.Task:
    return tasks.build("text-classification", LABELS)


def _encoded(count: int) -> list[Encoded]:
    ids = np.zeros(3, dtype=np.int64)
    return [Encoded(ids, ids, ids[:0], False)] * count


def test_a_batch_of_logits_is_cut_into_one_unit_a_text(task: tasks.Task) -> None:
    units = task.units(LOGITS, _encoded(3))
    assert [u.shape for u in units] == [(1, 3)] * 3
    np.testing.assert_array_equal(np.concatenate(units), LOGITS)


def test_targets_are_the_index_of_the_labels_name_or_no_label(task: tasks.Task) -> None:
    assert task.targets(Example("x", label="good")).tolist() == [2]
    assert task.targets(Example("x")).tolist() == [NO_LABEL]
    assert task.targets(Example("x", label="bad"), count=1).dtype == np.int64


def test_predictions_are_the_largest_logit_and_compare_with_gold(task: tasks.Task) -> None:
    examples = [Example("a", label="fine"), Example("b", label="good"), Example("c", label="good")]
    predictions = task.predictions(task.units(LOGITS, _encoded(3)), examples)
    assert predictions == [1, 0, 2]
    assert task.gold(examples) == [1, 2, 2]
    assert task.counts(predictions, task.gold(examples)) == (2, 3)


def test_answers_give_the_softmax_by_label_name(task: tasks.Task) -> None:
    answers = task.answers(task.units(LOGITS, _encoded(3)), [Example("x")] * 3)
    for answer, expected in zip(answers, softmax(LOGITS.astype(np.float64), axis=-1), strict=True):
        shown = answer.as_dict()
        assert list(shown["probabilities"]) == list(LABELS)
        np.testing.assert_allclose(list(shown["probabilities"].values()), expected, rtol=1e-12)
        assert shown["label"] == LABELS[int(expected.argmax())]
        assert shown["probability"] == max(shown["probabilities"].values())
        assert sum(shown["probabilities"].values()) == pytest.approx(1, abs=1e-12)


def test_probabilities_of_huge_and_infinite_logits_are_finite(task: tasks.Task) -> None:
    logits = np.array([[1e30, -1e30, -np.inf]], dtype=np.float32)
    assert task.answers([logits], [Example("x")])[0].as_dict()["probabilities"] == {
        "bad": 1.0,
        "fine": 0.0,
        "good": 0.0,
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a text", Example("a text")),
        ("", Example("")),
        (["one", "two"], Example("one", "two")),
        (("one", ""), Example("one", "")),
        ({"text": "one"}, Example("one")),
        ({"text": "one", "text_pair": "two"}, Example("one", "two")),
        ({"text": "one", "text_pair": None, "id": 7}, Example("one")),
    ],
)
def test_a_question_is_a_text_a_pair_or_an_object(task: tasks.Task, value: Any, expected: Example) -> None:
    assert task.question(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        1.5,
        True,
        b"bytes",
        [],
        ["one"],
        ["a", "b", "c"],
        ["a", 1],
        {},
        {"txt": "a"},
        {"text": 1},
        {"text": None},
        {"text": "a", "text_pair": 2},
    ],
)
def test_anything_else_is_refused_and_shown(task: tasks.Task, value: Any) -> None:
    with pytest.raises(UserError) as caught:
        task.question(value)
    assert repr(value) in str(caught.value)
    assert "expected a text" in str(caught.value)


def test_the_constant_answer_is_the_most_frequent_label(task: tasks.Task) -> None:
    assert task.constant([0, 2, 2, 1, 2]) == [2] * 5
    assert task.constant([]) == []


def test_metrics_are_those_of_scikit_learn(task: tasks.Task) -> None:
    random = np.random.default_rng(0)
    gold, predicted = random.integers(0, 3, 200).tolist(), random.integers(0, 3, 200).tolist()
    scores = {metric.name: metric.score(predicted, gold) for metric in task.metrics}
    assert scores["accuracy"] == pytest.approx(accuracy_score(gold, predicted))
    assert scores["macro_f1"] == pytest.approx(f1_score(gold, predicted, average="macro"))


def test_the_primary_metric_is_the_tasks_own_unless_another_is_named() -> None:
    assert tasks.build("text-classification", LABELS).metric.name == "accuracy"
    chosen = tasks.build("text-classification", LABELS, "macro_f1")
    assert chosen.metric.name == "macro_f1"
    assert [m.name for m in chosen.metrics] == ["accuracy", "macro_f1"]


def test_an_unknown_metric_names_the_nearest(task: tasks.Task) -> None:
    with pytest.raises(UserError, match=r"no metric 'acuracy'; did you mean 'accuracy'\?"):
        tasks.build("text-classification", LABELS, "acuracy")


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown task 'token-clasification'; did you mean 'token-classification'\?"):
        tasks.build("token-clasification", LABELS)


@pytest.mark.parametrize(("name", "own"), [("text-classification", "accuracy"), ("token-classification", "entity_f1")])
def test_agreement_is_the_tasks_own_metric_under_its_name(name: str, own: str) -> None:
    task = tasks.build(name, ("O", "B-X"), AGREEMENT)
    assert task.metric.name == AGREEMENT
    assert "teacher" in task.metric.title
    assert task.section()["metric"] == AGREEMENT
    predicted, gold = ([0, 1, 1], [0, 1, 0]) if own == "accuracy" else ([["O", "B-X"]], [["B-X", "B-X"]])
    first = next(m for m in task.metrics if m.name == own)
    assert task.metric.score(predicted, gold) == first.score(predicted, gold)
    assert tasks.build(name, ("O", "B-X"), task.section()["metric"]).metric.name == AGREEMENT


def test_the_section_of_a_bundle_builds_the_same_task_again(task: tasks.Task) -> None:
    section = task.section()
    again = tasks.build(section["name"], section["labels"], section["metric"])
    assert (again.name, again.labels, again.metric.name) == (task.name, task.labels, task.metric.name)
