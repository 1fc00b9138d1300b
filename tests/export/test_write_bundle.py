import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from distill.errors import UserError
from distill.export import bundle
from distill.export.bundle import check_place, recover, write_bundle
from distill.runtime import Manifest, read_manifest, verify

MANIFEST = Manifest(
    schema_version=1,
    name="small",
    task={"name": "text-classification", "labels": ["bad", "good"], "metric": "accuracy"},
    graphs={"fp32": {"model": "onnx/model.onnx"}, "int8": {"model": "onnx/model_int8.onnx"}},
    inputs=["input_ids", "attention_mask"],
    outputs=["logits"],
    max_length=16,
    pad_id=0,
    default_variant="int8",
    sha256={},
    licences={"teacher": "Apache-2.0"},
    versions={"distill": "0.1.0"},
)
RUN = ["tokenizer.json", "onnx/model.onnx", "onnx/model_int8.onnx"]


@pytest.fixture(autouse=True)
def no_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """These bundles cannot answer: what is asked of one before it is put in place is tested in test_deployed_bundle."""
    monkeypatch.setattr(bundle, "load", lambda *arguments, **settings: None)


def write(directory: Path, sources: Path, version: str) -> None:
    """A bundle whose files all say ``version``."""
    sources.mkdir(exist_ok=True)
    (sources / version).write_text(f"weights of {version}")
    write_bundle(
        directory,
        MANIFEST,
        dict.fromkeys(RUN, sources / version),
        {"config.json": f'{{"version": "{version}"}}', "README.md": f"# {version}: é"},
    )


def version_of(directory: Path) -> str:
    """Which version stands there, whole; fails where it is not."""
    verify(directory, read_manifest(directory), RUN)
    versions = {(directory / name).read_text().removeprefix("weights of ") for name in RUN}
    versions.add((directory / "README.md").read_text(encoding="utf-8").removeprefix("# ").removesuffix(": é"))
    (version,) = versions
    return version


def names(directory: Path) -> list[str]:
    return sorted(p.name for p in directory.iterdir())


def killed_at(step: int, work: Callable[[], None]) -> bool:
    """Runs ``work`` in a process that dies before its file operation number ``step``; whether it got that far."""
    child = os.fork()
    if child == 0:
        left = step

        def kill(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal left
            if event in ("open", "ctypes.dlopen") or event.startswith(("os.", "shutil.")):
                left -= 1
                if left < 0:
                    os._exit(9)

        sys.addaudithook(kill)
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_a_bundle_is_whole_and_names_the_digest_of_what_is_run(tmp_path: Path) -> None:
    write(tmp_path / "exports" / "small", tmp_path / "sources", "one")
    assert version_of(tmp_path / "exports" / "small") == "one"
    assert sorted(read_manifest(tmp_path / "exports" / "small").sha256) == sorted(RUN)
    assert names(tmp_path / "exports") == ["small"]
    assert names(tmp_path / "exports" / "small") == [
        "README.md",
        "bundle.json",
        "config.json",
        "onnx",
        "tokenizer.json",
    ]


def test_a_new_bundle_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    for version in ("one", "two"):
        write(tmp_path / "exports" / "small", tmp_path / "sources", version)
        assert version_of(tmp_path / "exports" / "small") == version
        assert names(tmp_path / "exports") == ["small"]


def test_a_link_to_a_bundle_stays_a_link(tmp_path: Path) -> None:
    write(tmp_path / "exports" / "small", tmp_path / "sources", "one")
    (tmp_path / "link").symlink_to(tmp_path / "exports" / "small")
    write(tmp_path / "link", tmp_path / "sources", "two")
    assert (tmp_path / "link").is_symlink()
    assert version_of(tmp_path / "exports" / "small") == "two"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
@pytest.mark.parametrize("present", [False, True], ids=["first bundle", "bundle present"])
def test_killed_at_any_step_there_is_never_half_a_bundle(
    exchange: bool, present: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # a killed process loses nothing that it wrote
    if not exchange:
        monkeypatch.setattr(bundle, "_exchange", lambda one, other: False)
    seen = set()
    for step in range(1000):
        exports = tmp_path / str(step)
        if present:
            write(exports / "small", tmp_path / "sources", "old")
        if not killed_at(step, lambda: write(exports / "small", tmp_path / "sources", "new")):  # noqa: B023
            break
        recover(exports / "small")
        seen.add(version_of(exports / "small") if (exports / "small").exists() else "nothing")
        write(exports / "small", tmp_path / "sources", "next")
        assert version_of(exports / "small") == "next"
        assert names(exports) == ["small"]  # what the killed run left is gone
    assert step > 20
    assert seen == ({"old", "new"} if present else {"nothing", "new"})


@pytest.mark.skipif(sys.platform != "linux", reason="renameat2 is Linux's")
def test_folders_are_exchanged_in_one_step(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    if not bundle._exchange(tmp_path / "one", tmp_path / "other"):
        pytest.skip("this file system cannot")
    assert (tmp_path / "one" / "file").read_text() == "other"
    with pytest.raises(OSError, match="absent") as raised:
        bundle._exchange(tmp_path / "one", tmp_path / "absent")
    assert raised.value.errno == errno.ENOENT


def test_files_of_others_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"thesis is not empty and not a bundle.*name="):
        write(tmp_path / "thesis", tmp_path / "sources", "one")
    assert names(tmp_path / "thesis") == ["chapter.tex"]
    with pytest.raises(UserError, match="is a file"):
        check_place(tmp_path / "thesis" / "chapter.tex")


def test_an_empty_folder_is_a_place_for_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    write(tmp_path / "small", tmp_path / "sources", "one")
    assert version_of(tmp_path / "small") == "one"


def test_a_full_disk_is_an_error_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "exports" / "small", tmp_path / "sources", "one")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(UserError, match=r"takes .* MB, but .* has 0.0 MB free"):
        write(tmp_path / "exports" / "small", tmp_path / "sources", "two")
    assert version_of(tmp_path / "exports" / "small") == "one"
    assert names(tmp_path / "exports") == ["small"]


def test_a_write_that_fails_leaves_the_old_bundle_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "exports" / "small", tmp_path / "sources", "one")

    def fail(path: Path) -> str:
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(bundle, "sha256_of", fail)
    with pytest.raises(OSError, match="broken disk"):
        write(tmp_path / "exports" / "small", tmp_path / "sources", "two")
    assert version_of(tmp_path / "exports" / "small") == "one"
    assert names(tmp_path / "exports") == ["small"]


def test_a_manifest_that_names_a_file_not_given_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="model_int8"):
        write_bundle(tmp_path / "small", MANIFEST, {"tokenizer.json": tmp_path, "onnx/model.onnx": tmp_path}, {})
    assert names(tmp_path) == []
