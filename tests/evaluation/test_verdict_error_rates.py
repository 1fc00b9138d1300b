"""A few cells of benchmarks/verdict_error_rates.py, and of an arm against itself."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from distill.metrics import accuracy


@pytest.mark.parametrize(("spread", "seeds", "taste"), [(0.0, 3, 0.0), (1.4, 3, 0.0), (0.7, 3, 0.1), (2.8, 5, 0.0)])
def test_nulls_are_rarely_called_different_and_the_power_note_is_kept(
    benchmark: Callable[[str], ModuleType], spread: float, seeds: int, taste: float
) -> None:
    module = benchmark("verdict_error_rates")
    rates = module.rates(module.Setting(spread, seeds, 500, taste), cases=400)
    # within three standard errors of 5 % and 80 %
    assert rates.called_different <= 0.05 + 3 * (0.05 * 0.95 / 400) ** 0.5
    assert rates.found == pytest.approx(0.8, abs=3 * (0.16 / 400) ** 0.5 + 0.04)
    assert rates.note_tenth < rates.note < rates.note_ninetieth


def test_simulated_trainings_have_the_accuracy_and_the_spread_that_is_asked_for(
    benchmark: Callable[[str], ModuleType],
) -> None:
    module = benchmark("verdict_error_rates")
    probability = np.where(np.arange(300_000) % 3 == 0, 0.5, 0.95)
    means = module.moved(probability, np.array([[-0.06], [0.0], [0.04]])).mean(axis=1)
    assert means == pytest.approx([0.74, 0.80, 0.84], abs=1e-3)


def test_an_arm_is_split_into_disjoint_groups_of_its_seeds(benchmark: Callable[[str], ModuleType]) -> None:
    module = benchmark("same_against_same")
    rng = np.random.default_rng(0)
    assert len(module.splits(6, 3, rng)) == 10  # 6! / (3! 3! 2)
    assert len(module.splits(5, 1, rng)) == 10
    assert len(module.splits(20, 10, rng)) == module.SPLITS
    for one, other in [*module.splits(6, 2, rng), *module.splits(20, 4, rng)]:
        assert len(one) == len(other) == len({*one, *other}) / 2


def test_an_arm_against_itself_is_seldom_called_different(benchmark: Callable[[str], ModuleType]) -> None:
    module = benchmark("same_against_same")
    rng = np.random.default_rng(0)
    right = rng.random((6, 300)) < rng.beta(4, 1, 300)
    statistics = np.stack([right, np.ones_like(right)], axis=-1).astype(float)
    different, count, note = module.called_different(accuracy, statistics, 3)
    assert (different, count) == (0, 10)
    assert 0.02 < note < 0.2
    # a seed that has not learnt anything makes single trainings differ
    statistics[0, :, 0] = 0
    assert module.called_different(accuracy, statistics, 1)[0] >= 5
