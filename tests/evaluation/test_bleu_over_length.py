"""BLEU by the length of the source, of bundles that translate."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import sacrebleu
from writing_bundles import PROSE, write_translating_bundle

from distill import UserError, load
from distill.text import Example, Target

PAIRS = [(" ".join([PROSE[i % 4]] * (1 + i % 5)), PROSE[(i + 1) % 4]) for i in range(14)]
FAMILIES = ("encoder-decoder", "gru encoder-decoder", "encoder-decoder without attention")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    for family in FAMILIES:
        write_translating_bundle(folder / family, family)
    return folder


def examples() -> list[Example]:
    return [Example(source, label=Target(target)) for source, target in PAIRS]


def test_a_bin_holds_the_bleu_that_sacrebleu_counts_on_its_sources(
    exports: Path, benchmark: Callable[[str], ModuleType]
) -> None:
    module = benchmark("bleu_over_length")
    bundles = {family: load(exports / family, threads=1) for family in FAMILIES}
    bins = module.measured(bundles, examples())
    assert sum(one.texts for one in bins) == len(PAIRS)
    assert bins[0].words == "1-8"
    assert bins[-1].words == "25-36"
    for one in bins:
        first, last = map(int, one.words.split("-"))
        inside = [(s, t) for s, t in PAIRS if first <= len(s.split()) <= last]
        assert len(inside) == one.texts
        for family, bundle in bundles.items():
            written = [answer.text for answer in bundle([source for source, _ in inside])]
            expected = sacrebleu.corpus_bleu(written, [[target for _, target in inside]]).score
            assert 100 * one.bleu[family].value == pytest.approx(expected, abs=1e-6)
            assert one.bleu[family].low <= one.bleu[family].value <= one.bleu[family].high
    assert module.shown(bins).splitlines()[1].split()[:2] == ["1-8", str(bins[0].texts)]
    (axis,) = module.draw(bins).axes
    assert [text.get_text() for text in axis.get_legend().get_texts()] == list(FAMILIES)


def test_neighbours_are_joined_for_longer_sources(benchmark: Callable[[str], ModuleType]) -> None:
    module = benchmark("bleu_over_length")
    three = module.joined(examples(), 3)
    assert len(three) == len(PAIRS) // 3
    assert three[1].text == " ".join(source for source, _ in PAIRS[3:6])
    assert three[1].label == Target(" ".join(target for _, target in PAIRS[3:6]))


def test_bins_lack_no_text_and_stand_in_order(benchmark: Callable[[str], ModuleType]) -> None:
    bins = benchmark("bleu_over_length").bins_of([0, 1, 8, 9, 12, 300, 17, 49])
    assert bins == {"1-8": [0, 1, 2], "9-12": [3, 4], "17-24": [6], "49+": [5, 7]}


def test_words_behind_the_longest_text_count_and_are_said_to_be_cut(
    tmp_path: Path, benchmark: Callable[[str], ModuleType]
) -> None:
    module = benchmark("bleu_over_length")
    write_translating_bundle(tmp_path / "short", "lstm encoder-decoder", max_length=6)
    bins = module.measured({"short": load(tmp_path / "short", threads=1)}, examples())
    assert bins[-1].words == "25-36"
    assert bins[-1].cut == {"short": bins[-1].texts}
    assert "short reads no more than a part of" in module.shown(bins)


def test_the_command_reads_text_files_bundles_and_runs(
    exports: Path,
    tmp_path: Path,
    benchmark: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = benchmark("bleu_over_length")
    for place, suffix in enumerate(("en", "de")):
        (tmp_path / f"test.{suffix}").write_text("".join(f"{pair[place]}\n" for pair in PAIRS))
    run = tmp_path / "outputs" / FAMILIES[0]
    run.mkdir(parents=True)
    settings = {"name": FAMILIES[0], "provenance": {"settings": {"exports": str(exports)}}}
    (run / "report.json").write_text(json.dumps(settings))
    others = [f"gru={exports / FAMILIES[1]}", "--suffixes", "en", "de", "--join", "2,3", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["bleu_over_length.py", str(tmp_path / "test"), str(run), *others])
    module.main()
    assert capsys.readouterr().out.splitlines()[0].split() == ["words", "texts", "encoder-decoder", "gru"]
    found = json.loads((tmp_path / "figures.json").read_text())
    assert sum(one["texts"] for one in found) == 14 + 7 + 4
    assert (tmp_path / "bleu_over_length.png").stat().st_size > 10_000


def test_a_bundle_of_another_task_is_refused(tmp_path: Path, benchmark: Callable[[str], ModuleType]) -> None:
    from writing_bundles import write_writing_bundle

    write_writing_bundle(tmp_path / "model", "decoder")
    with pytest.raises(UserError, match="model is a bundle for language-modelling; give some of text-to-text"):
        benchmark("bleu_over_length").measured({"model": load(tmp_path / "model")}, examples())
