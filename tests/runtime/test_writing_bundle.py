"""A bundle of a language model: it writes, streams, foretells, and is refused where its parts do not fit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from tiny_graphs import MakeBundle
from writing_bundles import TASK, prose_reading, write_writing_bundle

from distill import UserError, load
from distill.cli import main
from distill.models.answers import forward_of, outcome
from distill.runtime import Bundle, Generation, GenerationSettings, WritingBundle, in_order, respond, sha256_of
from distill.text import Example

PROMPTS = ["a mess", "", "not much of a gorgeous movie"]
FAMILIES = ["GPT2", "decoder", "lstm", "gru"]


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[WritingBundle, Any]:
    """(bundle, the torch model)"""
    folder = tmp_path_factory.mktemp("exports") / request.param
    model = write_writing_bundle(folder, request.param)
    bundle = load(folder, threads=1)
    assert isinstance(bundle, WritingBundle)
    return bundle, model


def test_it_writes_what_torch_writes_behind_the_boundary_and_the_text(pair: tuple[WritingBundle, Any]) -> None:
    bundle, model = pair
    tokenizer = bundle.reading.tokenizer
    answers = bundle(PROMPTS)
    for prompt, written in zip(PROMPTS, answers, strict=True):
        ids = [bundle.reading.boundary, *tokenizer.encode(prompt, add_special_tokens=False).ids]
        new = []
        while len(new) < 12 and (not new or new[-1] != ids[0]):
            with torch.no_grad():
                new.append(int(model(input_ids=torch.tensor([ids + new])).logits[0, -1].argmax()))
        assert written.as_dict() == {
            "text": tokenizer.decode(ids + new)[len(tokenizer.decode(ids)) :],
            "tokens": len(new),
            "finish": "end" if new[-1] == ids[0] else "length",
        }
    assert bundle(PROMPTS, tokens=1000) == answers
    assert bundle.generate(PROMPTS) == answers
    assert ["".join(bundle.stream(prompt)) for prompt in PROMPTS] == [written.text for written in answers]


def test_it_foretells_what_torch_foretells(pair: tuple[WritingBundle, Any]) -> None:
    bundle, model = pair
    examples = [Example(text) for text in ("a mess " * 40, "fine", "")]  # the first in windows
    expected = in_order(respond(forward_of(model, kept=outcome), prose_reading(), TASK, examples, 1))
    for tokens in (1, 1000):
        for e, found in zip(expected, bundle.logits(examples, tokens), strict=True):
            np.testing.assert_allclose(found[:, 0], e[:, 0], atol=1e-4)
            np.testing.assert_array_equal(found[:, 1:], e[:, 1:])


def test_settings_are_the_callers_and_the_rest_the_bundles(pair: tuple[WritingBundle, Any]) -> None:
    bundle, _ = pair
    (two,) = bundle.generate(["a mess"], GenerationSettings(2, end_ids=(10**6,)))
    assert (two.tokens, two.finish) == (2, "length")
    one, again, other = (
        bundle.generate(["a"], GenerationSettings(30, temperature=3.0, seed=seed))[0] for seed in (0, 0, 1)
    )
    assert one == again != other
    sampled = [bundle.generate(["a"] * 3, GenerationSettings(9, temperature=3.0), tokens) for tokens in (1, 1000)]
    assert len({text.text for text in sampled[0]}) == 3
    assert sampled[0] == sampled[1]
    assert bundle.generate("a mess") == bundle.generate(["a mess"])
    if bundle.graphs.cache_grows:
        assert bundle.generate(["a"], GenerationSettings(1000, end_ids=(10**6,)))[0].tokens == 40 - 2
        with pytest.raises(UserError, match="prompt 2 has 61 tokens, but the model holds 40"):
            bundle(["a", "a " * 60])
    else:  # a recurrent network holds texts of any length
        assert bundle.generate(["a " * 60], GenerationSettings(70, end_ids=(10**6,)))[0].tokens == 70


def test_int8_writes_and_a_stream_may_be_left(pair: tuple[WritingBundle, Any]) -> None:
    bundle = load(pair[0].directory, "int8", threads=1)
    assert isinstance(bundle, WritingBundle)
    pieces = bundle.stream("a mess", GenerationSettings(20, end_ids=(10**6,)))
    next(pieces)
    pieces.close()


def test_a_question_that_is_none_is_refused(pair: tuple[WritingBundle, Any]) -> None:
    for question in (5, ["a"], {"word": "a"}, "\ud800"):
        with pytest.raises(UserError, match=r"expected a text|not UTF-8"):
            pair[0]([question])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"generation": None}, "a variant has no graph of the role model"),
        ({"generation": Generation(3, [3], 10**6)}, "max_new_tokens is 1000000"),
        ({"generation": Generation(3, [-1])}, "no ids"),
        ({"generation": Generation(59_000, [3])}, "begins a text with the token 59000"),
        ({"inputs": ["input_ids", "attention_mask"]}, "bundle.json says"),
        ({"outputs": ["logits", "present.7.key"]}, "does not give"),
        ({"task": {"name": "regression", "labels": [], "metric": "spearman"}}, "no other task has one"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(wrong: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        write_writing_bundle(tmp_path / "small", "lstm", **wrong)


def without_a_present(graph: Any) -> None:
    del graph.output[-1]


def of_another_size(graph: Any) -> None:
    name = graph.output[-1].name
    for node in graph.node:
        node.output[:] = ["half" if output == name else output for output in node.output]
    graph.node.append(onnx.helper.make_node("Concat", ["half", "half"], [name], axis=1))
    graph.output[-1].type.tensor_type.shape.dim[1].dim_value = 24


def of_a_free_size(graph: Any) -> None:
    graph.input[2].type.tensor_type.shape.dim[1].dim_param = "any"


def too_narrow(graph: Any) -> None:
    """Logits of fewer tokens than the tokenizer has."""
    ends = [onnx.numpy_helper.from_array(np.array([n]), name) for n, name in ((0, "s"), (20, "e"), (2, "axis"))]
    graph.initializer.extend(ends)
    for node in graph.node:
        node.output[:] = ["wide" if name == "logits" else name for name in node.output]
    graph.node.append(onnx.helper.make_node("Slice", ["wide", "s", "e", "axis"], ["logits"]))
    graph.output[0].type.tensor_type.shape.dim[2].dim_value = 20


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without_a_present, "does not give it back"),
        (of_another_size, "comes back as"),
        (of_a_free_size, "comes back as"),
        (too_narrow, r"its logits are .*20\], for a tokenizer of \d\d tokens"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused(change: Any, says: str, tmp_path: Path) -> None:
    write_writing_bundle(tmp_path / "small", "lstm")
    path, about = tmp_path / "small/onnx/decoder.onnx", tmp_path / "small/bundle.json"
    model = onnx.load(path)
    change(model.graph)
    onnx.save(model, path)
    said = json.loads(about.read_text())
    said["sha256"]["onnx/decoder.onnx"], said["sizes"]["onnx/decoder.onnx"] = sha256_of(path), path.stat().st_size
    about.write_text(json.dumps(said))
    with pytest.raises(UserError, match=says):
        load(tmp_path / "small", threads=1)


def test_a_bundle_from_before_there_was_writing_loads(make_bundle: MakeBundle) -> None:
    small_bundle = make_bundle()
    about = json.loads((small_bundle / "bundle.json").read_text())
    assert about.pop("generation") is None
    (small_bundle / "bundle.json").write_text(json.dumps(about))
    assert type(load(small_bundle)) is Bundle


def test_options_of_writing_are_refused_for_other_tasks(
    make_bundle: MakeBundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(make_bundle()), "fine", "--beams", "2"]) == 2
    assert "--beams says how a model writes" in capsys.readouterr().err
