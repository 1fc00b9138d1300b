"""What a stage would train on what, without the training."""

from pathlib import Path
from typing import Any

import pytest

from distill.stages.students import TrainStudent
from distill.stages.teacher import TrainTeacher
from distill.training import Machine, Problem

CPU = Machine("cpu", "fp32", "as asked for", 1)


class StoppedError(Exception):
    """Raised in the place of a training."""


def problem_of(stage: TrainTeacher | TrainStudent, folder: Path) -> Problem:
    """What a stage would train on what."""
    found: list[Problem] = []

    def stop(problem: Problem, *others: Any) -> None:
        found.append(problem)
        raise StoppedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distill.training.train", stop)
        with pytest.raises(StoppedError):
            stage.compute(folder, CPU)
    return found[0]
