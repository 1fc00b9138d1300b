"""The ONNX graphs of a model, in onnxruntime sessions."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.runtime.forward import Forward
from distill.runtime.session import open_session
from distill.tasks.task import Logits, Task
from distill.text.encoding import Ids

DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
"""Of a cache, as onnxruntime names them."""


def usable_cores() -> int:
    """Number of processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Graphs:
    """A session for each role, such as ``model``."""

    def __init__(self, files: Mapping[str, Path], threads: int | None = None) -> None:
        """``files`` gives the ONNX file of each role. Raises UserError where one cannot be loaded."""
        self.sessions = {role: open_session(path, threads or usable_cores()) for role, path in files.items()}
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

    def empty_cache(self, rows: int) -> dict[str, NDArray[Any]]:
        """The inputs ``past…`` of the role ``decoder`` before anything was read, for a batch of ``rows``: keys and
        values of no token, or the zeros that a recurrent network starts with."""
        sizes = {"batch": rows, "past": 0}
        return {
            i.name: np.zeros([sizes.get(size, size) for size in i.shape], dtype=DTYPES[i.type])
            for i in self.sessions["decoder"].get_inputs()
            if i.name.startswith("past.")
        }

    def answer(self, task: Task, arrays: Mapping[str, NDArray[Any]], read: Sequence[str]) -> list[NDArray[Any]]:
        """The outputs that ``read`` names of the graph that answers a padded batch: ``model``, or ``decoder``, which
        has read nothing before."""
        if not task.writes:
            return self.run("model", arrays, read)
        return self.run("decoder", {**arrays, **self.empty_cache(len(arrays["input_ids"]))}, read)

    def forward(self, task: Task) -> Forward:
        """What the graph that answers makes of a padded batch, as the task reads it: several outputs on a last axis."""

        def forward(arrays: dict[str, Ids]) -> Logits:
            outputs = self.answer(task, arrays, task.read)
            return outputs[0] if len(outputs) == 1 else np.stack(outputs, axis=-1)

        return forward
