"""What is measured of a model that writes, in a worker of its own."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from writing_bundles import write_writing_bundle

from distill.cli import main
from distill.measure import Specification, measure, worker
from distill.runtime import Graphs, read_manifest


def specification(folder: Path) -> Specification:
    manifest = read_manifest(folder)
    return Specification(
        model=str(folder / manifest.graphs["fp32"]["decoder"]),
        inputs=tuple(manifest.inputs),
        token_ids=((3, 4, 5), (6,), (7, 8, 9, 10, 11)),
        pad_id=manifest.pad_id,
        threads=1,
        seconds=0.01,
        watts_per_core=10.0,
        max_length=manifest.max_length,
    )


@pytest.mark.parametrize(("family", "growth"), [("decoder", 2 * 2 * 16 * 4), ("lstm", 0)])
def test_time_to_the_first_token_rate_and_cache(
    family: str, growth: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_writing_bundle(tmp_path / "small", family)
    found = measure(specification(tmp_path / "small"))
    assert found.first_token is not None
    assert found.writing_rate is not None
    assert found.cache_growth is not None
    assert (found.first_token.unit, found.writing_rate.unit) == ("ms", "tokens/s")
    assert "texts of 20 tokens behind prompts of 20" in found.writing_rate.method
    assert found.cache_growth.value == growth  # keys and values of two layers x 16 numbers of four bytes
    if not growth:
        assert "a state of 192 bytes does not grow" in found.cache_growth.method  # h and c of two layers x 12
    assert found.throughput.value
    assert main(["measure", str(tmp_path / "small"), "--variant", "int8", "--seconds", "0.01"]) == 0
    told = capsys.readouterr().out
    assert "first token" in told
    assert "writing rate" in told


def test_figures_are_of_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run of the graph takes a second, of a prompt as many as it has tokens."""
    write_writing_bundle(tmp_path / "small", "lstm")
    asked = specification(tmp_path / "small")
    graphs, now = worker.open_graph(asked), [0.0]
    run = graphs.run

    def slow(role: str, arrays: dict[str, object], read: tuple[str, ...] = ()) -> object:
        now[0] += arrays["input_ids"].shape[1]  # type: ignore[attr-defined]
        return run(role, arrays, read)  # type: ignore[arg-type]

    monkeypatch.setattr(Graphs, "run", lambda _, *arguments: slow(*arguments))
    monkeypatch.setattr(worker, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    found = worker.writing_figures(asked, graphs, "here")
    assert found["first_token"].value == pytest.approx(20_000)
    assert found["writing_rate"].value == pytest.approx(1)
