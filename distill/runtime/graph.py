"""One ONNX graph in an onnxruntime session."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from distill.errors import UserError
from distill.runtime.forward import Forward
from distill.tasks.task import Logits, Task


def usable_cores() -> int:
    """Number of processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Graph:
    """A session over one file. It feeds the inputs that the graph names and leaves out the others."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or usable_cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Spinning threads ruin latency on a busy machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises classes of its own that derive from Exception alone
            raise UserError(f"onnxruntime cannot load {path}: {error}") from error
        self.inputs = tuple(i.name for i in self.session.get_inputs())

    def run(self, batch: dict[str, NDArray[np.int64]], read: Sequence[str] = ("logits",)) -> Logits:
        """The output ``read`` for one padded batch of :func:`distill.text.pad`; several are stacked on a last axis."""
        outputs = self.session.run(list(read), {name: batch[name] for name in self.inputs})
        result: Logits = outputs[0] if len(outputs) == 1 else np.stack(outputs, axis=-1)
        return result

    def forward(self, task: Task) -> Forward:
        """What a batch of texts makes of the graph, as the task reads it."""
        return lambda arrays: self.run(arrays, task.read)
