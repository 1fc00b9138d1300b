"""How far a training or a labelling is: what it goes on from after a crash."""

import dataclasses
import math
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill.results import CurvePoint
from distill.runtime.forward import Forward
from distill.tasks.task import Logits
from distill.text.encoding import Ids

STATE_FILE = "state.pt"
ANSWERS_SECONDS = 60.0
"""Answers are written about this often."""


Randomness = tuple[Tensor, Tensor | None]
"""What a process draws next from: torch's generator on the CPU, and on its GPU where there is one."""


def randomness() -> Randomness:
    """That of this process."""
    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None


@dataclass
class State:
    """The progress of one training. With a folder, it saves itself there and loads itself from there."""

    folder: Path | None = None
    """None: kept in memory alone."""
    step: int = 0
    """Steps that were taken."""
    best: float = -math.inf
    """Validation score."""
    best_step: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    """The student's, on the CPU."""
    thresholds: tuple[float, ...] = ()
    """What the task chose on validation at the best step."""
    bad: int = 0
    """Evaluations since the best one."""
    curve: list[CurvePoint] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """Of the steps since the last point of the curve."""
    tokens: int = 0
    """Of a forward pass, at most, where there was no memory for the budget's. 0: the budget's."""
    before: float = 0.0
    """Seconds that earlier processes took."""
    started: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)
    """When it was last saved, or started."""
    others: Sequence[Randomness] = ()
    """Of the processes behind the main one, which saves the state, by rank from 1."""

    @property
    def seconds(self) -> float:
        """All time that the training took."""
        return self.before + time.monotonic() - self.started

    @property
    def path(self) -> Path | None:
        """Where it is saved."""
        return None if self.folder is None else self.folder / STATE_FILE

    def load(self, parts: dict[str, Any], rank: int = 0) -> bool:
        """Goes on where :meth:`save` left off; nothing happens where nothing was saved. Gives whether the process of
        this rank draws on, too: one that was not there when it was saved has nothing to draw on from.

        ``parts`` have a ``load_state_dict`` each. Tensors and numbers only: nothing in the file is executed.
        """
        if self.path is None or not self.path.is_file():
            return False
        saved: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved["parts"][name])
        for name in ("step", "best", "best_step", "best_weights", "bad", "losses", "tokens"):
            setattr(self, name, saved[name])
        self.thresholds, self.before = tuple(saved["thresholds"]), saved["seconds"]
        self.curve = [CurvePoint(*point) for point in saved["curve"]]
        known = [(saved["random"], saved["random_cuda"]), *saved.get("others", ())]
        if rank >= len(known):
            return False
        random, random_cuda = known[rank]
        torch.set_rng_state(random)
        if random_cuda is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(random_cuda)
        return True

    def save(self, parts: dict[str, Any]) -> None:
        """Writes under another name and renames: what is there is whole."""
        assert self.folder is not None
        assert self.path is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f".{STATE_FILE}.tmp"
        random, random_cuda = randomness()
        kept = ("step", "best", "best_step", "best_weights", "bad", "losses", "tokens", "seconds")
        torch.save(
            {
                **{name: getattr(self, name) for name in kept},
                "thresholds": list(self.thresholds),
                "curve": [dataclasses.astuple(point) for point in self.curve],
                "parts": {name: part.state_dict() for name, part in parts.items()},
                "random": random,
                "random_cuda": random_cuda,
                **({"others": list(self.others)} if self.others else {}),
            },
            aside,
        )
        os.replace(aside, self.path)

    def forget(self) -> None:
        """Removes what was saved."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


class Answers:
    """A forward that keeps what it answered in a folder: asked again for the same batches in the same order, it goes on
    behind the last that was written."""

    def __init__(self, forward: Forward, folder: Path) -> None:
        self.forward = forward
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.files = sorted(folder.glob("[0-9]*.npz"))
        self.known: deque[Logits] = deque(answer for file in self.files for answer in _arrays(file))
        self.unsaved: list[Logits] = []
        self.saved = time.monotonic()

    def __call__(self, arrays: dict[str, Ids]) -> Logits:
        """The answer to the next batch."""
        if self.known:
            return self.known.popleft()
        self.unsaved.append(self.forward(arrays))
        answer = self.unsaved[-1]
        if time.monotonic() - self.saved > ANSWERS_SECONDS:
            self.save()
        return answer

    def save(self) -> None:
        """Writes what is new under another name and renames: what is there is whole."""
        aside, file = self.folder / "new.npz", self.folder / f"{len(self.files):06}.npz"
        np.savez(aside, *self.unsaved)
        os.replace(aside, file)
        self.files.append(file)
        self.unsaved.clear()
        self.saved = time.monotonic()


def _arrays(file: Path) -> list[Logits]:
    with np.load(file, allow_pickle=False) as data:
        return [data[f"arr_{i}"] for i in range(len(data.files))]
