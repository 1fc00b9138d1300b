"""Which tokens are asked for, and what stands in their place: BERT's rule."""

import numpy as np

from distill.training.masking import mask_tokens

MASK, VOCABULARY = 4, 1000


def _ids(rows: int, length: int) -> np.ndarray:
    return np.random.default_rng(1).integers(10, VOCABULARY, size=(rows, length))


def test_of_the_tokens_asked_for_most_are_masked_some_random_some_stay() -> None:
    ids = _ids(400, 100)
    masked = mask_tokens(ids, np.ones_like(ids, dtype=bool), 0.15, MASK, VOCABULARY, np.random.default_rng(0))
    assert (masked.asked.sum(axis=1) == 15).all()
    became = masked.input_ids[masked.asked]
    stayed = became == ids[masked.asked]
    assert abs((became == MASK).mean() - 0.8) < 0.02
    assert abs(stayed.mean() - 0.1) < 0.02
    assert (masked.input_ids[~masked.asked] == ids[~masked.asked]).all()


def test_special_tokens_and_padding_are_never_asked_for_and_each_row_with_words_asks_one() -> None:
    ids = _ids(50, 8)
    maskable = np.zeros_like(ids, dtype=bool)
    maskable[:40, 3] = True
    masked = mask_tokens(ids, maskable, 0.15, MASK, VOCABULARY, np.random.default_rng(0))
    assert (masked.asked == maskable).all()
    assert not masked.asked[40:].any()


def test_the_same_seed_masks_the_same() -> None:
    ids = _ids(20, 30)
    one, other = (mask_tokens(ids, ids > 500, 0.3, MASK, VOCABULARY, np.random.default_rng([3, 7])) for _ in range(2))
    assert (one.input_ids == other.input_ids).all()
    assert (one.asked == other.asked).all()
