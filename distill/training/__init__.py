"""The loop, the teacher's signal and its store, checkpoints, and the linear floor."""

from distill.training.arms import DIFFERS_IN, Arm, make_arm
from distill.training.linear import LinearFloor, fit_linear
from distill.training.loop import TrainingResult, make_accelerator, predict, resolve_device, train
from distill.training.soft_labels import SoftLabelStore

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
