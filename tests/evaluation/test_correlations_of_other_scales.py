"""Two systems that answer on different scales are compared by what a correlation sees."""

import numpy as np
import pytest

from distill.evaluation import randomisation_test
from distill.metrics import pearson, spearman


@pytest.mark.parametrize("metric", [pearson, spearman])
def test_the_scale_of_predictions_does_not_change_the_p_value(metric) -> None:
    rng = np.random.default_rng(0)
    gold = rng.normal(size=150)
    good, poor = gold + 0.5 * rng.normal(size=150), gold + 1.5 * rng.normal(size=150)

    def p_value(other: np.ndarray) -> float:
        statistics = (metric.statistics(x, gold)[None] for x in (good, other))
        return randomisation_test(metric, *statistics, permutations=500)

    assert p_value(poor) == p_value(0.2 * poor + 5) < 0.01
