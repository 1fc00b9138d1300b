"""How the next token is chosen from a model's logits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from distill.errors import UserError
from distill.text.encoding import Ids


@dataclass(frozen=True)
class GenerationSettings:
    """How a model writes. Raises UserError where a value is out of its range."""

    max_new_tokens: int = 128
    """Tokens written at most, the end-of-text token counted."""
    max_length: int | None = None
    """Tokens that the model can hold, prompt and text together; of an encoder-decoder each on its own. None where its
    positions have no end."""
    end_ids: tuple[int, ...] = ()
    """End-of-text tokens: a text ends with the first of them."""
    start_id: int | None = None
    """What a text starts with: always in an encoder-decoder, where the prompt is empty in a decoder."""
    beams: int = 1
    """Width of the beam search; 1 writes token by token."""
    length_penalty: float = 1.0
    """Beam search compares log probabilities divided by length to this power: above 0 favours long texts."""
    early_stopping: bool | Literal["never"] = False
    """When beam search ends: True with as many ended texts as beams; False where no running text can win at its present
    length; ``never`` where none can win at any length."""
    temperature: float = 0.0
    """Of sampling; 0 takes the most likely token (greedy)."""
    top_k: int = 0
    """Sample from the k most likely tokens; 0 from all."""
    top_p: float = 1.0
    """Sample from the fewest tokens whose probabilities sum to p (nucleus sampling, Holtzman et al. 2020)."""
    repetition_penalty: float = 1.0
    """Logits of tokens that were read or written are divided by this where positive, multiplied where negative
    (Keskar et al. 2019). An encoder's source is not counted."""
    stop: tuple[str, ...] = ()
    """Strings that end a text, which does not contain them."""
    seed: int = 0
    """Of sampling: each prompt of a batch has random numbers of its own."""

    def __post_init__(self) -> None:
        ranges = {
            "max_new_tokens": (self.max_new_tokens >= 1, "1 or more"),
            "max_length": (self.max_length is None or self.max_length >= 2, "2 or more, or none"),
            "beams": (self.beams >= 1, "1 or more"),
            "length_penalty": (bool(np.isfinite(self.length_penalty)), "a finite number"),
            "early_stopping": (self.early_stopping in (True, False, "never"), "true, false or never"),
            "temperature": (0 <= self.temperature < np.inf, "0 (greedy) or more"),
            "top_k": (self.top_k >= 0, "0 (all tokens) or more"),
            "top_p": (0 < self.top_p <= 1, "a number above 0, at most 1"),
            "repetition_penalty": (0 < self.repetition_penalty < np.inf, "a number above 0; 1 changes nothing"),
            "stop": (not isinstance(self.stop, str) and all(self.stop), "a list of strings, none of them empty"),
            "seed": (self.seed >= 0, "0 or more"),
        }
        for name, (holds, expected) in ranges.items():
            if not holds:
                raise UserError(f"{name} of generation is {getattr(self, name)!r}; give {expected}")
        if self.beams > 1 and self.temperature > 0:
            raise UserError(
                f"{self.beams} beams at temperature {self.temperature:g}: beam search does not sample; "
                "give temperature 0, or 1 beam"
            )


def penalised(
    logits_V: NDArray[np.float32], seen: Sequence[int], penalty: float, tokens: Ids | None = None
) -> NDArray[np.float32]:
    """Logits, or log probabilities, with those of the tokens ``seen`` made smaller. ``tokens`` are those that the
    logits belong to, where these are of some of the vocabulary."""
    if penalty == 1:
        return logits_V
    ids = np.unique(np.asarray(seen, dtype=np.int64))
    ids = ids[ids < len(logits_V)] if tokens is None else np.flatnonzero(np.isin(tokens, ids))
    changed = logits_V.copy()
    changed[ids] = np.where(logits_V[ids] < 0, logits_V[ids] * penalty, logits_V[ids] / penalty)
    return changed


def probabilities(logits_V: NDArray[np.float32], settings: GenerationSettings) -> NDArray[np.float64]:
    """What is sampled from: temperature first, then top-k, then top-p over what is left."""
    scores = logits_V.astype(np.float64) / settings.temperature
    if 0 < settings.top_k < len(scores):
        scores[scores < np.partition(scores, -settings.top_k)[-settings.top_k]] = -np.inf
    p_V: NDArray[np.float64] = np.exp(scores - scores.max())
    p_V /= p_V.sum()
    if settings.top_p < 1:
        order = np.argsort(-p_V, kind="stable")
        before = np.cumsum(p_V[order]) - p_V[order]
        p_V[order[before >= settings.top_p]] = 0
        p_V /= p_V.sum()
    return p_V


def next_token(
    logits_V: NDArray[np.float32],
    seen: Sequence[int],
    settings: GenerationSettings,
    generator: np.random.Generator,
    tokens: Ids | None = None,
) -> int:
    """The most likely token, or one that is drawn; ``tokens`` as in :func:`penalised`."""
    logits_V = penalised(logits_V, seen, settings.repetition_penalty, tokens)
    if settings.temperature == 0:
        place = int(logits_V.argmax())
    else:
        p_V = probabilities(logits_V, settings)
        place = int(generator.choice(len(p_V), p=p_V))
    return place if tokens is None else int(tokens[place])
