"""What is wrong with a bundle is said before it answers anything."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_graphs import MakeBundle

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
    with pytest.raises(UserError, match=rf"schema version {version}; this distill reads version 1"):
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


def test_a_link_that_leads_out_of_the_bundle_is_never_opened(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    (folder / "onnx/model.onnx").unlink()
    (folder / "onnx/model.onnx").symlink_to(folder.parent / "sources" / "fp32.onnx")
    with pytest.raises(UserError, match="outside of the bundle"):
        load(folder)


def test_a_file_that_is_no_graph_is_the_users_to_mend_though_its_sha256_fits(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    (folder / "onnx/model.onnx").write_bytes(b"no graph")
    digest = sha256_of(folder / "onnx/model.onnx")
    _edit(folder, lambda data: data["sha256"].update({"onnx/model.onnx": digest}))
    with pytest.raises(UserError, match="onnxruntime cannot load"):
        load(folder)


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


def test_a_maximum_that_is_no_number_is_the_users_to_mend(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    _edit(folder, lambda data: data.update(max_length="12"))
    with pytest.raises(UserError):
        load(folder)
