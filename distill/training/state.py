"""How far a training is: what it goes on from after a crash."""

import dataclasses
import math
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill.results import CurvePoint

STATE_FILE = "state.pt"


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
    before: float = 0.0
    """Seconds that earlier processes took."""
    started: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)
    """When it was last saved, or started."""

    @property
    def seconds(self) -> float:
        """All time that the training took."""
        return self.before + time.monotonic() - self.started

    @property
    def path(self) -> Path | None:
        """Where it is saved."""
        return None if self.folder is None else self.folder / STATE_FILE

    def load(self, parts: dict[str, Any]) -> None:
        """Goes on where :meth:`save` left off; nothing happens where nothing was saved.

        ``parts`` have a ``load_state_dict`` each. Tensors and numbers only: nothing in the file is executed.
        """
        if self.path is None or not self.path.is_file():
            return
        saved: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved["parts"][name])
        torch.set_rng_state(saved["random"])
        if saved["random_cuda"] is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(saved["random_cuda"])
        for name in ("step", "best", "best_step", "best_weights", "bad", "losses"):
            setattr(self, name, saved[name])
        self.thresholds, self.before = tuple(saved["thresholds"]), saved["seconds"]
        self.curve = [CurvePoint(*point) for point in saved["curve"]]

    def save(self, parts: dict[str, Any]) -> None:
        """Writes under another name and renames: what is there is whole."""
        assert self.folder is not None
        assert self.path is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / f".{STATE_FILE}.tmp"
        kept = ("step", "best", "best_step", "best_weights", "bad", "losses", "seconds")
        torch.save(
            {
                **{name: getattr(self, name) for name in kept},
                "thresholds": list(self.thresholds),
                "curve": [dataclasses.astuple(point) for point in self.curve],
                "parts": {name: part.state_dict() for name, part in parts.items()},
                "random": torch.get_rng_state(),
                "random_cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
            },
            aside,
        )
        os.replace(aside, self.path)

    def forget(self) -> None:
        """Removes what was saved."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
