"""Beam search for one prompt, as transformers does it, so that both write the same."""

import copy
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from distill.runtime.decoder import room
from distill.runtime.sampling import GenerationSettings, penalised
from distill.text import TextStream
from distill.text.encoding import Ids

NEVER = -1e9
"""The score of a beam that cannot win, as in transformers."""
Finish = Literal["end", "stop", "length"]
"""Why a text ends: an end-of-text token, a stop string, or no room for more."""


@dataclass(frozen=True)
class Hypothesis:
    """A text that the search has come upon."""

    ids: tuple[int, ...]
    score: float
    """The sum of log probabilities; of an ended text divided by its length to the power of the length penalty."""
    stream: TextStream | None
    """Its text, where stop strings are looked for."""
    finish: Finish | None = None


class BeamSearch:
    """The beams of one prompt. ``advance`` them by a token until ``done``, then take the ``best``."""

    def __init__(
        self,
        row: int,
        beginning: Ids,
        settings: GenerationSettings,
        tokenizer: Tokenizer | None,
        tokens: Ids | None = None,
    ) -> None:
        """``tokens`` are those that logits belong to, where these are of some of the vocabulary."""
        self.row = row
        """Of the prompt."""
        self.beginning = beginning
        self.done = False
        self.settings = settings
        self._tokens = tokens
        self._seen = tuple(beginning.tolist())
        stream = TextStream(tokenizer, self._seen, settings.stop) if tokenizer is not None and settings.stop else None
        # The first token is chosen from one beam, or all would hold the same texts.
        self.running = [Hypothesis((), NEVER if beam else 0.0, stream) for beam in range(settings.beams)]
        """The texts that go on, the best first; a row of the decoder each."""
        self._ended: list[Hypothesis] = []
        self._can_improve = True

    @property
    def best(self) -> Hypothesis:
        """The best text that has ended."""
        return self._ended[0]

    def advance(self, logits_KV: NDArray[np.float32]) -> list[int]:
        """Adds a token to each beam; gives the beam that each of them was before."""
        beams, ends = self.settings.beams, self.settings.end_ids
        # As many as leave a beam for each that ends here.
        parents, places, scores = self._best(logits_KV, max(2, 1 + len(ends)) * beams)
        tokens = places if self._tokens is None else self._tokens[places]
        candidates = [
            self._longer(self.running[parent], token, score)
            for parent, token, score in zip(parents.tolist(), tokens.tolist(), scores.tolist(), strict=True)
        ]
        self._end([candidate for candidate in candidates[:beams] if candidate.finish is not None])
        order = sorted(range(len(candidates)), key=lambda i: candidates[i].finish is not None)[:beams]
        running = [candidates[i] for i in order]
        self.running = [c if c.finish is None else replace(c, score=NEVER, finish=None) for c in running]
        full = len(self._ended) == beams
        self._can_improve = self._can_improve and self._improvable(full)
        all_ended = all(candidate.finish is not None for candidate in candidates)
        self.done = all_ended or not self._can_improve or (full and self.settings.early_stopping is True)
        return [int(parents[i]) for i in order]

    def _best(self, logits_KV: NDArray[np.float32], count: int) -> tuple[Ids, Ids, NDArray[np.float32]]:
        """The ``count`` best texts that are a token longer: beam, place of the token among the logits, score; the best
        first, of equal ones the first."""
        peaks_K1 = logits_KV.max(axis=-1, keepdims=True)
        shifted_KV = logits_KV - peaks_K1
        sums_K1 = np.log(np.exp(shifted_KV, out=shifted_KV).sum(axis=-1, keepdims=True))
        penalty = self.settings.repetition_penalty
        if penalty != 1:
            rows = zip(logits_KV - peaks_K1 - sums_K1, self.running, strict=True)
            logits_KV = np.stack([penalised(row_V, self._seen + h.ids, penalty, self._tokens) for row_V, h in rows])
            peaks_K1 = sums_K1 = np.zeros_like(peaks_K1)
        parents, places = largest(logits_KV, count)  # within a beam, what is larger scores more
        before_K = np.array([hypothesis.score for hypothesis in self.running], dtype=np.float32)
        scores = logits_KV[parents, places] - peaks_K1[parents, 0] - sums_K1[parents, 0] + before_K[parents]
        best = np.argsort(-scores, kind="stable")[:count]
        return parents[best], places[best], scores[best]

    def _longer(self, hypothesis: Hypothesis, token: int, score: float) -> Hypothesis:
        ids = (*hypothesis.ids, token)
        stream = copy.copy(hypothesis.stream)
        if token in self.settings.end_ids:
            return Hypothesis(ids, score, stream, "end")
        if stream is not None:
            stream.add(token)
            if stream.stopped:
                return Hypothesis(ids, score, stream, "stop")
        return Hypothesis(ids, score, stream, "length" if len(ids) >= room(self.beginning, self.settings) else None)

    def _end(self, candidates: list[Hypothesis]) -> None:
        """Keeps the best of those that have ended before and of ``candidates``, as many as there are beams."""
        full = len(self._ended) == self.settings.beams
        if not self._can_improve or (full and self.settings.early_stopping is True):
            return
        for candidate in candidates:
            score = candidate.score / len(candidate.ids) ** self.settings.length_penalty
            self._ended.append(replace(candidate, score=score))
        self._ended.sort(key=lambda hypothesis: -hypothesis.score)
        del self._ended[self.settings.beams :]

    def _improvable(self, full: bool) -> bool:
        """Whether the best running text may still win against the worst that has ended."""
        if not full:
            return True
        longest = self.settings.early_stopping == "never" and self.settings.length_penalty > 0
        length = room(self.beginning, self.settings) if longest else len(self.running[0].ids)
        return bool(self.running[0].score / length**self.settings.length_penalty > self._ended[-1].score)


def largest(values_KV: NDArray[np.float32], count: int) -> tuple[Ids, Ids]:
    """Rows and places of the ``count`` largest of each row, and of a few more, in the order they stand."""
    # Block by block first: what ``count`` blocks of a row reach, few of its places do.
    rows, size = values_KV.shape
    width = max(1, size // (8 * count))
    whole = values_KV[:, : size // width * width]
    of_blocks = whole.reshape(rows, -1, width).max(axis=2)
    least_K1 = np.partition(of_blocks, -count, axis=1)[:, [-count]] if of_blocks.shape[1] > count else -np.inf
    found: tuple[Ids, Ids] = np.divmod(np.flatnonzero(values_KV >= least_K1), size)
    return found
