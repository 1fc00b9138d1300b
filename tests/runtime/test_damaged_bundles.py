"""What is wrong with a bundle is said before it answers anything."""

import base64
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tiny_graphs import MakeBundle, with_positions, write_graph

from distill import UserError, load
from distill.runtime import read_manifest, sha256_of, verify


def _edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "bundle.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize("file", ["onnx/model.onnx", "tokenizer.json"])
def test_an_altered_file_is_refused(make_bundle: MakeBundle, file: str) -> None:
    folder = make_bundle()
    content = bytearray((folder / file).read_bytes())
    content[-2] ^= 1
    (folder / file).write_bytes(content)
    with pytest.raises(UserError, match=r"was altered.*export it again"):
        load(folder)


@pytest.mark.parametrize("file", ["onnx/model.onnx", "tokenizer.json"])
def test_a_missing_file_is_named(make_bundle: MakeBundle, file: str) -> None:
    folder = make_bundle()
    (folder / file).unlink()
    with pytest.raises(UserError, match=f"incomplete: {file} is missing"):
        load(folder)


def test_the_files_of_another_variant_are_not_needed(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    (folder / "onnx/model_int8.onnx").unlink()
    assert load(folder, "fp32")("fine")
    with pytest.raises(UserError, match="model_int8"):
        load(folder, "int8")


def test_files_that_are_not_run_may_change(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    (folder / "config.json").write_text("{} ")
    assert load(folder)("fine")


def test_a_file_without_a_sha256_is_not_run(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    _edit(folder, lambda data: data["sha256"].pop("onnx/model.onnx"))
    with pytest.raises(UserError, match="altered"):
        load(folder)


def test_an_unknown_variant_names_the_nearest(make_bundle: MakeBundle) -> None:
    with pytest.raises(UserError, match=r"no variant 'int4'; did you mean 'int8'\?"):
        load(make_bundle(), "int4")


def test_a_folder_that_is_none_or_no_bundle_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is not a bundle"):
        load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="no folder"):
        load(tmp_path / "file")


@pytest.mark.parametrize("version", [2, 0, "1", None])
def test_another_schema_version_is_not_guessed_at(make_bundle: MakeBundle, version: Any) -> None:
    folder = make_bundle()
    _edit(folder, lambda data: data.update(schema_version=version))
    with pytest.raises(UserError, match=rf"schema version {version!r}; this distill reads version 1"):
        load(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b'"text"',
        b"{}",
        b'{"schema_version": 1}',
        b"\xff\xfe",
        b'{"schema_version": 1, "x": 2}',
    ],
)
def test_a_bundle_json_that_is_none_is_called_damaged(make_bundle: MakeBundle, content: bytes) -> None:
    folder = make_bundle()
    (folder / "bundle.json").write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("graphs"),
        lambda data: data.update(unknown=1),
        lambda data: data.update(task=3),
        lambda data: data["task"].update(labels=[]),
        lambda data: data.update(default_variant="fp16"),
        lambda data: data.update(graphs={}),
        lambda data: data["task"].pop("labels"),
    ],
)
def test_a_bundle_json_without_what_it_needs_is_called_damaged(make_bundle: MakeBundle, change: Any) -> None:
    folder = make_bundle()
    _edit(folder, change)
    with pytest.raises(UserError, match="is damaged"):
        load(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(graphs=[]),
        lambda data: data.update(graphs={"fp32": "onnx/model.onnx"}),
        lambda data: data["graphs"]["fp32"].clear(),
        lambda data: data["task"].pop("name"),
        lambda data: data["task"].pop("metric"),
        lambda data: data.update(sha256=["tokenizer.json"]),
    ],
)
def test_a_bundle_json_of_the_wrong_shape_is_called_damaged(make_bundle: MakeBundle, change: Any) -> None:
    folder = make_bundle()
    _edit(folder, change)
    with pytest.raises(UserError):
        load(folder)


@pytest.mark.parametrize("outside", ["../sources/fp32.onnx", "/etc/hostname", "onnx/../../sources/fp32.onnx"])
def test_a_path_outside_of_the_bundle_is_never_opened(make_bundle: MakeBundle, outside: str) -> None:
    folder = make_bundle()

    def change(data: dict[str, Any]) -> None:
        data["graphs"]["fp32"]["model"] = outside
        data["sha256"][outside] = sha256_of((folder / outside).resolve())

    _edit(folder, change)
    with pytest.raises(UserError, match="outside of the bundle"):
        load(folder)


def test_a_bundle_of_links_into_another_folder_answers(make_bundle: MakeBundle, tmp_path: Path) -> None:
    """As the hub's cache, DVC and Nix lay it: files named by what they hold, links in their place."""
    folder, linked, blobs = make_bundle(), tmp_path / "snapshot", tmp_path / "blobs"
    blobs.mkdir()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        blob, link = blobs / sha256_of(path), linked / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, blob)
        link.symlink_to(blob)
    assert load(linked)("fine") == load(folder)("fine")
    (linked / "tokenizer.json").unlink()
    (linked / "tokenizer.json").symlink_to(blobs / sha256_of(folder / "onnx/model.onnx"))
    with pytest.raises(UserError, match="was altered"):
        load(linked)


def test_a_file_that_is_no_graph_is_the_users_to_mend_though_its_sha256_fits(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    (folder / "onnx/model.onnx").write_bytes(b"no graph")
    _fit(folder)
    assert "onnxruntime cannot load" in _refusal(folder)


def test_a_copied_or_moved_bundle_still_answers(make_bundle: MakeBundle, tmp_path: Path) -> None:
    folder = make_bundle()
    shutil.copytree(folder, tmp_path / "copy")
    assert load(tmp_path / "copy")("fine") == load(folder)("fine")


def test_sha256_is_what_the_tool_of_that_name_prints(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_verify_reads_only_the_files_it_is_asked_about(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    manifest = read_manifest(folder)
    (folder / "onnx/model.onnx").write_bytes(b"")
    verify(folder, manifest, ["tokenizer.json"])
    with pytest.raises(UserError, match="altered"):
        verify(folder, manifest, ["onnx/model.onnx"])


def _refusal(folder: Path) -> str:
    with pytest.raises(UserError) as refused:
        load(folder, threads=1)
    return str(refused.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_length", "12"),
        ("max_length", 0),
        ("max_length", 10**30),
        ("max_length", True),
        ("max_length", 12.0),
        ("pad_id", -1),
        ("pad_id", None),
        ("pad_id", 2**40),
        ("inputs", "input_ids"),
        ("outputs", [3]),
        ("default_variant", ["fp32"]),
        ("name", 3),
        ("name", "half \ud800"),
        ("graphs", {"fp32": {"model": 3}}),
        ("graphs", {"fp32": {"model": ""}}),
        ("graphs", {"fp32": {"model": "onnx/mo\x00del.onnx"}}),
        ("graphs", {"fp32": None}),
        ("sha256", {"tokenizer.json": None}),
        ("sizes", {"tokenizer.json": "1"}),
        ("workload", {"token_lengths": [0]}),
        ("workload", {"token_lengths": [13]}),
        ("workload", {"token_lengths": [12] * 10**6}),
        ("workload", {"token_lengths": [3], "second_lengths": [4]}),
        ("workload", {"token_lengths": [3], "second_lengths": [1, 1]}),
    ],
)
def test_a_field_of_another_type_or_out_of_bounds_is_called_damaged(
    make_bundle: MakeBundle, field: str, value: Any
) -> None:
    folder = make_bundle()
    _edit(folder, lambda data: data.update({"default_variant": "fp32", field: value}))
    assert "bundle.json is damaged" in _refusal(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": ["bad", "fine", "fine"]},
        {"labels": ["bad", 2, "good"]},
        {"labels": "bad"},
        {"name": ["text-classification"]},
        {"metric": 3},
        {"windows": {"stride": "3"}},
        {"windows": {"stride": -1}},
        {"windows": {"stride": 3, "pooling": "sum"}},
        {"windows": 3},
        {"windows": {}},
        {"thresholds": [0.0, 0.0, 0.0]},
        {"name": "multi-label-classification", "metric": "micro_f1", "thresholds": [0.0]},
        {"name": "multi-label-classification", "metric": "micro_f1", "thresholds": [0.0, 0.0, float("nan")]},
        {"name": "multi-label-classification", "metric": "micro_f1", "thresholds": [0.0, 0.0, "high"]},
        {"unknown": 1},
    ],
)
def test_a_section_that_no_task_writes_is_called_damaged(make_bundle: MakeBundle, change: dict[str, Any]) -> None:
    folder = make_bundle()
    _edit(folder, lambda data: data["task"].update(change))
    assert "bundle.json is damaged" in _refusal(folder)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"labels": ["bad", "good"]}, r"gives an array of [1, 3] for 1 x"),
        ({"labels": [], "name": "regression", "metric": "pearson"}, r"regression reads one of [1, 1]"),
        (
            {"labels": ["a", "b", "c"], "name": "token-classification", "metric": "token_accuracy"},
            "token-classification reads one of [1, ",
        ),
        ({"labels": [], "name": "question-answering", "metric": "f1"}, "['end_logits', 'start_logits'], only"),
        ({"labels": [], "name": "sentence-embedding", "metric": "spearman"}, "does not give ['sentence_embedding']"),
        ({"windows": {"stride": 11}}, "windows of 12 tokens cannot share 11"),
    ],
)
def test_labels_and_tasks_must_fit_the_graph(make_bundle: MakeBundle, change: dict[str, Any], complaint: str) -> None:
    folder = make_bundle()
    _edit(folder, lambda data: data["task"].update(change))
    assert complaint in _refusal(folder)


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("inputs", ["input_ids"], "bundle.json says ['input_ids']"),
        ("outputs", ["logits", "more"], "does not give ['more']"),
        ("pad_id", 5000, "fails on 1 x 2 ids"),
        ("max_length", 2, "special tokens alone take as much"),
    ],
)
def test_the_manifest_must_fit_graph_and_tokenizer(
    make_bundle: MakeBundle, field: str, value: Any, complaint: str
) -> None:
    folder = make_bundle()
    _edit(folder, lambda data: data.update({field: value}))
    assert complaint in _refusal(folder)


@pytest.mark.parametrize(
    "inputs", [("input_ids", "attention_mask", "more"), ("words", "attention_mask", "token_type_ids")]
)
def test_a_graph_with_inputs_that_nobody_feeds_is_refused(make_bundle: MakeBundle, inputs: tuple[str, ...]) -> None:
    folder = make_bundle()
    model = onnx.load(folder / "onnx/model.onnx")
    for given, name in zip(model.graph.input, inputs, strict=True):
        for node in model.graph.node:
            node.input[:] = [name if taken == given.name else taken for taken in node.input]
        given.name = name
    onnx.save(model, folder / "onnx/model.onnx")
    _edit(folder, lambda data: data.update(inputs=inputs))
    _fit(folder)
    assert "a graph takes some of input_ids, attention_mask, token_type_ids" in _refusal(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_graph_that_gives_no_finite_numbers_is_refused(make_bundle: MakeBundle, value: float) -> None:
    folder = make_bundle()
    size = read_tokenizer(folder)["model"]["vocab"]
    write_graph(folder / "onnx/model.onnx", np.full((len(size), 3), value, dtype=np.float32), False)
    _fit(folder)
    assert "no finite numbers" in _refusal(folder)


def test_a_maximum_beyond_the_positions_of_the_graph_is_an_error_of_the_text_that_is_too_long(
    make_bundle: MakeBundle,
) -> None:
    folder = make_bundle()
    model = onnx.load(folder / "onnx/model.onnx")
    onnx.save(with_positions(model, 12), folder / "onnx/model.onnx")
    _fit(folder)
    assert load(folder)("fine " * 100)
    _edit(folder, lambda data: data.update(max_length=13))
    bundle = load(folder)
    assert bundle("fine")
    with pytest.raises(UserError, match="fails on 1 x 13 ids"):
        bundle("fine " * 100)


def _fit(folder: Path) -> None:
    """Size and sha256 of the files as they are."""

    def change(data: dict[str, Any]) -> None:
        for file in data["sha256"]:
            data["sha256"][file] = sha256_of(folder / file)
            data["sizes"][file] = (folder / file).stat().st_size

    _edit(folder, change)


def read_tokenizer(folder: Path) -> Any:
    return json.loads((folder / "tokenizer.json").read_text())


BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
TEXT = {"Sequence": {"id": "A", "type_id": 0}}
ONCE = {"type": "TemplateProcessing", "single": [TEXT], "pair": [TEXT], "special_tokens": {}}
TWICE = {**ONCE, "pair": [TEXT, TEXT]}
REPLACE = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
DAMAGED = base64.b64encode(b"\xff\xff\xff\x7f" + bytes(60)).decode()


@pytest.mark.parametrize(
    ("part", "value", "complaint"),
    [
        ("normalizer", {"type": "Sequence", "normalizers": [REPLACE] * 40}, "more than 100 times as long"),
        ("normalizer", {**REPLACE, "content": "a" * 10**6}, "more than 100 times as long"),
        ("normalizer", {**REPLACE, "pattern": {"Regex": "."}, "content": "a" * 101}, "more than 100 times as long"),
        ("normalizer", {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "x"}] * 65}, "more than 64"),
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": DAMAGED}, "tokenizer.json is"),
        ("pre_tokenizer", {"type": "Sequence", "pretokenizers": [BYTES] * 17}, "or 16 pre-tokenizers"),
        ("post_processor", TWICE, "its post-processors repeat a text"),
        (
            "post_processor",
            {"type": "Sequence", "processors": [BYTES, ONCE, ONCE]},
            "its post-processors repeat a text",
        ),
        ("pre_tokenizer", {"type": "NoSuch"}, "is not a tokenizer that the tokenizers library reads"),
    ],
)
def test_a_tokenizer_that_grows_texts_or_breaks_is_refused(
    make_bundle: MakeBundle, part: str, value: Any, complaint: str
) -> None:
    folder = make_bundle()
    (folder / "tokenizer.json").write_text(json.dumps({**read_tokenizer(folder), part: value}))
    _fit(folder)
    assert complaint in _refusal(folder)


def test_a_tokenizer_that_cannot_write_every_text_is_refused(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    tokenizer = read_tokenizer(folder)
    del tokenizer["model"]["vocab"]["[UNK]"]
    tokenizer["added_tokens"] = [token for token in tokenizer["added_tokens"] if token["content"] != "[UNK]"]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    _fit(folder)
    assert "the tokenizer fails on a text" in _refusal(folder)


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("file", ["onnx/model.onnx", "tokenizer.json", "bundle.json"])
def test_a_file_that_has_grown_is_not_read(make_bundle: MakeBundle, file: str, stated: bool) -> None:
    folder = make_bundle()
    if not stated:
        _edit(folder, lambda data: data.update(sizes={}))
    with (folder / file).open("r+b") as grown:
        grown.truncate(10**12)  # a hole: it takes no room on the disk
    assert re.search(r"has 1,000,000,000,000 bytes|more than 16,000,000 bytes", _refusal(folder))


def test_a_file_of_another_size_than_stated_is_called_altered(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    with (folder / "tokenizer.json").open("ab") as file:
        file.write(b" ")
    assert "bundle.json says" in _refusal(folder)
    _edit(folder, lambda data: data.pop("sizes"))
    assert "its sha256 is" in _refusal(folder)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"schema_version": ' + b"9" * 5000 + b"}", b"\xef\xbb\xbf{}"])
def test_json_that_python_cannot_read_is_called_damaged(make_bundle: MakeBundle, content: bytes) -> None:
    folder = make_bundle()
    (folder / "bundle.json").write_bytes(content)
    assert "is damaged" in _refusal(folder)


@pytest.mark.parametrize("file", ["onnx/model.onnx", "tokenizer.json", "onnx"])
@pytest.mark.parametrize("kind", ["circle", "folder", "pipe", "too long"])
def test_what_is_no_file_is_missing(make_bundle: MakeBundle, file: str, kind: str) -> None:
    folder = make_bundle()
    path = folder / file
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if kind == "circle":
        path.symlink_to(path.name)
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("x" * 250 + "/" + "y" * 250)
    assert "is incomplete" in _refusal(folder)


def test_a_digest_of_the_manifest_vouches_for_the_whole_bundle(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    digest = sha256_of(folder / "bundle.json")
    assert load(folder, sha256=digest.upper())("fine")
    _edit(folder, lambda data: data.update(name="other"))
    with pytest.raises(UserError, match=f"is not the file that was meant: its sha256 is .* expected {digest}"):
        load(folder, sha256=digest)
