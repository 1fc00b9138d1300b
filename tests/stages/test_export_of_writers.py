"""From a trained model to a bundle: export, parity, gate, delivery."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from tiny_writers import tiny_writer
from writing_bundles import PROSE, TASK, prose_reading

from distill import load, tasks
from distill.config.models import Architecture, RecurrentArchitecture
from distill.config.schema import ExportConfig
from distill.errors import UserError
from distill.models import build_recurrent, build_transformer
from distill.results import Gate, Parity, from_plain
from distill.runtime import Bundle, Columns, Graphs, WritingBundle, graph_file, sha256_of
from distill.stages.artifacts import Artifact
from distill.stages.delivery import write_bundle_of
from distill.stages.exporting import Answers, ExportModel
from distill.stages.findings import Exported, Joined
from distill.tasks import Task
from distill.tasks.text_to_text import units_of
from distill.text import Example, Reading, Target, train_tokenizer

TRANSLATION = tasks.build("text-to-text", ())
CLASSES = tasks.build("text-classification", ("bad", "good"))
VARIANTS = ("fp32", "int8", "int4")
PAIRS = [Example(text, label=Target(text.upper())) for text in PROSE]

COLUMNS = Columns("said", label="written")


def trained(folder: Path, model: Any, reading: Reading) -> Artifact:
    """As a student lies in its artifact."""
    (folder / "model").mkdir(parents=True)
    model.save_pretrained(folder / "model")
    reading.save_tokenizer(folder / "model/tokenizer.json")
    (folder / "model/tokenizer_config.json").write_text("{}")
    return cast(Artifact, SimpleNamespace(directory=folder, read=None))


def deliver(
    folder: Path,
    model: Any,
    reading: Reading,
    task: Task,
    examples: list[Example],
    settings: ExportConfig,
    pairs: list[Example] | None = None,
    seen: list[Example] | None = None,
) -> tuple[dict[str, Any], Bundle]:
    """(what the export left, the bundle with every variant)."""
    student, validation = trained(folder / "student", model, reading), cast(Any, SimpleNamespace(examples=examples))
    (folder / "export").mkdir()
    part = None if pairs is None else cast(Any, SimpleNamespace(examples=pairs))
    texts = None if seen is None else cast(Any, SimpleNamespace(examples=seen))
    stage = ExportModel("student", student, settings, reading, task, validation, part, texts)
    stage.compute(folder / "export", cast(Any, None))
    left: dict[str, Any] = json.loads((folder / "export/exported.json").read_text())
    assert left["parity"]["passed"], left["parity"]
    assert left["made"] == list(settings.made), left["gates"]
    exported = Exported(
        "student",
        cast(Any, SimpleNamespace(task=task, reading=reading, dataset=SimpleNamespace(test=examples), paired=False)),
        cast(Artifact, SimpleNamespace(directory=folder / "export")),
        from_plain(Parity, left["parity"]),
        {name: from_plain(Gate, gate) for name, gate in left["gates"].items()},
        *(tuple(left[name]) for name in ("roles", "inputs", "made")),
    )
    report: Any = SimpleNamespace(
        name="small",
        variants=[SimpleNamespace(variant=variant, shipped=True) for variant in settings.made],
        teacher_licence="",
        data=SimpleNamespace(licence=""),
        provenance=SimpleNamespace(versions={}),
    )
    teacher = SimpleNamespace(signal=SimpleNamespace(teacher=SimpleNamespace(model=None)))
    findings: Any = SimpleNamespace(chosen=SimpleNamespace(model=student), joined=Joined(), lesson=teacher)
    write_bundle_of(report, folder / "small", {}, findings, exported, COLUMNS)
    return left, load(folder / "small", threads=1)


def test_a_trained_language_model_becomes_a_bundle_that_writes(tmp_path: Path) -> None:
    examples, reading = [Example(text) for text in PROSE * 5], prose_reading()
    settings = ExportConfig(variants=("fp32", "int8"))
    left, bundle = deliver(tmp_path, tiny_writer("lstm"), reading, TASK, examples, settings)
    assert left["roles"] == ["decoder"]
    assert left["gates"]["int8"]["passed"]
    assert left["gates"]["int8"]["token_agreement"] == left["gates"]["int8"]["agreement"] > 0.9
    assert isinstance(bundle, WritingBundle)
    assert bundle.variant == "int8"
    assert bundle.manifest.columns == COLUMNS
    assert bundle.manifest.generation is not None
    assert bundle.manifest.generation.begin_id == reading.boundary
    assert bundle(["a mess"])[0].as_dict()["tokens"] > 0


@pytest.mark.parametrize(
    "family",
    [
        "encoder",
        pytest.param("lstm", marks=pytest.mark.slow),
        pytest.param("decoder", marks=pytest.mark.slow),
        "encoder-decoder",
        pytest.param("lstm encoder-decoder", marks=pytest.mark.slow),
    ],
)
def test_every_kind_of_model_goes_into_a_bundle_in_4_bits(family: str, tmp_path: Path) -> None:
    task = {"decoder": TASK, "encoder": CLASSES, "lstm": CLASSES}.get(family, TRANSLATION)
    tokenizer = train_tokenizer([Example(text) for text in PROSE], 300, "bpe")
    reading = Reading(tokenizer, 24, special_tokens={"sep_token": "[SEP]"})
    loaded = (
        build_recurrent(RecurrentArchitecture(embedding_size=64, hidden_size=64), tokenizer, {}, task, 24, 3)
        if "lstm" in family
        else build_transformer(
            Architecture(layers=2, hidden_size=64, heads=2, intermediate_size=128), tokenizer, {}, task, 24, 3
        )
    )
    for name, parameter in loaded.model.named_parameters():
        parameter.data *= 1 if "norm" in name else 3
    examples = (
        PAIRS if task is TRANSLATION else [Example(text, label=CLASSES.labels[n % 2]) for n, text in enumerate(PROSE)]
    )
    settings = ExportConfig(variants=VARIANTS, max_drop=1e6, min_agreement=0.0)
    left, bundle = deliver(tmp_path, loaded.model, reading, task, examples, settings)
    assert bundle.variant == "int4"  # the smallest
    files = bundle.manifest.graphs["int4"]
    assert set(files.values()) == {graph_file(role, "int4") for role in left["roles"]} <= set(bundle.manifest.sha256)
    assert len(bundle(["a mess", ""])) == 2
    if task.writes:
        assert all(0 <= gate["token_agreement"] <= 1 for gate in left["gates"].values())
    if task is TRANSLATION:
        shares = tokens_in_common(tmp_path / "export", reading, left["roles"])
        assert {name: gate["token_agreement"] for name, gate in left["gates"].items()} == pytest.approx(shares)


@pytest.mark.parametrize("family", ["encoder-decoder", "Marian"])
def test_a_student_with_a_shortlist_goes_into_a_bundle(family: str, tmp_path: Path) -> None:
    """It is a variant of its own, the bundle's default, and is answered without torch."""
    settings = ExportConfig(shortlist=3, max_drop=1e6, min_agreement=0.0)
    left, bundle = deliver(tmp_path, tiny_writer(family), prose_reading(), TRANSLATION, PAIRS, settings, PAIRS)
    assert left["made"] == ["fp32", "int8", "int8_shortlist"]
    assert left["gates"]["int8_shortlist"]["passed"]
    assert bundle.variant == "int8_shortlist"
    assert bundle.graphs.shortlisted
    assert {graph_file(role, "int8_shortlist") for role in ("encoder", "decoder")} <= set(bundle.manifest.sha256)
    assert not load(tmp_path / "small", "int8", threads=1).graphs.shortlisted
    question = (
        f"import sys; sys.modules['torch'] = None; from distill import load; print(load({str(bundle.directory)!r}, "
    )
    question += "threads=1)('a mess')[0].text)"
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=True)
    assert answer.stdout.rstrip("\n") == bundle("a mess")[0].text


def test_a_bundle_whose_shortlist_is_damaged_is_refused(tmp_path: Path) -> None:
    settings = ExportConfig(shortlist=3, max_drop=1e6, min_agreement=None)
    reading = prose_reading(12)
    _, bundle = deliver(tmp_path, tiny_writer("Marian"), reading, TRANSLATION, PAIRS[3:], settings, PAIRS)
    path = bundle.directory / bundle.manifest.graphs["int8_shortlist"]["encoder"]
    model = onnx.load(path)
    for node in model.graph.node:  # what is gathered stays as it was
        node.input[:] = ["listed" if name == "shortlist" else name for name in node.input]
        node.output[:] = ["listed" if name == "shortlist" else name for name in node.output]
    model.graph.node.append(onnx.helper.make_node("Identity", ["damaged"], ["shortlist"]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([5, 4, 60]), "damaged"))
    onnx.save(model, path)
    manifest = json.loads((bundle.directory / "bundle.json").read_text())
    name = path.relative_to(bundle.directory).as_posix()
    manifest["sha256"][name], manifest["sizes"][name] = sha256_of(path), path.stat().st_size
    (bundle.directory / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="each once, ascending"):
        load(bundle.directory, threads=1)


def tokens_in_common(folder: Path, reading: Reading, roles: list[str]) -> dict[str, float]:
    """Share of the targets' tokens at which a variant finds the same one most likely as fp32, one text at a time."""
    best: dict[str, list[int]] = {variant: [] for variant in VARIANTS}
    for variant in VARIANTS:
        graphs = Graphs({role: folder / graph_file(role, variant) for role in roles}, 1)
        for pair in PAIRS:
            (encoded,) = TRANSLATION.encode(reading, [pair])
            batch = {"input_ids": encoded.input_ids[None], "target_ids": encoded.target_ids[None]}
            logits = graphs.target_logits({**batch, "attention_mask": np.ones_like(batch["input_ids"])})
            best[variant] += logits[0, :-1].argmax(-1).tolist()
    return {variant: float(np.mean(np.array(best["fp32"]) == np.array(best[variant]))) for variant in ("int8", "int4")}


TOKENS = np.array([[-1.0, 5, 5], [-2.0, 6, 7], [-0.5, 8, 8], [-3.0, 9, 4]], dtype=np.float32)
"""log p of the true token, the most likely one, the true one."""
SCORES = np.array([[1.0, 2.0]], dtype=np.float32)
FLIPPED = np.array([[-1.0, 3, 5], [-2.0, 2, 7], [-0.5, 8, 8], [-3.0, 9, 4]], dtype=np.float32)
WORSE = TOKENS - np.array([1, 0, 0], dtype=np.float32)
RIGHT, WRONG = units_of("A MESS FROM START TO END"), units_of("FINE")


@pytest.mark.parametrize(
    ("task", "fp32", "variant", "kept"),
    [
        (TASK, (TOKENS, TOKENS), (FLIPPED, FLIPPED), (True, False)),
        (TASK, (TOKENS, TOKENS), (WORSE, WORSE), (False, True)),
        (TASK, (TOKENS, TOKENS), (TOKENS, TOKENS), (True, True)),
        (TRANSLATION, (RIGHT, TOKENS), (RIGHT, FLIPPED), (True, False)),
        (TRANSLATION, (RIGHT, TOKENS), (WRONG, TOKENS), (False, True)),
        (TRANSLATION, (RIGHT, TOKENS), (WRONG, FLIPPED), (False, False)),
        (TRANSLATION, (RIGHT, None), (RIGHT, None), (True, True)),
        (CLASSES, (SCORES, None), (-SCORES, None), (False, True)),
    ],
)
def test_a_variant_must_keep_its_score_and_its_tokens(
    task: Task, fp32: tuple[Any, Any], variant: tuple[Any, Any], kept: tuple[bool, bool]
) -> None:
    none: Any = None
    example = Example("a mess", label="good") if task is CLASSES else PAIRS[2]
    validation: Any = SimpleNamespace(examples=[example] * 5)
    stage = ExportModel("student", none, ExportConfig(), none, task, validation)
    both = [Answers([units] * 5, None if tokens is None else [tokens] * 5) for units, tokens in (fp32, variant)]
    gate = stage.gate_of(*both)
    assert (gate.keeps_score, gate.keeps_tokens) == kept
    assert gate.passed == all(kept)
    assert (gate.min_agreement is None) == (fp32[1] is None)
    assert gate.token_agreement == (None if fp32[1] is None else 0.5 if variant[1] is FLIPPED else 1.0)
