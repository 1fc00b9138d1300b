"""A bundle of two models: who answers what, and what is refused."""

import copy
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from tiny_graphs import CORPUS, INPUTS, MakeBundle, word_table, write_graph

from distill import UserError, load, tasks
from distill.cli import main
from distill.export.bundle import Content, write_bundle
from distill.runtime import Cascade, CascadeBundle, Manifest, read_manifest, sha256_of
from distill.text import Example, Reading, train_tokenizer

LABELS = ("bad", "fine", "good")
TEXTS = ["fine", "", "a gorgeous witty seductive movie of anything at all to end", "not much", "a mess", "fine fine"]


@pytest.fixture
def cascade(make_bundle: MakeBundle, tmp_path: Path) -> Path:
    """The bundle ``small`` beside a larger model that reads with a tokenizer of its own, answers other things, and is
    asked about some of the texts."""
    alone = make_bundle()
    confidence = sorted(softmax(logits[0]).max() for logits in load(alone).logits(list(map(Example, TEXTS))))
    threshold = float(np.mean(confidence[2:4]))
    reading = Reading(train_tokenizer([Example(text) for text in CORPUS * 3], 120), 9)
    sources = tmp_path / "larger-sources"
    sources.mkdir()
    write_graph(sources / "larger.onnx", word_table(reading.vocabulary_size, 3, -1.5), by_token=False)
    reading.save_tokenizer(sources / "tokenizer.json")
    graphs = {"int8": {"model": "onnx/model_int8.onnx"}}
    section = tasks.build("text-classification", LABELS).section()
    inside = Manifest(1, "small", section, graphs, list(INPUTS), ["logits"], 9, reading.pad_id, "int8", {}, {}, {})
    larger = {"tokenizer.json": sources / "tokenizer.json", "onnx/model_int8.onnx": sources / "larger.onnx"}
    manifest = dataclasses.replace(read_manifest(alone), cascade=Cascade(threshold, 0.5), sha256={}, sizes={})
    files = {name: alone / name for name in read_manifest(alone).sha256}
    write_bundle(tmp_path / "both", manifest, files, {"config.json": "{}"}, Content(inside, larger))
    return tmp_path / "both"


def test_unsure_texts_are_asked_of_the_larger_model_and_the_others_are_not(cascade: Path) -> None:
    both, alone, larger = load(cascade), load(cascade.parent / "small"), load(cascade / "larger")
    assert isinstance(both, CascadeBundle)
    examples = [Example(text) for text in TEXTS]
    own, theirs = alone.logits(examples), larger.logits(examples)
    asked = [bool(softmax(one[0]).max() < both.threshold) for one in own]
    assert 0 < sum(asked) < len(asked)
    wanted = [b if ask else a for a, b, ask in zip(own, theirs, asked, strict=True)]
    assert all(not np.allclose(a, b) for a, b in zip(own, theirs, strict=True))
    for tokens in (1, 400):
        for found, expected in zip(both.logits(examples, tokens), wanted, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-5)
    answers: list[Any] = list(both(TEXTS))
    assert [answer.model for answer in answers] == ["larger" if ask else "small" for ask in asked]
    for answer, of_small, of_larger, ask in zip(answers, alone(TEXTS), larger(TEXTS), asked, strict=True):
        expected = of_larger if ask else of_small
        assert answer.label == expected.label  # type: ignore[attr-defined]
        assert answer.as_line() == expected.as_line()
        assert answer.as_dict() == {**expected.as_dict(), "model": answer.model}


def test_a_text_of_just_the_threshold_is_not_asked(cascade: Path) -> None:
    confidence = float(softmax(load(cascade.parent / "small").logits([Example("fine")])[0][0].astype(float)).max())
    for threshold, model in ((confidence, "small"), (np.nextafter(confidence, 1), "larger")):
        both = load(cascade)
        assert isinstance(both, CascadeBundle)
        both.threshold = float(threshold)
        (answer,) = both("fine")
        assert answer.model == model  # type: ignore[attr-defined]


def test_answers_can_be_copied(cascade: Path) -> None:
    (answer,) = load(cascade)("fine")
    assert copy.deepcopy(answer) == copy.copy(answer) == answer
    with pytest.raises(AttributeError):
        answer.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_commands_say_who_answered(cascade: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(cascade), "--json", *TEXTS[:1], *TEXTS[2:]]) == 0
    said = [json.loads(line)["model"] for line in capsys.readouterr().out.splitlines()]
    assert set(said) == {"small", "larger"}
    assert main(["predict", str(cascade), "fine"]) == 0
    plain = capsys.readouterr().out
    assert plain.count("\t") == 1
    answers: list[Any] = list(load(cascade)(TEXTS))
    rows = [json.dumps({"text": text, "label": answer.label}) for text, answer in zip(TEXTS, answers, strict=True)]
    (tmp_path / "own.jsonl").write_text("\n".join(row for row, text in zip(rows, TEXTS, strict=True) if text))
    assert main(["evaluate", str(cascade), "--data", str(tmp_path / "own.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"]["accuracy"]["value"] == 1


def test_the_larger_model_is_a_bundle_by_itself_and_its_files_are_vouched_for(cascade: Path) -> None:
    inside = read_manifest(cascade / "larger")
    assert (inside.default_variant, inside.cascade) == ("int8", None)
    assert set(inside.sha256) == {"tokenizer.json", "onnx/model_int8.onnx"}
    assert read_manifest(cascade).sha256["larger/bundle.json"] == sha256_of(cascade / "larger" / "bundle.json")
    assert load(cascade, sha256=sha256_of(cascade / "bundle.json"))("fine")


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def edit_larger(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """By someone who makes the digests fit."""
    inside = folder / "larger" / "bundle.json"
    edit(inside, change)
    edit(folder / "bundle.json", lambda data: data["sha256"].update({"larger/bundle.json": sha256_of(inside)}))


def test_an_altered_or_missing_larger_model_is_refused(cascade: Path, tmp_path: Path) -> None:
    for file in ("bundle.json", "tokenizer.json", "onnx/model_int8.onnx"):
        folder = shutil.copytree(cascade, tmp_path / "altered", dirs_exist_ok=True)
        content = bytearray((folder / "larger" / file).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / "larger" / file).write_bytes(content)
        with pytest.raises(UserError, match=r"not the file that was meant|was altered"):
            load(folder)
        (folder / "larger" / file).unlink()
        with pytest.raises(UserError, match=r"has no bundle\.json|incomplete"):
            load(folder)
        shutil.rmtree(folder)
    shutil.rmtree(cascade / "larger")
    with pytest.raises(UserError, match="no folder"):
        load(cascade)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["cascade"].update(threshold=0), "the threshold of the cascade is 0"),
        (lambda data: data["cascade"].update(threshold=1.5), "the threshold of the cascade is 1.5"),
        (lambda data: data["cascade"].update(threshold=None), "the threshold of the cascade is nan"),
        (lambda data: data["cascade"].update(calls=-1), "the share of calls is -1"),
        (lambda data: data["cascade"].update(folder="/etc"), "unknown keys"),
        (lambda data: data["sha256"].pop("larger/bundle.json"), "has no sha256 of larger/bundle.json"),
        (lambda data: data["task"].update(name="multi-label-classification", metric="micro_f1"), "one label"),
        (lambda data: data["task"].update(labels=["bad", "good", "fine"]), "but the smaller model"),
    ],
)
def test_a_section_that_does_not_fit_is_refused(cascade: Path, change: Any, message: str) -> None:
    edit(cascade / "bundle.json", change)
    with pytest.raises(UserError, match=message):
        load(cascade)


def test_models_that_answer_otherwise_are_refused(cascade: Path) -> None:
    edit_larger(cascade, lambda data: data["task"].update(labels=["bad", "good", "fine"]))
    with pytest.raises(UserError, match=r"answers .*but the smaller model"):
        load(cascade)


def test_a_cascade_in_a_cascade_is_refused(cascade: Path) -> None:
    """Also one that is its own larger model, which would never end."""
    edit_larger(cascade, lambda data: data.update(cascade={"threshold": 0.5, "calls": 0.5}))
    with pytest.raises(UserError, match="a cascade has two in all"):
        load(cascade)
    shutil.rmtree(cascade / "larger")
    (cascade / "larger").symlink_to(".")
    with pytest.raises(UserError, match="not the file that was meant"):
        load(cascade)


def test_a_larger_model_that_reaches_outside_is_refused(cascade: Path) -> None:
    def outside(data: dict[str, Any]) -> None:
        data["graphs"]["int8"]["model"] = "../onnx/model.onnx"
        data["sha256"]["../onnx/model.onnx"] = sha256_of(cascade / "onnx/model.onnx")

    edit_larger(cascade, outside)
    with pytest.raises(UserError, match="names a file outside of the bundle"):
        load(cascade)


def test_a_larger_model_without_its_files_is_not_written(cascade: Path, tmp_path: Path) -> None:
    manifest = read_manifest(cascade)
    files = {name: cascade / name for name in manifest.sha256 if "larger" not in name}
    inside = read_manifest(cascade / "larger")
    with pytest.raises(ValueError, match="names files that are not given"):
        write_bundle(tmp_path / "new", manifest, files, {}, Content(inside, {}))
    with pytest.raises(UserError, match="has no sha256 of larger"):
        write_bundle(tmp_path / "new", manifest, files, {})
    assert not (tmp_path / "new").exists()
