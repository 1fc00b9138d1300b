"""Calibration by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from distill.metrics import brier, expected_calibration_error, negative_log_likelihood

MEASURES = [expected_calibration_error, negative_log_likelihood, brier]


def test_expected_calibration_error_by_hand() -> None:
    p = [[0.9, 0.1], [0.2, 0.8], [0.85, 0.15], [0.55, 0.45]]
    gold = [0, 0, 0, 1]
    # five bins: (0.8, 1] holds 0.9 and 0.85 (both right), (0.6, 0.8] holds 0.8 (wrong), (0.4, 0.6] holds 0.55 (wrong)
    by_hand = (2 * abs(1 - 0.875) + 1 * abs(0 - 0.8) + 1 * abs(0 - 0.55)) / 4
    assert expected_calibration_error(p, gold, bins=5) == pytest.approx(by_hand)


def test_one_bin_is_the_difference_of_mean_confidence_and_accuracy() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(4), size=100)
    gold = np.random.default_rng(1).integers(0, 4, 100).tolist()
    assert expected_calibration_error(p, gold, bins=1) == pytest.approx(
        abs(p.max(axis=1).mean() - (p.argmax(axis=1) == gold).mean())
    )


def test_labels_drawn_from_the_probabilities_are_calibrated_and_overconfidence_is_not() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), size=20_000)
    gold = (rng.random((20_000, 1)) > p.cumsum(axis=1)[:, :-1]).sum(axis=1).tolist()
    sharp = p**3 / (p**3).sum(axis=1, keepdims=True)
    assert expected_calibration_error(p, gold) < 0.02
    assert expected_calibration_error(sharp, gold) > 0.1


def test_confidence_of_exactly_one_and_of_chance_have_a_bin() -> None:
    assert expected_calibration_error([[1.0, 0.0]], [0]) == 0.0
    assert expected_calibration_error([[1.0, 0.0]], [1]) == 1.0
    assert expected_calibration_error([[0.5, 0.5]], [0], bins=2) == 0.5


def test_likelihood_and_brier_are_those_of_sklearn() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), size=50)
    gold = rng.integers(0, 3, 50).tolist()
    assert negative_log_likelihood(p, gold) == pytest.approx(log_loss(gold, p, labels=[0, 1, 2]))
    assert brier(p, gold) == pytest.approx(brier_score_loss(gold, p, labels=[0, 1, 2], scale_by_half=False))


def test_a_gold_class_of_probability_zero_is_infinitely_unlikely() -> None:
    assert negative_log_likelihood([[1.0, 0.0]], [1]) == np.inf
    assert brier([[1.0, 0.0]], [1]) == 2.0


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("p", "gold", "message"),
    [
        ([[np.nan, 1.0]], [0], "not NaN"),
        ([[2.0, -1.0]], [0], "not negative"),
        ([[3.0, 1.0]], [0], "softmax"),
        ([[0.5, 0.5]], [2], "label 2 with 2 classes"),
        ([[0.5, 0.5]], [0, 1], "shape"),
        (np.zeros((0, 2)), [], "at least 1"),
        ([[0.5, 0.5]], [-100], "no class index"),
    ],
)
def test_what_is_no_distribution_or_no_label_is_refused(measure, p, gold, message) -> None:
    with pytest.raises(ValueError, match=message):
        measure(p, gold)
