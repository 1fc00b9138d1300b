"""The whole way: a torch model to a bundle on the disk to answers."""

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from distill import load, tasks
from distill.config.schema import ExportConfig
from distill.export.bundle import write_bundle
from distill.export.onnx_export import export_onnx, graph_inputs
from distill.export.quantize import VARIANTS
from distill.runtime import Manifest
from distill.text import Example, Reading, train_tokenizer

TEXTS = ["a gorgeous witty seductive movie", "not much of anything", "a mess from start to end", "fine"]


def test_a_written_bundle_answers_as_torch_does(tmp_path: Path) -> None:
    torch.manual_seed(0)
    reading = Reading(train_tokenizer([Example(t) for t in TEXTS * 3], 300), 24)
    config = BertConfig(
        vocab_size=reading.vocabulary_size,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=24,
    )
    model = BertForSequenceClassification(config).eval()
    for parameter in model.parameters():
        parameter.data *= 3
    sources = tmp_path / "sources"
    export_onnx(model, sources / "fp32.onnx", ExportConfig(exporter="legacy"), graph_inputs(model))
    for variant in ("fp32", "int8"):
        VARIANTS[variant](sources / "fp32.onnx", sources / f"{variant}.onnx")
    reading.save_tokenizer(sources / "tokenizer.json")
    graphs = {"fp32": {"model": "onnx/model.onnx"}, "int8": {"model": "onnx/model_int8.onnx"}}
    task = tasks.build("text-classification", ("bad", "good"))
    manifest = Manifest(
        1,
        "small",
        task.section(),
        graphs,
        list(graph_inputs(model)),
        ["logits"],
        24,
        reading.pad_id,
        "int8",
        {},
        {},
        {},
    )
    write_bundle(
        tmp_path / "small",
        manifest,
        {
            "tokenizer.json": sources / "tokenizer.json",
            "onnx/model.onnx": sources / "fp32.onnx",
            "onnx/model_int8.onnx": sources / "int8.onnx",
        },
        {"config.json": config.to_json_string()},
    )
    for variant, tolerance in (("fp32", 1e-5), (None, 0.05)):
        bundle = load(tmp_path / "small", variant, threads=1)
        for text, answer in zip(TEXTS, bundle(TEXTS), strict=True):
            ids = torch.from_numpy(reading.encode([Example(text)])[0].input_ids)[None]
            with torch.no_grad():
                expected = model(ids).logits.softmax(-1)[0, 1]
            assert answer.as_dict()["probabilities"]["good"] == pytest.approx(float(expected), abs=tolerance)
