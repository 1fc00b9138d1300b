"""The ONNX graphs of a model, in onnxruntime sessions."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.runtime.forward import Forward
from distill.runtime.session import open_session
from distill.tasks.language_modelling import outcome
from distill.tasks.task import Logits, Task
from distill.text.encoding import Ids

DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
"""Of a cache, as onnxruntime names them."""
CACHE_LIMIT = 2**24
"""Numbers that a tensor of a cache may hold for one token, at most."""
SHORTLIST, SHORTLIST_WEIGHT, SHORTLIST_BIAS = "shortlist", "shortlist.weight", "shortlist.bias"
"""Of an encoder that says which tokens are scored for a batch of sources: their ids [S], ascending, and what the
decoder's output layer has for them, [D, S] and [S]."""
LARGEST_ID = 2**24
"""That a shortlist may name."""
NEVER = -1e4
"""The logit of a token that is not on the shortlist."""


def usable_cores() -> int:
    """Number of processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Graphs:
    """A session for each role, such as ``model``."""

    def __init__(self, files: Mapping[str, Path], threads: int | None = None, arena: bool = True) -> None:
        """``files`` gives the ONNX file of each role. Raises UserError where one cannot be loaded."""
        self.sessions = {role: open_session(path, threads or usable_cores(), arena) for role, path in files.items()}
        self.inputs = {role: tuple(i.name for i in session.get_inputs()) for role, session in self.sessions.items()}
        """Names of the inputs of each role."""
        self.outputs = {role: tuple(o.name for o in session.get_outputs()) for role, session in self.sessions.items()}
        """Names of the outputs of each role."""

    def run(self, role: str, arrays: Mapping[str, NDArray[Any]], read: Sequence[str] = ()) -> list[NDArray[Any]]:
        """The outputs that ``read`` names, in its order; all of them, in the graph's order, where it names none.

        A graph is fed the inputs that it has a name for; other ``arrays`` are left out.
        """
        outputs: list[NDArray[Any]] = self.sessions[role].run(
            list(read) or None, {name: arrays[name] for name in self.inputs[role]}
        )
        return outputs

    @property
    def past(self) -> tuple[str, ...]:
        """The inputs of the role ``decoder`` that hold what it has read."""
        return tuple(name for name in self.inputs["decoder"] if name.startswith("past."))

    @property
    def shortlisted(self) -> tuple[str, ...]:
        """What the encoder says of a shortlist; none where all tokens are scored."""
        names = (SHORTLIST, SHORTLIST_WEIGHT, SHORTLIST_BIAS)
        return tuple(name for name in self.outputs.get("encoder", ()) if name in names)

    @property
    def cache_grows(self) -> bool:
        """Whether it is keys and values of each token, and not the state of a recurrent network."""
        return any("past" in i.shape for i in self.sessions["decoder"].get_inputs())

    def empty_cache(self, rows: int) -> dict[str, NDArray[Any]]:
        """The inputs ``past…`` of the role ``decoder`` before anything was read, for a batch of ``rows``: keys and
        values of no token, or the zeros that a recurrent network starts with."""
        sizes = {"batch": rows, "past": 0}
        return {
            i.name: np.zeros([sizes.get(size, size) for size in i.shape], dtype=DTYPES[i.type])
            for i in self.sessions["decoder"].get_inputs()
            if i.name in self.past
        }

    def cache_bytes(self) -> tuple[int, int]:
        """(bytes that the cache takes of each token, bytes that it takes before any), of one row."""
        growing = fixed = 0
        for i in self.sessions["decoder"].get_inputs():
            if i.name in self.past:
                size = math.prod(n for n in i.shape if isinstance(n, int)) * np.dtype(DTYPES[i.type]).itemsize
                growing, fixed = (growing + size, fixed) if "past" in i.shape else (growing, fixed + size)
        return growing, fixed

    def check_cache(self) -> None:
        """Raises ValueError where the decoder does not give back each tensor of its cache as it takes it, or where one
        is out of all bounds."""
        session = self.sessions["decoder"]
        given = {o.name: o for o in session.get_outputs()}
        for taken in session.get_inputs():
            if taken.name not in self.past:
                continue
            back = given.get(taken.name.replace("past", "present"))
            fixed = [size for size in taken.shape if isinstance(size, int)]
            if back is None:
                raise ValueError(f"it takes {taken.name}, and does not give it back")
            if taken.type not in DTYPES or back.type != taken.type:
                raise ValueError(f"{taken.name} is {taken.type}, and comes back as {back.type}")
            if [size for size in back.shape if isinstance(size, int)] != fixed or len(back.shape) != len(taken.shape):
                raise ValueError(f"{taken.name} is {taken.shape}, and comes back as {back.shape}")
            free = [size for size in taken.shape if not isinstance(size, int)]
            if taken.shape[:1] != ["batch"] or free not in (["batch"], ["batch", "past"]):
                raise ValueError(f"the axes of {taken.name} are {taken.shape}; batch comes first, and past may follow")
            if not 0 < math.prod(fixed) <= CACHE_LIMIT:
                raise ValueError(f"{taken.name} holds {math.prod(fixed):,} numbers a token")

    def check_logits(self, vocabulary: int) -> None:
        """Raises ValueError where the decoder does not give logits over at least so many tokens."""
        shapes = {o.name: o.shape for o in self.sessions["decoder"].get_outputs()}
        width = shapes.get("logits", [0])[-1]
        if isinstance(width, int) and width < vocabulary:
            raise ValueError(f"its logits are {shapes.get('logits')}, for a tokenizer of {vocabulary:,} tokens")

    def answer(self, task: Task, arrays: Mapping[str, NDArray[Any]], read: Sequence[str]) -> list[NDArray[Any]]:
        """The outputs that ``read`` names of the graph that answers a padded batch: ``model``, or ``decoder``, which
        has read nothing before; behind an ``encoder`` it reads ``target_ids``."""
        if not task.writes:
            return self.run("model", arrays, read)
        if "encoder" in self.sessions:
            return [self.target_logits(arrays)]
        return self.run("decoder", {**arrays, **self.empty_cache(len(arrays["input_ids"]))}, read)

    def target_logits(self, arrays: Mapping[str, NDArray[Any]], pieces: int = 1) -> Logits:
        """Logits [B, T, V] of an encoder-decoder at each token of ``target_ids`` [B, T], read in so many ``pieces``;
        one by one where the decoder takes one at a time. With a shortlist they end at the largest token of both."""
        ids = arrays["target_ids"]
        made = dict(zip(self.outputs["encoder"], self.run("encoder", arrays), strict=True))
        cache = {name: made.get(name, empty) for name, empty in self.empty_cache(len(ids)).items()}
        names = ("logits", *(name.replace("past", "present") for name in cache))
        taken = next(i.shape for i in self.sessions["decoder"].get_inputs() if i.name == "input_ids")
        pieces_BTV = []
        for piece in np.array_split(ids, ids.shape[1] if taken[-1] == 1 else min(pieces, ids.shape[1]), axis=1):
            given = {"input_ids": piece, "encoder_attention_mask": arrays["attention_mask"], **made, **cache}
            logits, *tensors = self.run("decoder", given, names)
            pieces_BTV.append(logits)
            cache = dict(zip(cache, tensors, strict=True))
        found: Logits = np.concatenate(pieces_BTV, axis=1)
        tokens = listed(made)
        if tokens is None:
            return found
        whole = np.full((*ids.shape, 1 + max(tokens[-1], ids.max())), NEVER, dtype=np.float32)
        whole[..., tokens] = found
        return whole

    def forward(self, task: Task) -> Forward:
        """What the task reads of the graph that answers a padded batch: several outputs on a last axis; where it writes
        the :func:`outcome` at each token."""

        def forward(arrays: dict[str, Ids]) -> Logits:
            outputs = self.answer(task, arrays, task.read)
            if task.writes:
                return outcome(outputs[0], arrays.get("target_ids", arrays["input_ids"]))
            return outputs[0] if len(outputs) == 1 else np.stack(outputs, axis=-1)

        return forward


def listed(made: Mapping[str, NDArray[Any]]) -> Ids | None:
    """The tokens that are scored, of what an encoder has made; None where it has no shortlist. Raises ValueError where
    they are no ascending ids."""
    if SHORTLIST not in made:
        return None
    ids: Ids = made[SHORTLIST]
    if ids.dtype != np.int64 or ids.ndim != 1 or not len(ids) or (np.diff(ids) <= 0).any():
        raise ValueError(f"the shortlist is {ids.dtype} {list(ids.shape)}; it holds ids, each once, ascending")
    if ids[0] < 0 or ids[-1] > LARGEST_ID:
        raise ValueError(f"the shortlist has ids from {ids[0]} to {ids[-1]}")
    return ids
