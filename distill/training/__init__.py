"""The loop, the teacher's signal and its store, checkpoints, and the linear floor.

Each name is imported when it is first asked for, so that a run with nothing to do reads the store without torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.training.arms import DIFFERS_IN, objective_of
    from distill.training.devices import Machine, find_machine, make_accelerator, resolve_device
    from distill.training.linear import LinearFloor, fit_linear
    from distill.training.loop import (
        TrainingResult,
        answer_texts,
        continue_texts,
        forward_on,
        predict,
        tokens_of_answers,
        train,
        written_texts,
    )
    from distill.training.problem import Problem, Rows, StreamedRows
    from distill.training.signal import Beside, Stored
    from distill.training.soft_labels import SoftLabelStore
    from distill.training.state import Answers, State

_FILES = {
    "arms": ("DIFFERS_IN", "objective_of"),
    "devices": ("Machine", "find_machine", "make_accelerator", "resolve_device"),
    "linear": ("LinearFloor", "fit_linear"),
    "loop": (
        "TrainingResult",
        "answer_texts",
        "continue_texts",
        "forward_on",
        "predict",
        "tokens_of_answers",
        "train",
        "written_texts",
    ),
    "problem": ("Problem", "Rows", "StreamedRows"),
    "signal": ("Beside", "Stored"),
    "soft_labels": ("SoftLabelStore",),
    "state": ("Answers", "State"),
}


def __getattr__(name: str) -> Any:
    for file, names in _FILES.items():
        if name in names:
            return getattr(importlib.import_module(f"distill.training.{file}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "DIFFERS_IN",
    "Answers",
    "Beside",
    "LinearFloor",
    "Machine",
    "Problem",
    "Rows",
    "SoftLabelStore",
    "State",
    "Stored",
    "StreamedRows",
    "TrainingResult",
    "answer_texts",
    "continue_texts",
    "find_machine",
    "fit_linear",
    "forward_on",
    "make_accelerator",
    "objective_of",
    "predict",
    "resolve_device",
    "tokens_of_answers",
    "train",
    "written_texts",
]
