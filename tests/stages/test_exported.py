"""What an export left, on the disk."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from distill.runtime import graph_file
from distill.stages.findings import Exported


def test_the_size_of_a_variant_counts_weights_beside_its_graphs(tmp_path: Path) -> None:
    for variant, graph, weights in (("fp32", 10, 500), ("int8", 20, 0)):
        path = tmp_path / graph_file("model", variant)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(graph))
        if weights:
            path.with_name(f"{path.name}_data").write_bytes(bytes(weights))
    nothing: Any = None
    artifact: Any = SimpleNamespace(directory=tmp_path)
    exported = Exported("student", nothing, artifact, nothing, {}, ("model",), ("input_ids",), ("fp32", "int8"))
    assert (exported.size("fp32"), exported.size("int8")) == (510, 20)
