"""A variant that needs instructions which not every processor has."""

import json
from pathlib import Path

import pytest
from tiny_graphs import MakeBundle

from distill import UserError, load
from distill.cli import main
from distill.runtime import processor

WITH, WITHOUT = "flags\t\t: fpu avx2 avx512_vnni\n", "flags\t\t: fpu avx2 avx512_vnnix\n"


def needing(folder: Path, default: str = "fp32") -> Path:
    """A bundle whose int8 needs VNNI."""
    path = folder / "bundle.json"
    path.write_text(
        json.dumps(
            json.loads(path.read_text())
            | {"needs": {"int8": ["avx_vnni", "avx512_vnni"]}}
            | {"default_variant": default}
        )
    )
    return folder


def on(text: str | None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor that says this of itself; None: on a system that says nothing."""
    if text is not None:
        (folder / "cpuinfo").write_text(text)
    monkeypatch.setattr(processor, "CPUINFO", folder / "cpuinfo")


def test_it_opens_where_the_processor_has_one_of_the_flags(
    make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(WITH, tmp_path, monkeypatch)
    assert load(needing(make_bundle()), "int8", threads=1)("fine")


@pytest.mark.parametrize(
    ("text", "has"),
    [(WITHOUT, "this one has avx2,"), (None, "has no flags that are known")],
    ids=["without", "unknown"],
)
def test_elsewhere_it_is_refused_and_the_variant_that_runs_is_named(
    text: str | None, has: str, make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(text, tmp_path, monkeypatch)
    folder = needing(make_bundle())
    with pytest.raises(UserError, match=r"'int8' of small needs .* avx_vnni, avx512_vnni; .* choose .* 'fp32'") as told:
        load(folder, "int8", threads=1)
    assert has in str(told.value)
    assert load(folder, threads=1).variant == "fp32"
    with pytest.raises(UserError, match="choose the variant 'fp32'"):
        load(needing(folder, "int8"), threads=1)


def test_a_bundle_that_names_no_needs_runs_everywhere(
    make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(None, tmp_path, monkeypatch)
    assert load(make_bundle(), "int8", threads=1)("fine")


def test_where_no_variant_runs_another_one_is_asked_for(
    make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on(WITHOUT, tmp_path, monkeypatch)
    folder = make_bundle()
    path = folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"needs": {"int8": ["i8mm"], "fp32": ["i8mm"]}}))
    with pytest.raises(UserError, match="export the bundle again with another variant"):
        load(folder, threads=1)


def test_distill_measure_leaves_out_what_does_not_run(
    make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on(WITHOUT, tmp_path, monkeypatch)
    folder = needing(make_bundle())
    assert main(["measure", str(folder), "--seconds", "0.01", "--json"]) == 0
    told = capsys.readouterr()
    assert [json.loads(line)["variant"] for line in told.out.splitlines()] == ["fp32"]
    assert "not measured: the variant 'int8'" in told.err
    assert main(["measure", str(folder), "--seconds", "0.01", "--variant", "int8"]) == 2
