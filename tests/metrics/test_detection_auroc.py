"""The area under the ROC curve against scikit-learn and against all pairs."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from distill.metrics import auroc


@pytest.mark.parametrize(("n", "m", "seed"), [(1, 1, 0), (5, 40, 1), (300, 200, 2)])
@pytest.mark.parametrize("decimals", [0, 8])
def test_auroc_is_that_of_sklearn_and_of_all_pairs(n: int, m: int, seed: int, decimals: int) -> None:
    rng = np.random.default_rng(seed)
    positive, negative = np.round(rng.normal(0.8, 1, n), decimals), np.round(rng.normal(0, 1, m), decimals)
    found = auroc(positive, negative)
    assert found == pytest.approx(roc_auc_score([1] * n + [0] * m, [*positive, *negative]))
    higher, equal = positive[:, None] > negative, positive[:, None] == negative
    assert found == pytest.approx((higher + equal / 2).mean())
    assert auroc(negative, positive) == pytest.approx(1 - found)


def test_groups_that_are_apart_and_scores_that_are_all_the_same() -> None:
    assert auroc([2.0, 3.0], [0.0, 1.0]) == 1.0
    assert auroc([0.0], [1.0, 2.0]) == 0.0
    assert auroc([5.0] * 3, [5.0] * 7) == 0.5
    assert auroc([np.inf], [0.0, -np.inf]) == 1.0
    assert auroc([1e9 + 1], [1e9]) == 1.0


@pytest.mark.parametrize(
    ("positive", "negative", "message"),
    [
        ([], [1.0], "at least one of each"),
        ([1.0], [], "at least one"),
        ([np.nan], [1.0], "NaN"),
        ([[1.0]], [1.0], "shape"),
    ],
)
def test_an_empty_group_and_nan_are_refused(positive: list[float], negative: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        auroc(positive, negative)
