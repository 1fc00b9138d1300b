"""From a trained language model to a bundle that writes: export, parity, gate, delivery."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from tiny_writers import tiny_writer
from writing_bundles import PROSE, TASK, prose_reading

from distill import load
from distill.config.schema import ExportConfig
from distill.results import Gate, Parity, from_plain
from distill.runtime import WritingBundle
from distill.stages.artifacts import Artifact
from distill.stages.context import Exported
from distill.stages.delivery import write_bundle_of
from distill.stages.exporting import ExportModel
from distill.text import Example


def trained(folder: Path) -> Artifact:
    """As a student lies in its artifact."""
    (folder / "model").mkdir(parents=True)
    tiny_writer("lstm").save_pretrained(folder / "model")
    prose_reading().save_tokenizer(folder / "model/tokenizer.json")
    (folder / "model/tokenizer_config.json").write_text("{}")
    return cast(Artifact, SimpleNamespace(directory=folder, read=None))


def test_a_trained_language_model_becomes_a_bundle_that_writes(tmp_path: Path) -> None:
    examples, reading = [Example(text) for text in PROSE * 5], prose_reading()
    student, settings = trained(tmp_path / "student"), ExportConfig(variants=["fp32", "int8"])
    validation: Any = SimpleNamespace(examples=examples)
    (tmp_path / "export").mkdir()
    stage = ExportModel("student", student, settings, reading, TASK, validation)
    stage.compute(tmp_path / "export", cast(Any, None))
    left = json.loads((tmp_path / "export/exported.json").read_text())
    assert left["roles"] == ["decoder"]
    assert left["parity"]["passed"], left["parity"]
    assert left["gates"]["int8"]["passed"]
    assert left["gates"]["int8"]["agreement"] > 0.9
    exported = Exported(
        "student",
        cast(Any, SimpleNamespace(task=TASK, reading=reading, dataset=SimpleNamespace(test=examples))),
        cast(Artifact, SimpleNamespace(directory=tmp_path / "export")),
        from_plain(Parity, left["parity"]),
        {"int8": from_plain(Gate, left["gates"]["int8"])},
        *(tuple(left[name]) for name in ("roles", "inputs", "made")),
    )
    report: Any = SimpleNamespace(
        name="small",
        variants=[SimpleNamespace(variant=variant, shipped=True) for variant in ("fp32", "int8")],
        teacher_licence="",
        data=SimpleNamespace(licence=""),
        provenance=SimpleNamespace(versions={}),
    )
    write_bundle_of(report, tmp_path / "small", {}, student, exported)
    bundle = load(tmp_path / "small", threads=1)
    assert isinstance(bundle, WritingBundle)
    assert bundle.variant == "int8"
    assert bundle.manifest.generation is not None
    assert bundle.manifest.generation.begin_id == reading.boundary
    assert bundle(["a mess"])[0].as_dict()["tokens"] > 0
