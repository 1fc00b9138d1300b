"""The project's own quantiles of Student's t against scipy's."""

import numpy as np
import pytest
from scipy import stats

from distill.evaluation.student_t import FIVE_PERCENT, LEVELS, quantiles, two_sided


@pytest.mark.parametrize("degrees", [1, 2, 4, 9, 57, 200, 201, 1_927, 99_999])
def test_quantiles_are_those_of_scipy(degrees: int) -> None:
    expected = stats.t.isf(LEVELS / 2, degrees)
    assert quantiles(degrees) == pytest.approx(expected, rel=2e-6, abs=1e-12)
    assert np.all(np.diff(quantiles(degrees)) < 0)
    assert quantiles(degrees)[FIVE_PERCENT] == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-7)
    assert LEVELS[FIVE_PERCENT] == 0.05


@pytest.mark.parametrize("degrees", [1, 3, 30, 200])
def test_tails_are_those_of_scipy_near_the_middle_and_far_out(degrees: int) -> None:
    t = np.array([0.0, 1e-6, 0.3, 1.0, 2.0, 9.0, 60.0])
    assert two_sided(t, degrees) == pytest.approx(2 * stats.t.sf(t, degrees), rel=1e-10)
