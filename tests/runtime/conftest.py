"""Bundles around tiny graphs."""

from pathlib import Path

import pytest
from tiny_graphs import CORPUS, INPUTS, MakeBundle, word_table, write_graph

from distill import tasks
from distill.export.bundle import write_bundle
from distill.runtime import Manifest
from distill.text import Example, Reading, train_tokenizer


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    def make(task_name: str = "text-classification", labels: tuple[str, ...] = ("bad", "fine", "good")) -> Path:
        """Two variants: fp32 (the default), and int8, which is fp32 with all logits doubled."""
        reading = Reading(train_tokenizer([Example(text) for text in CORPUS * 3], 200), 12)
        sources = tmp_path / "sources"
        sources.mkdir(exist_ok=True)
        for variant, scale in (("fp32", 1.0), ("int8", 2.0)):
            table = word_table(reading.vocabulary_size, len(labels), scale)
            write_graph(sources / f"{variant}.onnx", table, task_name == "token-classification")
        reading.save_tokenizer(sources / "tokenizer.json")
        graphs = {"fp32": {"model": "onnx/model.onnx"}, "int8": {"model": "onnx/model_int8.onnx"}}
        section = tasks.build(task_name, labels).section()
        manifest = Manifest(
            1, "small", section, graphs, list(INPUTS), ["logits"], 12, reading.pad_id, "fp32", {}, {}, {}
        )
        files = {
            "tokenizer.json": sources / "tokenizer.json",
            "onnx/model.onnx": sources / "fp32.onnx",
            "onnx/model_int8.onnx": sources / "int8.onnx",
        }
        write_bundle(tmp_path / "small", manifest, files, {"config.json": "{}"})
        return tmp_path / "small"

    return make
