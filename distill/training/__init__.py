"""The loop, the teacher's signal and its store, checkpoints, and the linear floor.

Each name is imported when it is first asked for, so that a run with nothing to do reads the store without torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.training.arms import DIFFERS_IN, Arm, make_arm
    from distill.training.linear import LinearFloor, fit_linear
    from distill.training.loop import TrainingResult, make_accelerator, predict, resolve_device, train
    from distill.training.soft_labels import SoftLabelStore

_FILES = {
    "arms": ("DIFFERS_IN", "Arm", "make_arm"),
    "linear": ("LinearFloor", "fit_linear"),
    "loop": ("TrainingResult", "make_accelerator", "predict", "resolve_device", "train"),
    "soft_labels": ("SoftLabelStore",),
}


def __getattr__(name: str) -> Any:
    for file, names in _FILES.items():
        if name in names:
            return getattr(importlib.import_module(f"distill.training.{file}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "DIFFERS_IN",
    "Arm",
    "LinearFloor",
    "SoftLabelStore",
    "TrainingResult",
    "fit_linear",
    "make_accelerator",
    "make_arm",
    "predict",
    "resolve_device",
    "train",
]
