"""The whole way: a torch model to a bundle on the disk to answers."""

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

import distill.cli
from distill import UserError, load, tasks
from distill.config.schema import ExportConfig
from distill.export import onnx_export
from distill.export.bundle import write_bundle
from distill.export.onnx_export import export_graphs
from distill.export.quantize import VARIANTS, Files
from distill.models.graphs import graphs_of
from distill.runtime import Manifest, graph_file, read_manifest
from distill.text import Example, Reading, train_tokenizer

TEXTS = ["a gorgeous witty seductive movie", "not much of anything", "a mess from start to end", "fine"]


Made = tuple[nn.Module, Reading, Manifest, dict[str, Path]]


def make(folder: Path) -> Made:
    """A model, and what its bundle is made of: the files of both variants under ``folder``."""
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
    task = tasks.build("text-classification", ("bad", "good"))
    specs = graphs_of(model, task)
    fp32 = export_graphs(specs, folder, ExportConfig(exporter="legacy"))
    VARIANTS["int8"]({role: Files(file, folder / graph_file(role, "int8")) for role, file in fp32.items()}, ())
    reading.save_tokenizer(folder / "tokenizer.json")
    graphs = {variant: {"model": graph_file("model", variant)} for variant in ("fp32", "int8")}
    manifest = Manifest(
        *(1, "small", task.section(), graphs, list(specs[0].inputs), ["logits"], 24, reading.pad_id, "int8", {}, {}, {})
    )
    files = {name: folder / name for name in ("tokenizer.json", *(roles["model"] for roles in graphs.values()))}
    return model, reading, manifest, files


def assert_answers_as_torch(folder: Path, model: nn.Module, reading: Reading) -> None:
    for variant, tolerance in (("fp32", 1e-5), (None, 0.05)):
        bundle = load(folder, variant, threads=1)
        for text, answer in zip(TEXTS, bundle(TEXTS), strict=True):
            ids = torch.from_numpy(reading.encode([Example(text)])[0].input_ids)[None]
            with torch.no_grad():
                expected = model(ids).logits.softmax(-1)[0, 1]
            assert answer.as_dict()["probabilities"]["good"] == pytest.approx(float(expected), abs=tolerance)


def test_a_written_bundle_answers_as_torch_does(tmp_path: Path) -> None:
    model, reading, manifest, files = make(tmp_path / "sources")
    write_bundle(tmp_path / "small", manifest, files, {"config.json": "{}"})
    assert_answers_as_torch(tmp_path / "small", model, reading)


def test_weights_beside_a_graph_are_part_of_the_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "PROTOBUF_LIMIT", 10_000)
    model, reading, manifest, files = make(tmp_path / "sources")
    folder, weights = tmp_path / "small", ["onnx/model.onnx_data", "onnx/model_int8.onnx_data"]
    write_bundle(folder, manifest, files, {})
    shutil.rmtree(tmp_path / "sources")
    assert_answers_as_torch(folder, model, reading)
    assert all((folder / name).stat().st_size > 30_000 for name in weights)
    assert sorted(read_manifest(folder).sha256) == sorted([*files, *weights])
    measured = distill.cli.main(["measure", str(folder), "--seconds", "0.01", "--json"])
    assert measured == 0
    content = bytearray((folder / weights[1]).read_bytes())
    content[100] ^= 1
    (folder / weights[1]).write_bytes(content)
    with pytest.raises(UserError, match=r"model_int8\.onnx_data was altered"):
        load(folder)
    (folder / weights[1]).unlink()
    with pytest.raises(UserError, match=r"incomplete: onnx/model_int8\.onnx_data is missing"):
        load(folder)
    assert load(folder, "fp32")(TEXTS)


@pytest.fixture(scope="module")
def with_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose graphs are too large to hold their weights."""
    folder = tmp_path_factory.mktemp("large")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_export, "PROTOBUF_LIMIT", 10_000)
        _, _, manifest, files = make(folder / "sources")
        write_bundle(folder / "small", manifest, files, {})
    return folder / "small"


def lay(bundle: Path, folder: Path, place: Callable[[str], str], copied: str = "") -> Path:
    """``bundle`` as links to files elsewhere, at ``place`` of their names; those that end in ``copied`` are copies."""
    for path in sorted(p for p in bundle.rglob("*") if p.is_file()):
        name = path.relative_to(bundle).as_posix()
        link, target = folder / "laid" / name, folder / "store" / place(name)
        for file in (link, target):
            file.parent.mkdir(parents=True, exist_ok=True)
        if copied and name.endswith(copied):
            shutil.copyfile(path, link)
        else:
            shutil.copyfile(path, target)
            link.symlink_to(target)
    return folder / "laid"


@pytest.mark.parametrize(
    ("place", "copied"),
    [
        (lambda name: sha256(name.encode()).hexdigest(), ""),  # the hub's cache: one folder, other names
        (lambda name: name, ""),
        (lambda name: name, "_data"),
    ],
)
def test_weights_beside_a_graph_may_be_links(
    with_weights: Path, tmp_path: Path, place: Callable[[str], str], copied: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = lay(with_weights, tmp_path, place, copied)
    assert load(folder)(TEXTS) == load(with_weights)(TEXTS)
    assert distill.cli.main(["measure", str(folder), "--variant", "fp32", "--seconds", "0.01", "--json"]) == 0
    size = sum((with_weights / name).stat().st_size for name in ("onnx/model.onnx", "onnx/model.onnx_data"))
    assert json.loads(capsys.readouterr().out)["file_size"]["value"] == size / 1e6


@pytest.mark.parametrize(
    ("place", "copied"),
    [
        (lambda name: f"{sha256(name.encode()).hexdigest()}/{name}", ""),  # Nix, DVC: a folder a file
        (lambda name: name, ".onnx"),
    ],
)
def test_weights_that_onnxruntime_does_not_find_are_named_with_the_mend(
    with_weights: Path, tmp_path: Path, place: Callable[[str], str], copied: str
) -> None:
    folder = lay(with_weights, tmp_path, place, copied)
    with pytest.raises(UserError, match=r"its weights are a link to .*store.*_data, .*\(cp -rL\)$"):
        load(folder)
    shutil.copytree(folder, tmp_path / "copied")
    assert load(tmp_path / "copied")(TEXTS) == load(with_weights)(TEXTS)


def test_what_cannot_answer_is_not_put_in_place(tmp_path: Path) -> None:
    model, reading, manifest, files = make(tmp_path / "sources")
    write_bundle(tmp_path / "small", manifest, files, {})
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match="cannot load"):
        write_bundle(tmp_path / "small", manifest, {**files, "onnx/model.onnx": tmp_path / "broken.onnx"}, {})
    assert_answers_as_torch(tmp_path / "small", model, reading)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.onnx", "small", "sources"]
