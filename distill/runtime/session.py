"""Opening an ONNX file, the same way wherever a model is run or measured."""

from pathlib import Path

import onnxruntime

from distill.errors import UserError
from distill.runtime.manifest import weights_file


def open_session(path: str | Path, threads: int, arena: bool = True) -> onnxruntime.InferenceSession:
    """A session on the CPU, with ``threads`` inside an operator; operators run one after another.

    ``arena`` keeps memory for the next run. Raises UserError where onnxruntime cannot load the file.
    """
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = arena
    # Spinning threads ruin latency on a busy machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(
            str(path),
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # there is no other provider: it would print on stdout and try the same again
        )
    except Exception as error:  # onnxruntime raises classes of its own that derive from Exception alone
        raise UserError(f"onnxruntime cannot load {path}: {error}{_mend(Path(path))}") from error


def _mend(graph: Path) -> str:
    """Where the weights beside a graph are a link: onnxruntime follows it into the folder of the graph's own file."""
    weights = graph.with_name(weights_file(graph.name)).resolve()
    folders = [graph.parent.resolve(), graph.resolve().parent]
    if not weights.is_file() or any(map(weights.is_relative_to, folders)):
        return ""
    return (
        f"; its weights are a link to {weights}, which onnxruntime does not follow: copy the bundle with what its "
        "links lead to (cp -rL)"
    )
