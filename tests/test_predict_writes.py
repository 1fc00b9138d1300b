"""`distill predict` of a language model: the text as it comes, one answer a line, and options of its own."""

import io
import json
import sys
from pathlib import Path

import pytest
from writing_bundles import write_writing_bundle

from distill import load
from distill.bundle_commands import show_as_it_comes
from distill.cli import main
from distill.runtime import GenerationSettings, WritingBundle

WRITE = ["--max-new-tokens", "9"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> WritingBundle:
    folder = tmp_path_factory.mktemp("exports") / "small"
    write_writing_bundle(folder, "lstm")
    found = load(folder, threads=1)
    assert isinstance(found, WritingBundle)
    return found


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_gets_no_control_characters_of_a_model(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hostile:
        def stream(self, question: str) -> list[str]:
            return ["a\x1b", "[2J", "\x9b31m\x07\r\x7f", "b\tc\nä\u200d"]

    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    show_as_it_comes(Hostile(), "TEXT 1", b"a", as_json=False)
    clean, raw = "a\ufffd[2J\ufffd31m\ufffd\ufffd\ufffdb\tc\nä\u200d\n", "a\x1b[2J\x9b31m\x07\r\x7fb\tc\nä\u200d\n"
    assert capsys.readouterr().out == (clean if terminal else raw)


def test_a_text_is_shown_as_it_comes(
    bundle: WritingBundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed = []
    monkeypatch.setattr(sys.stdout, "flush", lambda: flushed.append(True))
    assert main(["predict", str(bundle.directory), "a mess", "fine", *WRITE]) == 0
    texts = bundle.generate(["a mess", "fine"], GenerationSettings(9))
    assert capsys.readouterr().out == f"{texts[0].text}\n{texts[1].text}\n"
    assert len(flushed) >= 8


def test_stdin_gives_a_line_each_and_json_says_all(
    bundle: WritingBundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = bundle.generate(["a mess", "fine"], GenerationSettings(9))
    for options, expected in (
        ([], [text.as_line() for text in texts]),
        (["--json"], [json.dumps(text.as_dict(), ensure_ascii=False) for text in texts]),
    ):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a mess\nfine\n")))
        assert main(["predict", str(bundle.directory), *WRITE, *options]) == 0
        assert capsys.readouterr().out.splitlines() == expected


def test_equal_texts_are_sampled_apart_and_the_same_in_every_run(
    bundle: WritingBundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where questions in JSON have blank lines between them."""
    sampled = [*WRITE, "--temperature", "2", "--seed", "4"]
    found = []
    for given, options in (
        (b"a mess\na mess\na mess\n", []),
        (b'"a mess"\n\n"a mess"\n \n"a mess"\n', ["--input", "json"]),
    ):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        assert main(["predict", str(bundle.directory), *sampled, *options]) == 0
        found.append(capsys.readouterr().out.splitlines())
    assert main(["predict", str(bundle.directory), "a mess", "a mess", "a mess", *sampled, "--json"]) == 0
    found.append([json.loads(line)["text"].strip() for line in capsys.readouterr().out.splitlines()])
    assert len(found[0]) == len(set(found[0])) == 3
    assert found[1] == found[0]
    assert [" ".join(text.split()) for text in found[2]] == [" ".join(text.split()) for text in found[0]]


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["--beams", "3", "--repetition-penalty", "1.5"], {"beams": 3, "repetition_penalty": 1.5}),
        (
            ["--temperature", "2", "--top-k", "9", "--top-p", "0.9", "--seed", "4"],
            {"temperature": 2.0, "top_k": 9, "top_p": 0.9, "seed": 4},
        ),
        (["--stop", "e", "--stop", "o"], {"stop": ("e", "o")}),
    ],
)
def test_options_are_settings(
    options: list[str], settings: dict[str, float], bundle: WritingBundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(bundle.directory), "--json", *WRITE, *options, "a mess"]) == 0
    (text,) = bundle.generate(["a mess"], GenerationSettings(**{"max_new_tokens": 9, **settings}))  # type: ignore[arg-type]
    assert json.loads(capsys.readouterr().out) == text.as_dict()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--max-new-tokens", "0"], "max_new_tokens of generation is 0; give 1 or more"),
        (["--top-p", "2"], "top_p of generation is 2.0"),
        (["--beams", "2", "--temperature", "1"], "beam search does not sample"),
        (["--stop", ""], "none of them empty"),
    ],
)
def test_values_out_of_range_are_refused(
    options: list[str], says: str, bundle: WritingBundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(bundle.directory), "a", *options]) == 2
    told = capsys.readouterr()
    assert not told.out
    assert says in told.err


def test_a_prompt_that_fills_the_model_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_writing_bundle(tmp_path / "small", "decoder")
    assert main(["predict", str(tmp_path / "small"), "fine", "a " * 60]) == 2
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 1
    assert "TEXT 2: prompt 1 has 61 tokens, but the model holds 40" in told.err
