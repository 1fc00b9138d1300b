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
COLUMN = 64
"""Scores of which the largest alone is looked at, at first."""
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
        candidates, going = list[Hypothesis](), 0
        for parent, token, score in zip(parents.tolist(), tokens.tolist(), scores.tolist(), strict=True):
            if going == beams:  # the others are worse, and nobody goes on with them
                break
            candidates.append(self._longer(self.running[parent], token, score))
            going += candidates[-1].finish is None
        self._end([candidate for candidate in candidates[:beams] if candidate.finish is not None])
        order = sorted(range(len(candidates)), key=lambda i: candidates[i].finish is not None)[:beams]
        running = [candidates[i] for i in order]
        self.running = [c if c.finish is None else replace(c, score=NEVER, finish=None) for c in running]
        full = len(self._ended) == beams
        self._can_improve = self._can_improve and self._improvable(full)
        self.done = not going or not self._can_improve or (full and self.settings.early_stopping is True)
        return [int(parents[i]) for i in order]

    def _best(self, logits_KV: NDArray[np.float32], count: int) -> tuple[Ids, Ids, NDArray[np.float32]]:
        """The ``count`` best texts that are a token longer: beam, place of the token among the logits, score; the best
        first, of equal ones the first."""
        scores_KV = logits_KV - logits_KV.max(axis=-1, keepdims=True)
        scores_KV -= np.log(np.exp(scores_KV).sum(axis=-1, keepdims=True))
        penalty = self.settings.repetition_penalty
        if penalty != 1:
            rows = zip(scores_KV, self.running, strict=True)
            scores_KV = np.stack([penalised(row_V, self._seen + h.ids, penalty, self._tokens) for row_V, h in rows])
        scores_KV += np.array([[hypothesis.score] for hypothesis in self.running], dtype=np.float32)
        scores = scores_KV.ravel()
        places = largest(scores, count)
        best = places[np.argsort(-scores[places], kind="stable")[:count]]
        return *np.divmod(best, logits_KV.shape[1]), scores[best]

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


def largest(values_N: NDArray[np.float32], count: int) -> Ids:
    """The places of the ``count`` largest, and of a few more, in the order they stand."""
    # What the largest of ``count`` columns of a table reach, few values do.
    whole = len(values_N) // COLUMN * COLUMN
    tops = values_N[:whole].reshape(COLUMN, -1).max(axis=0) if whole >= COLUMN * count else values_N
    least = np.partition(tops, -count)[-count] if len(tops) > count else -np.inf
    found: Ids = np.flatnonzero(values_N >= least)
    return found
