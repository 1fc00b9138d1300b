"""The threshold of a cascade, against a search by hand, and how often its bound holds."""

import math
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import binom, multinomial, norm

from distill.evaluation.cascade import choose_threshold, upper_bound

Z = float(norm.ppf(0.95))


def by_likelihood(b: int, c: int, n: int) -> float:
    """The bound with the nuisance share found by maximising the likelihood numerically."""

    def score(d: float) -> float:
        def loss(q: float) -> float:
            shares = np.clip([q + d, q, 1 - 2 * q - d], 1e-300, 1)
            return -float(np.array([b, c, n - b - c]) @ np.log(shares))

        low, high = max(0.0, -d), (1 - d) / 2
        q = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-13}).x
        return (b - c - n * d) / math.sqrt(n * (2 * q + d - d * d)) + Z

    return float(brentq(score, (b - c) / n + 1e-7, 1 - 1e-7, xtol=1e-10))


@pytest.mark.parametrize(("b", "c", "n"), [(5, 3, 100), (12, 0, 400), (2, 9, 60), (40, 31, 3000), (1, 1, 10)])
def test_the_bound_is_where_the_score_test_stops_to_reject(b: int, c: int, n: int) -> None:
    assert upper_bound(b, c, n) == pytest.approx(by_likelihood(b, c, n), abs=1e-5)


def test_without_texts_on_which_the_models_differ_the_bound_is_that_of_a_share_of_none() -> None:
    for n in (1, 10, 3000):
        assert upper_bound(0, 0, n) == pytest.approx(Z * Z / (n + Z * Z), abs=1e-9)


def test_half_a_point_is_shown_by_539_texts_at_least_as_the_page_on_deployment_says() -> None:
    assert upper_bound(0, 0, 539) <= 0.005 < upper_bound(0, 0, 538)


def test_impossible_counts_are_refused() -> None:
    for counts in ((1, 0, 0), (3, 3, 5), (-1, 0, 5)):
        with pytest.raises(ValueError, match="expected counts of at least one text"):
            upper_bound(*counts)


@pytest.mark.parametrize("n", [60, 200])
def test_the_bound_holds_about_95_times_in_100_whatever_the_shares(n: int) -> None:
    """By all counts that there are; shares at which something is lost."""
    most = 40
    bounds = np.array([[upper_bound(b, c, n) if b + c <= n else 1.0 for c in range(most)] for b in range(most)])
    counts = [(b, c, n - b - c) for b in range(most) for c in range(min(most, n - b + 1))]
    misses = []
    for lost in (0.02, 0.05, 0.1):
        for won in (0.0, 0.01, 0.04):
            if won >= lost:
                continue
            probability = multinomial.pmf(counts, n, [lost, won, 1 - lost - won])
            misses.append(sum(p for p, (b, c, _) in zip(probability, counts, strict=True) if bounds[b, c] < lost - won))
    assert max(misses) < 0.07
    assert 0.03 < np.mean(misses) < 0.06


Sample = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]


def sample(seed: int, n: int, slope: float = 4.0) -> Sample:
    """Confidences that are uniform, and answers that differ less the surer the small model is: at a confidence x the
    larger one alone is right with a probability of exp(-slope x) / 4, the small one alone with a third of that."""
    generator = np.random.default_rng(seed)
    confidence, drawn = generator.random(n), generator.random(n)
    lost = np.exp(-slope * confidence) / 4
    only_larger, only_small = drawn < lost, (drawn >= lost) & (drawn < lost * 4 / 3)
    both = generator.random(n) < 0.8
    return confidence, only_small | (both & ~only_larger), only_larger | (both & ~only_small)


def by_hand(confidence: list[float], small: list[bool], larger: list[bool], most: float) -> tuple[float, float] | None:
    """(threshold, share of calls), text by text."""
    n, found = len(confidence), None
    for percent in range(99, -1, -1):
        threshold = sorted(confidence)[percent * n // 100]
        kept = [i for i in range(n) if confidence[i] >= threshold]
        b = sum(larger[i] and not small[i] for i in kept)
        c = sum(small[i] and not larger[i] for i in kept)
        if upper_bound(b, c, n) > most:
            return found
        found = threshold, 1 - len(kept) / n
    return found


@pytest.mark.parametrize("most", [0.002, 0.01, 0.03, 0.2])
@pytest.mark.parametrize("seed", range(4))
def test_the_threshold_is_the_one_that_a_search_by_hand_finds(seed: int, most: float) -> None:
    confidence, small, larger = sample(seed, 700)
    if seed % 2:
        confidence = confidence.round(1)  # many texts of one confidence
    wanted = by_hand(confidence.tolist(), small.tolist(), larger.tolist(), most)
    found = choose_threshold(confidence, small, larger, most)
    if wanted is None:
        assert found is None
        return
    assert found is not None
    assert (found.value, found.calls) == pytest.approx(wanted)
    asked = confidence < found.value
    assert found.calls == asked.mean()
    assert found.drop == pytest.approx(larger.mean() - np.where(asked, larger, small).mean())
    assert found.drop <= found.bound <= most


def test_more_may_be_lost_at_fewer_calls() -> None:
    confidence, small, larger = sample(0, 3000)
    found = [choose_threshold(confidence, small, larger, most) for most in (0.002, 0.005, 0.01, 0.02, 0.05)]
    calls = [one.calls for one in found if one is not None]
    assert len(calls) == len(found)
    assert all(one > other for one, other in pairwise(calls))
    assert calls[0] < 1


def test_few_texts_show_nothing() -> None:
    confidence, small, _ = sample(0, 100)
    assert choose_threshold(confidence, small, small, 0.005) is None  # z² / (n + z²) is 2.6 %
    found = choose_threshold(confidence, small, small, 0.03)
    assert found is not None
    assert found.calls == 0


def test_what_is_no_sample_is_refused() -> None:
    some, flags = np.array([0.5, 0.9]), np.array([True, False])
    for given in ((some[:0], flags[:0], flags[:0]), (some, flags[:1], flags), (np.array([0.5, np.nan]), flags, flags)):
        with pytest.raises(ValueError, match="expected \\[N\\] numbers"):
            choose_threshold(*given, 0.1)


def test_what_is_lost_on_other_texts_is_more_than_allowed_at_most_5_times_in_100() -> None:
    """The true loss of the threshold that was chosen, by the integral of what the larger model alone has right less
    what the small one has."""
    slope, most, runs = 4.0, 0.01, 400
    wrong = 0
    for seed in range(runs):
        found = choose_threshold(*sample(seed, 600, slope), most)
        if found is not None:
            lost = (math.exp(-slope * found.value) - math.exp(-slope)) / slope / 4 * (1 - 1 / 3)
            wrong += lost > most
    assert wrong <= binom.ppf(0.999, runs, 0.05)
    assert wrong > 0  # else the bound would be far too wide
