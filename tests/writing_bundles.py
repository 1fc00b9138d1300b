"""Bundles of tiny models that write."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tiny_writers import tiny_writer

from distill import tasks
from distill.config.schema import ExportConfig
from distill.export.bundle import write_bundle
from distill.export.onnx_export import export_graphs
from distill.export.quantize import quantize_int8
from distill.models.graphs import graphs_of
from distill.runtime import Generation, Manifest, graph_file
from distill.text import Example, Reading, train_tokenizer

PROSE = ["a gorgeous witty seductive movie", "not much of anything", "a mess from start to end", "fine"]
TASK = tasks.build("language-modelling", ())


def prose_reading(max_length: int = 40) -> Reading:
    """A vocabulary of the size that the tiny writers know."""
    tokenizer = train_tokenizer([Example(text) for text in PROSE], 60)
    return Reading(tokenizer, max_length, special_tokens={"sep_token": "[SEP]"})


def write_translating_bundle(folder: Path, family: str, max_length: int = 40) -> None:
    """fp32 of a tiny writer that reads another text."""
    task, reading = tasks.build("text-to-text", ()), prose_reading(max_length)
    graphs = graphs_of(tiny_writer(family), task)
    files = export_graphs(graphs, folder.with_name(f"sources of {folder.name}"), ExportConfig())
    tokenizer = folder.with_name(f"{folder.name}.json")
    reading.save_tokenizer(tokenizer)
    start, *_, end = map(int, reading.encode_targets([""])[0])
    manifest = Manifest(
        schema_version=1,
        name=folder.name,
        task=task.section(),
        graphs={"fp32": {role: graph_file(role, "fp32") for role in files}},
        inputs=list(graphs[-1].inputs),
        outputs=["logits"],
        max_length=max_length,
        pad_id=reading.pad_id,
        default_variant="fp32",
        sha256={},
        licences={},
        versions={},
        workload={"token_lengths": [3, 4, 5]},
        generation=Generation(start, [end], max_length - 1, 2),
    )
    write_bundle(
        folder, manifest, {"tokenizer.json": tokenizer, **{graph_file(r, "fp32"): f for r, f in files.items()}}, {}
    )


def write_writing_bundle(folder: Path, family: str, **manifest: Any) -> Any:
    """fp32 and int8 of a tiny writer; ``manifest`` are fields to be other than they should. Gives the torch model."""
    model, reading = tiny_writer(family), prose_reading()
    sources = folder.with_name(f"sources of {folder.name}")
    (fp32,) = export_graphs(graphs_of(model), sources, ExportConfig()).values()
    quantize_int8(fp32, sources / "int8.onnx")
    reading.save_tokenizer(sources / "tokenizer.json")
    right = Manifest(
        schema_version=1,
        name=folder.name,
        task=TASK.section(),
        graphs={variant: {"decoder": graph_file("decoder", variant)} for variant in ("fp32", "int8")},
        inputs=list(graphs_of(model)[0].inputs),
        outputs=["logits"],
        max_length=reading.max_length,
        pad_id=reading.pad_id,
        default_variant="fp32",
        sha256={},
        licences={},
        versions={},
        workload={"token_lengths": [3, 5, 9]},
        generation=Generation(reading.boundary, [reading.boundary], 12),
    )
    files = {"tokenizer.json": sources / "tokenizer.json", "onnx/decoder.onnx": fp32}
    write_bundle(folder, replace(right, **manifest), {**files, "onnx/decoder_int8.onnx": sources / "int8.onnx"}, {})
    return model
