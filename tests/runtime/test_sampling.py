"""What the next token is drawn from, against closed forms."""

from typing import Any

import numpy as np
import pytest

from distill.errors import UserError
from distill.runtime.sampling import GenerationSettings, next_token, penalised, probabilities

LOGITS = np.log(np.array([0.4, 0.05, 0.3, 0.2, 0.05], dtype=np.float32))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"temperature": 1.0}, [0.4, 0.05, 0.3, 0.2, 0.05]),
        ({"temperature": 0.5}, [0.16 / 0.295, 0.0025 / 0.295, 0.09 / 0.295, 0.04 / 0.295, 0.0025 / 0.295]),
        ({"temperature": 1.0, "top_k": 2}, [4 / 7, 0, 3 / 7, 0, 0]),
        ({"temperature": 1.0, "top_k": 9}, [0.4, 0.05, 0.3, 0.2, 0.05]),
        ({"temperature": 1.0, "top_p": 0.6}, [4 / 7, 0, 3 / 7, 0, 0]),
        ({"temperature": 1.0, "top_p": 0.75}, [4 / 9, 0, 3 / 9, 2 / 9, 0]),
        ({"temperature": 1.0, "top_p": 1e-9}, [1, 0, 0, 0, 0]),
        ({"temperature": 1.0, "top_k": 3, "top_p": 0.7}, [4 / 7, 0, 3 / 7, 0, 0]),  # of what top-k has left
    ],
)
def test_draws_follow_the_distribution(settings: dict[str, Any], expected: list[float]) -> None:
    made = GenerationSettings(**settings)
    np.testing.assert_allclose(probabilities(LOGITS, made), expected, atol=1e-6)
    generator = np.random.default_rng(0)
    draws = [next_token(LOGITS, (), made, generator) for _ in range(20_000)]
    found = np.bincount(draws, minlength=5) / len(draws)
    bound = 4.5 * np.sqrt(np.array(expected) * (1 - np.array(expected)) / len(draws))
    assert (np.abs(found - expected) <= bound + 1e-6).all()


def test_temperature_zero_takes_the_most_likely_token() -> None:
    generator = np.random.default_rng(0)
    assert {next_token(LOGITS, (), GenerationSettings(), generator) for _ in range(50)} == {0}


def test_a_low_temperature_does_not_overflow() -> None:
    logits = np.array([900.0, -900.0, 899.0], dtype=np.float32)
    np.testing.assert_allclose(probabilities(logits, GenerationSettings(temperature=0.01)), [1, 0, 0], atol=1e-12)


def test_tokens_that_cannot_come_never_do() -> None:
    logits = np.array([0.0, -np.inf, 0.0], dtype=np.float32)
    for settings in ({"top_k": 3}, {"top_p": 0.99}, {"top_k": 2}):
        p = probabilities(logits, GenerationSettings(temperature=2.0, **settings))
        np.testing.assert_allclose(p, [0.5, 0, 0.5])


def test_repetition_penalty_makes_tokens_seen_less_likely_once() -> None:
    logits = np.array([2.0, -2.0, 1.0, 3.0], dtype=np.float32)
    np.testing.assert_allclose(penalised(logits, [0, 1, 1, 9], 2.0), [1.0, -4.0, 1.0, 3.0])
    assert next_token(logits, [3, 3], GenerationSettings(repetition_penalty=2.0), np.random.default_rng(0)) == 0
    assert logits[3] == 3.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_new_tokens", 0),
        ("max_length", 1),
        ("beams", 0),
        ("length_penalty", float("nan")),
        ("early_stopping", "always"),
        ("temperature", -1.0),
        ("temperature", float("nan")),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("repetition_penalty", 0.0),
        ("stop", "END"),
        ("stop", ("",)),
        ("seed", -1),
    ],
)
def test_settings_out_of_range_are_refused(name: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"{name} of generation is .*; give "):
        GenerationSettings(**{name: value})


def test_beam_search_does_not_sample() -> None:
    with pytest.raises(UserError, match=r"4 beams at temperature 0\.7: beam search does not sample"):
        GenerationSettings(beams=4, temperature=0.7)
