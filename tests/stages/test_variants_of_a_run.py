"""Every variant by way of the stages: calibration, gates, the bundle's default, what the report says."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from test_export_of_writers import CLASSES, PAIRS, TRANSLATION, deliver, trained
from writing_bundles import PROSE, TASK, prose_reading

from distill import UserError, load
from distill.config.models import Architecture, RecurrentArchitecture
from distill.config.rules import VARIANT_NAMES
from distill.config.schema import VNNI, ExportConfig, needs
from distill.data import Dataset
from distill.models import build_recurrent, build_transformer
from distill.runtime import processor, read_manifest
from distill.stages import exporting
from distill.stages.exporting import ExportModel, export
from distill.text import Example, Reading, train_tokenizer

WITH_VNNI, WITHOUT = "flags\t\t: avx2 avx512_vnni\n", "flags\t\t: avx2\n"
LABELLED = [Example(text, label=CLASSES.labels[n % 2]) for n, text in enumerate(PROSE)]


@pytest.fixture
def cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the processor says of itself."""
    path = tmp_path / "cpuinfo"
    path.write_text(WITH_VNNI)
    monkeypatch.setattr(processor, "CPUINFO", path)
    return path


def small(family: str) -> tuple[Any, Reading]:
    torch.manual_seed(0)
    task = {"decoder": TASK, "encoder-decoder": TRANSLATION}.get(family, CLASSES)
    tokenizer = train_tokenizer([Example(text) for text in PROSE], 300, "bpe")
    reading = Reading(tokenizer, 24, special_tokens={"sep_token": "[SEP]"})
    sizes = Architecture(layers=1, hidden_size=64, heads=2, intermediate_size=128)
    if family == "lstm":
        model = build_recurrent(
            RecurrentArchitecture(embedding_size=64, hidden_size=64), tokenizer, {}, task, 24, 3
        ).model
    else:
        model = build_transformer(sizes, tokenizer, {}, task, 24, 3).model
    for name, parameter in model.named_parameters():
        parameter.data *= 1 if "norm" in name else 3
    return model, reading


@pytest.mark.parametrize(
    "family", ["encoder", "lstm", "decoder", pytest.param("encoder-decoder", marks=pytest.mark.slow)]
)
def test_every_variant_goes_through_the_gate_into_a_bundle(family: str, tmp_path: Path, cpuinfo: Path) -> None:
    model, reading = small(family)
    task = {"decoder": TASK, "encoder-decoder": TRANSLATION}.get(family, CLASSES)
    variants = tuple(v for v in VARIANT_NAMES if not (task.writes and v == "int8_static"))
    settings = ExportConfig(variants=variants, max_drop=1e6, min_agreement=0.0)
    examples = PAIRS if task is TRANSLATION else LABELLED
    left, bundle = deliver(tmp_path, model, reading, task, examples, settings, seen=examples)
    assert set(left["gates"]) == set(variants) - {"fp32"}
    assert all("validation" in gate["reason"] for gate in left["gates"].values())
    assert left["gates"]["fp16"]["agreement"] >= left["gates"]["int4"]["agreement"]
    assert bundle.manifest.needs == {"int8_vnni": list(VNNI)}
    assert not needs(bundle.variant)
    for variant in variants:
        assert len(load(bundle.directory, variant, threads=1)(["a mess", ""])) == 2
    cpuinfo.write_text(WITHOUT)
    with pytest.raises(UserError, match=f"choose the variant '{bundle.variant}'"):
        load(bundle.directory, "int8_vnni", threads=1)


def test_what_needs_vnni_is_no_default_even_where_it_is_the_smallest(tmp_path: Path, cpuinfo: Path) -> None:
    model, reading = small("encoder")
    settings = ExportConfig(variants=("fp32", "int8_vnni"), max_drop=1e6)
    _, bundle = deliver(tmp_path, model, reading, CLASSES, LABELLED, settings)
    assert bundle.variant == "fp32"
    sizes = {v: (bundle.directory / file["model"]).stat().st_size for v, file in bundle.manifest.graphs.items()}
    assert sizes["int8_vnni"] < sizes["fp32"]


def exported_by(folder: Path, settings: ExportConfig, seen: Any, lacking: tuple[str, ...] = ()) -> dict[str, Any]:
    model, reading = small("encoder")
    (folder / "export").mkdir(parents=True)
    student, validation = trained(folder / "student", model, reading), cast(Any, SimpleNamespace(examples=LABELLED))
    stage = ExportModel("student", student, settings, reading, CLASSES, validation, None, seen, lacking)
    stage.compute(folder / "export", cast(Any, None))
    left: dict[str, Any] = exporting.json.loads((folder / "export/exported.json").read_text())
    return left


def test_without_vnni_the_variant_falls_at_the_gate_and_the_report_says_why(tmp_path: Path) -> None:
    left = exported_by(tmp_path, ExportConfig(variants=("fp32", "int8", "int8_vnni")), None, ("int8_vnni",))
    assert left["made"] == ["fp32", "int8"]
    gate = left["gates"]["int8_vnni"]
    assert not gate["passed"]
    assert gate["reason"] == "not made: this processor has none of the flags that it needs"
    assert not (tmp_path / "export/onnx/model_int8_vnni.onnx").exists()


def test_without_training_texts_static_int8_falls_at_the_gate(tmp_path: Path) -> None:
    left = exported_by(tmp_path, ExportConfig(variants=("fp32", "int8_static")), None)
    assert left["made"] == ["fp32"]
    assert "no training text" in left["gates"]["int8_static"]["reason"]


def test_ranges_are_learnt_from_training_texts_from_all_over_and_from_no_other(tmp_path: Path, cpuinfo: Path) -> None:
    splits = {name: tuple(Example(f"{name} {n}", label="bad") for n in range(1000)) for name in ("train", "transfer")}
    other = (Example("never", label="bad"),)
    dataset = Dataset(**splits, validation=other, test=other, labels=("bad", "good"), **NOTHING)
    asked: list[ExportModel] = []

    def get(stage: ExportModel) -> Any:
        asked.append(stage)
        raise LookupError

    this: Any = SimpleNamespace(artifacts=SimpleNamespace(get=get))
    texts: Any = SimpleNamespace(dataset=dataset, reading=prose_reading(), task=CLASSES, paired=False)
    for variants in (("fp32", "int8"), ("fp32", "int8_static", "int8_vnni")):
        with pytest.raises(LookupError):
            export(this, "student", cast(Any, None), texts, ExportConfig(variants=variants))
    assert not any(stage.lacking for stage in asked)
    cpuinfo.write_text(WITHOUT)
    with pytest.raises(LookupError):
        export(this, "student", cast(Any, None), texts, ExportConfig(variants=variants))
    assert asked[2].lacking == ("int8_vnni",)
    assert asked[0].seen is None
    assert asked[0].calibration() == ()
    assert asked[1].seen is not None
    assert asked[1].seen.splits == ("train", "transfer")
    read: list[Example] = []

    class Watched:
        def encode(self, reading: Reading, examples: Any) -> Any:
            read.extend(examples)
            return ()

    dataclasses.replace(asked[1], task=cast(Any, Watched())).calibration()
    assert 100 < len(read) <= 128
    assert {str(e.text).split()[0] for e in read} == {"train", "transfer"}
    assert dataclasses.replace(asked[1], seen=Dataset(**EMPTY).part("train", "transfer")).calibration() == ()


NOTHING: dict[str, Any] = {"dropped": {}, "licence": "", "source": "", "notes": ()}
EMPTY: dict[str, Any] = {"train": (), "transfer": (), "validation": (), "test": (), "labels": (), **NOTHING}


@pytest.mark.parametrize(("variant", "some"), [("int8_vnni", True), ("int8_vnni_shortlist", True), ("int8", False)])
def test_needs_go_by_the_variant(variant: str, some: bool) -> None:
    assert bool(needs(variant)) == some


def test_the_manifest_is_read_back(tmp_path: Path, cpuinfo: Path) -> None:
    model, reading = small("encoder")
    settings = ExportConfig(variants=("fp32", "int8_vnni"), max_drop=1e6)
    _, bundle = deliver(tmp_path, model, reading, CLASSES, LABELLED, settings)
    assert read_manifest(bundle.directory).needs == {"int8_vnni": list(VNNI)}
