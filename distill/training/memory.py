"""What does not fit in memory is done in smaller pieces, with the same result to rounding."""

import gc
from dataclasses import dataclass

import numpy as np

from distill.errors import UserError
from distill.progress import say
from distill.runtime.forward import Forward
from distill.tasks.task import Logits
from distill.text.encoding import Ids

SIGNS = ("out of memory", "can't allocate memory", "ALLOC_FAILED", "bad_alloc", "bad allocation")
"""What CUDA, torch's allocator on CPUs, cuBLAS, cuDNN and onnxruntime say."""
MEND = "lower data.max_length, take a smaller model, or give it more memory"


@dataclass
class Room:
    """Tokens of a forward pass, at most; fewer from the pass on that did not fit in memory."""

    tokens: int

    def shrink(self, largest: int) -> None:
        """Half of the largest pass of a step that did not fit."""
        self.tokens = max(1, min(self.tokens, largest) // 2)
        free_memory()
        say(f"out of memory: forward passes take at most {self.tokens:,} tokens from here on (train.tokens)")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory of the GPU or of the machine was asked for in vain; libraries have no common error for that."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def free_memory() -> None:
    """Gives back what a failed attempt left, so that smaller pieces find room."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def halving(forward: Forward) -> Forward:
    """The same forward, with a batch that does not fit in memory cut in two, as often as it takes.

    Raises UserError for a row that does not fit alone.
    """

    def attempt(arrays: dict[str, Ids]) -> Logits | None:
        try:
            return forward(arrays)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        return None  # here what the error holds on to is free again

    def halved(arrays: dict[str, Ids]) -> Logits:
        found = attempt(arrays)
        if found is not None:
            return found
        rows, length = arrays["input_ids"].shape
        if rows == 1:
            raise UserError(f"out of memory with one row of {length:,} tokens; {MEND}")
        free_memory()
        say(f"out of memory: {rows} rows of {length:,} tokens are answered in two halves")
        half = rows // 2
        parts = ({name: a[:half] for name, a in arrays.items()}, {name: a[half:] for name, a in arrays.items()})
        return np.concatenate([halved(part) for part in parts])

    return halved
