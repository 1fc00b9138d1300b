"""Sessions by role."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from distill import UserError, tasks
from distill.runtime import Graphs
from distill.runtime.session import open_session


def write(path: Path, inputs: tuple[str, ...], outputs: dict[str, tuple[str, list[str]]]) -> Path:
    """A graph of one operator an output, over inputs [batch, sequence] of float."""
    nodes = [helper.make_node(kind, taken, [name]) for name, (kind, taken) in outputs.items()]
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "sequence"]) for name in names]
        for names in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "small", *values)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.fixture
def graphs(tmp_path: Path) -> Graphs:
    return Graphs(
        {
            "encoder": write(
                tmp_path / "encoder.onnx", ("a", "b"), {"sum": ("Add", ["a", "b"]), "less": ("Sub", ["a", "b"])}
            ),
            "decoder": write(tmp_path / "decoder.onnx", ("a",), {"minus": ("Neg", ["a"])}),
        },
        1,
    )


A, B = np.float32([[1, 2]]), np.float32([[10, 20]])


def test_each_role_runs_its_own_graph_on_the_inputs_it_names(graphs: Graphs) -> None:
    assert graphs.inputs == {"encoder": ("a", "b"), "decoder": ("a",)}
    (minus,) = graphs.run("decoder", {"a": A, "b": B})
    np.testing.assert_array_equal(minus, [[-1, -2]])


def test_outputs_come_by_name_or_all_in_the_order_of_the_graph(graphs: Graphs) -> None:
    arrays = {"b": B, "a": A}
    total, less = graphs.run("encoder", arrays)
    np.testing.assert_array_equal(total, [[11, 22]])
    np.testing.assert_array_equal(less, [[-9, -18]])
    for read, expected in ((("less", "sum"), (less, total)), (("sum",), (total,))):
        for found, own in zip(graphs.run("encoder", arrays, read), expected, strict=True):
            np.testing.assert_array_equal(found, own)


def test_several_outputs_that_a_task_reads_stand_on_a_last_axis(tmp_path: Path) -> None:
    outputs: Any = {"end_logits": ("Neg", ["a"]), "start_logits": ("Abs", ["a"])}
    graphs = Graphs({"model": write(tmp_path / "model.onnx", ("a",), outputs)}, 1)
    found = graphs.forward(tasks.build("question-answering", ()))({"a": A})  # type: ignore[dict-item]
    np.testing.assert_array_equal(found, [[[1, -1], [2, -2]]])


def test_telemetry_is_off_before_the_first_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "model.onnx", ("a",), {"minus": ("Neg", ["a"])})
    said: list[str] = []
    real = onnxruntime.InferenceSession

    def session(*arguments: Any, **settings: Any) -> Any:
        said.append("session")
        return real(*arguments, **settings)

    monkeypatch.setattr(onnxruntime, "disable_telemetry_events", lambda: said.append("telemetry off"))
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    Graphs({"model": path}, 1)
    open_session(path, 1)
    assert said == ["telemetry off", "session"] * 2


def test_a_file_that_is_no_graph_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match=r"cannot load .*model\.onnx"):
        Graphs({"model": tmp_path / "model.onnx"})


def test_a_graph_that_cannot_be_loaded_says_nothing_on_stdout(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "model.onnx", ("a",), {"minus": ("Neg", ["a"])})
    path.write_bytes(path.read_bytes().replace(b"Neg", b"\x96eg"))  # onnxruntime's own message is not UTF-8 then
    with pytest.raises(UserError, match="cannot load"):
        open_session(path, 1)
    assert capfd.readouterr().out == ""
