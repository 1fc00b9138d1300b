"""A decoder at work on a batch, with the cache of what each row has read."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.errors import UserError
from distill.runtime.graphs import Graphs, listed
from distill.runtime.sampling import GenerationSettings
from distill.text.encoding import Ids


class Decoder:
    """The rows of a batch: one a prompt at first; R of them later, as texts end or beams part.

    An encoder-decoder reads the prompts with its encoder, once, and starts to write from nothing, or from the state
    that its encoder gives.
    """

    def __init__(self, graphs: Graphs, prompts: Sequence[Ids], settings: GenerationSettings) -> None:
        """Raises UserError where a prompt is empty and must not be, or leaves no room to write."""
        self.beginnings = beginnings(graphs, prompts, settings)
        """What the decoder reads before it writes, of each prompt."""
        self._graphs = graphs
        self._cache = graphs.empty_cache(len(prompts))
        self._prompts = np.arange(len(prompts))
        """The prompt of each row."""
        ids, mask = _padded(self.beginnings, left=True)
        self._beginnings = ids
        self._shared: dict[str, NDArray[Any]] = {"attention_mask": mask}
        """What rows of the same prompt have in common."""
        self._of_batch: dict[str, NDArray[Any]] = {}
        """What all rows have in common."""
        self.tokens: Ids | None = None
        """The token of each logit, ascending, where a shortlist of the vocabulary is scored."""
        if "encoder" in graphs.inputs:
            ids, mask = _padded(prompts, left=False)
            outputs = graphs.run("encoder", {"input_ids": ids, "attention_mask": mask})
            made = dict(zip(graphs.outputs["encoder"], outputs, strict=True))
            self.tokens = listed(made)
            self._of_batch = {name: made.pop(name) for name in graphs.shortlisted}
            self._shared |= {name: tensor for name, tensor in made.items() if name not in self._cache}
            self._cache |= {name: tensor for name, tensor in made.items() if name in self._cache}
            self._shared["encoder_attention_mask"] = mask

    def begin(self) -> NDArray[np.float32]:
        """Reads the beginnings. Logits [B, V] of what each prompt is followed by."""
        return self._run(self._beginnings)

    def write(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Reads one token a row. Logits [R, V] of what follows."""
        if "attention_mask" in self._graphs.inputs["decoder"]:
            mask = self._shared["attention_mask"]
            self._shared["attention_mask"] = np.concatenate([mask, np.ones((len(mask), 1), dtype=np.int64)], axis=1)
        return self._run(np.asarray(tokens, dtype=np.int64)[:, None])

    def select(self, rows: Sequence[int]) -> None:
        """Goes on with these rows alone, in this order; a row may be taken several times."""
        if np.array_equal(rows, np.arange(len(self._prompts))):
            return
        self._cache = {name: tensor[rows] for name, tensor in self._cache.items()}
        prompts = self._prompts[rows]
        if not np.array_equal(prompts, self._prompts):  # beams that change places leave what they share as it is
            self._shared = {name: tensor[rows] for name, tensor in self._shared.items()}
            self._prompts = prompts

    def _run(self, ids_RL: Ids) -> NDArray[np.float32]:
        """Raises UserError where a row has no finite logits."""
        arrays = self._graphs.run("decoder", {"input_ids": ids_RL, **self._of_batch, **self._shared, **self._cache})
        outputs = dict(zip(self._graphs.outputs["decoder"], arrays, strict=True))
        logits_RV: NDArray[np.float32] = outputs["logits"][:, -1].astype(np.float32, copy=False)
        self._cache = {name: outputs[name.replace("past", "present")] for name in self._cache}
        broken = ~np.isfinite(logits_RV.max(axis=-1))
        if broken.any():
            raise UserError(
                f"the model gave no finite logits for prompt {self._prompts[broken.argmax()] + 1}; its weights are "
                "damaged, or its numbers too small for it: run another variant, or export it again in fp32"
            )
        return logits_RV


def beginnings(graphs: Graphs, prompts: Sequence[Ids], settings: GenerationSettings) -> list[Ids]:
    """What the decoder reads before it writes: the prompt, or the start token of an encoder-decoder."""
    encodes = "encoder" in graphs.inputs
    if encodes and settings.start_id is None:
        raise UserError("an encoder-decoder starts its texts with a token of its own; give start_id")
    start = np.array([] if settings.start_id is None else [settings.start_id], dtype=np.int64)
    limit = settings.max_length
    found = []
    for number, prompt in enumerate(prompts, start=1):
        if not len(prompt) and (encodes or not len(start)):
            mend = "an encoder needs one token to read" if encodes else "give a text, or start_id, which it starts with"
            raise UserError(f"prompt {number} is empty; {mend}")
        if limit is not None and len(prompt) + (not encodes) > limit:
            why = "" if encodes else ", and one is left to write"
            raise UserError(
                f"prompt {number} has {len(prompt)} tokens, but the model holds {limit}; shorten it to "
                f"{limit - (not encodes)}{why}"
            )
        found.append(start if encodes or not len(prompt) else np.asarray(prompt, dtype=np.int64))
    return found


def room(beginning: Ids, settings: GenerationSettings) -> int:
    """Tokens that can be written behind ``beginning``."""
    limit = settings.max_length
    return settings.max_new_tokens if limit is None else min(settings.max_new_tokens, limit - len(beginning))


def _padded(rows: Sequence[Ids], left: bool) -> tuple[Ids, Ids]:
    """Ids and mask [B, L]; the id of padding is 0, which the mask hides."""
    width = max(map(len, rows))
    ids, mask = np.zeros((len(rows), width), dtype=np.int64), np.zeros((len(rows), width), dtype=np.int64)
    for number, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(len(row))
        ids[number, place], mask[number, place] = row, 1
    return ids, mask
