"""A bundle answers in the order of the questions, whatever their lengths."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from tiny_graphs import CORPUS, INPUTS, MakeBundle, word_table, write_graph
from tokenizers import Tokenizer

import distill
from distill import Bundle, UserError, load, tasks
from distill.runtime import Graphs
from distill.text import Example

TEXTS = ["fine", "", "a gorgeous witty seductive movie of anything at all to end", "not much", "a mess", "fine fine"]


def _expected(folder: Path, question: Any, classes: int = 3, scale: float = 1.0) -> np.ndarray:
    """Logits by the tokenizers library and numpy alone."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encoding = tokenizer.encode(*question) if isinstance(question, tuple) else tokenizer.encode(question)
    rows = word_table(tokenizer.get_vocab_size(), classes, scale)[encoding.ids]
    total: np.ndarray = (rows * (1 + np.array(encoding.type_ids))[:, None]).sum(0)
    return total


def _logits(bundle: Bundle, questions: list[Any], tokens: int = 400) -> np.ndarray:
    return np.concatenate(bundle.logits([bundle.task.question(q) for q in questions], tokens))


@pytest.mark.parametrize("tokens", [1, 20, 400])
def test_logits_are_those_of_each_text_alone_in_the_order_asked(make_bundle: MakeBundle, tokens: int) -> None:
    bundle = load(make_bundle(), threads=1)
    expected = np.stack([_expected(bundle.directory, text) for text in TEXTS])
    assert len({tuple(row.round(3)) for row in expected}) == len(TEXTS)  # a wrong order would show
    np.testing.assert_allclose(_logits(bundle, TEXTS, tokens), expected, rtol=1e-5, atol=1e-5)


def test_answers_are_softmax_and_label_of_the_logits(make_bundle: MakeBundle) -> None:
    bundle = load(make_bundle(), threads=1)
    for text, answer in zip(TEXTS, bundle(TEXTS), strict=True):
        expected = softmax(_expected(bundle.directory, text))
        shown = answer.as_dict()
        assert shown["label"] == ("bad", "fine", "good")[expected.argmax()]
        np.testing.assert_allclose(list(shown["probabilities"].values()), expected, atol=1e-5)


def test_a_pair_reaches_the_graph_with_its_segments(make_bundle: MakeBundle) -> None:
    bundle = load(make_bundle(), threads=1)
    questions = [("fine", "a mess"), ("a mess", "fine"), ("not much", "")]
    expected = np.stack([_expected(bundle.directory, pair) for pair in questions])
    np.testing.assert_allclose(_logits(bundle, list(questions)), expected, atol=1e-5)
    assert abs(expected[0] - expected[1]).max() > 0.1  # the order of the two matters


def test_a_text_a_tuple_or_an_object_alone_is_one_question(make_bundle: MakeBundle) -> None:
    bundle = load(make_bundle(), threads=1)
    for question in ("a mess", ("fine", "a mess"), {"text": "fine"}, {"text": "fine", "text_pair": "a mess"}):
        assert bundle(question) == bundle([question])
    assert bundle({"text": "fine"}) == bundle("fine")
    assert bundle(("fine", "a mess")) == bundle({"text": "fine", "text_pair": "a mess"}) == bundle([["fine", "a mess"]])


def test_anything_else_holds_questions(make_bundle: MakeBundle) -> None:
    bundle = load(make_bundle(), threads=1)
    assert bundle([]) == []
    assert len(bundle(["fine", "a mess"])) == 2
    for several in ((text for text in TEXTS), np.array(TEXTS), dict.fromkeys(TEXTS).keys()):
        assert bundle(several) == bundle(TEXTS)


def test_a_tuple_of_words_is_one_sentence(make_bundle: MakeBundle) -> None:
    bundle = load(make_bundle("token-classification", ("B-x", "O")), threads=1)
    assert [answer.as_dict()["words"] for answer in bundle(("a", "mess"))] == [["a", "mess"]]
    assert [answer.as_dict()["words"] for answer in bundle(["a", "mess"])] == [["a"], ["mess"]]


@pytest.mark.parametrize(
    "nothing", [3, None, b"fine", ["fine", 3], [["a", "b", "c"]], ("a", "b", "c"), {"txt": "fine"}]
)
def test_what_is_no_question_is_refused(make_bundle: MakeBundle, nothing: Any) -> None:
    with pytest.raises(UserError, match="expected a text"):
        load(make_bundle(), threads=1)(nothing)


@pytest.mark.parametrize("half", ["a \ud800", ("a", "\udfff"), {"text": "a", "text_pair": "\ud800"}])
def test_half_of_a_character_is_refused(make_bundle: MakeBundle, half: Any) -> None:
    with pytest.raises(UserError, match="half of a character"):
        load(make_bundle(), threads=1)(half)


def test_an_empty_text_is_a_valid_question(make_bundle: MakeBundle) -> None:
    (answer,) = load(make_bundle(), threads=1)([""])
    assert sum(answer.as_dict()["probabilities"].values()) == pytest.approx(1)


def test_a_text_beyond_the_maximum_is_cut_there(make_bundle: MakeBundle) -> None:
    bundle = load(make_bundle(), threads=1)
    long = bundle.reading.encode([Example("fine " * 500)])[0]
    assert (len(long.input_ids), long.truncated) == (12, True)
    np.testing.assert_allclose(_logits(bundle, ["fine " * 500]), _logits(bundle, ["fine " * 10]), atol=1e-6)


def test_the_variant_named_is_the_one_that_answers(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    assert load(folder).variant == "fp32"
    doubled = load(str(folder), "int8", threads=1)
    np.testing.assert_allclose(_logits(doubled, TEXTS), 2 * _logits(load(folder), TEXTS), rtol=1e-5, atol=1e-5)


def test_words_get_a_tag_each(make_bundle: MakeBundle) -> None:
    bundle = load(make_bundle("token-classification", ("B-x", "O")), threads=1)
    sentences = [("a", "mess"), ("fine",), (), ("not", "", "much", "of", "anything"), ("fine",) * 20]
    tokenizer = Tokenizer.from_file(str(bundle.directory / "tokenizer.json"))
    for sentence, answer in zip(sentences, bundle(sentences), strict=True):
        encoding = tokenizer.encode(list(sentence), is_pretokenized=True)
        rows = word_table(tokenizer.get_vocab_size(), 2)[encoding.ids]
        expected = [
            ("B-x", "O")[rows[encoding.word_ids.index(i)].argmax()] if i in encoding.word_ids else "O"
            for i in range(len(sentence))
        ]
        assert answer.as_dict()["tags"] == expected
        assert answer.as_dict()["words"] == list(sentence)


def test_a_graph_is_fed_the_inputs_it_names_and_no_others(tmp_path: Path) -> None:
    table = word_table(10, 3)
    write_graph(tmp_path / "two.onnx", table, False, ("input_ids", "attention_mask"))
    graphs = Graphs({"model": tmp_path / "two.onnx"}, 1)
    assert graphs.inputs == {"model": ("input_ids", "attention_mask")}
    batch = {name: np.array([[3, 4]]) if name == "input_ids" else np.ones((1, 2), dtype=np.int64) for name in INPUTS}
    np.testing.assert_allclose(graphs.run("model", batch)[0], table[[3, 4]].sum(0)[None], rtol=1e-6)


@pytest.mark.parametrize("threads", [0, -1, "2", 1.5, True])
def test_threads_are_a_whole_number_from_1_on(make_bundle: MakeBundle, threads: Any) -> None:
    folder = make_bundle()
    with pytest.raises(UserError, match=rf"threads is {threads!r}; give a whole number, at least 1, or None for all"):
        load(folder, threads=threads)
    assert load(folder, threads=np.int64(2))("fine") == load(folder)("fine")


def test_load_is_what_the_package_offers() -> None:
    assert distill.load is load
    assert len(CORPUS) == 4


def test_a_model_of_pairs_gives_no_answer_to_one_text_alone(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    alone = load(folder, threads=1)
    about = json.loads((folder / "bundle.json").read_text())
    assert about["paired"] is None
    (folder / "bundle.json").write_text(json.dumps({**about, "paired": True}))
    bundle = load(folder, threads=1)
    pair = (CORPUS[0], CORPUS[1])
    assert bundle([pair]) == alone([pair])
    for question in (CORPUS[0], {"text": CORPUS[0]}):
        alone([question])
        with pytest.raises(UserError, match="about pairs of texts, and here is a first without a second; give both"):
            bundle([pair, question])
    with pytest.raises(UserError, match="--pair-column"):
        bundle.logits([Example(CORPUS[0])])


def test_a_model_of_single_texts_gives_no_answer_to_a_pair(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    about = json.loads((folder / "bundle.json").read_text())
    pair = (CORPUS[0], CORPUS[1])
    for known in (about, {key: value for key, value in about.items() if key != "paired"}):  # as an older bundle
        (folder / "bundle.json").write_text(json.dumps(known))
        assert load(folder, threads=1)(pair)
    (folder / "bundle.json").write_text(json.dumps({**about, "paired": False}))
    bundle = load(folder, threads=1)
    assert len(bundle(list(pair))) == 2
    complaint = r"about single texts, and here is a pair, \('a gorgeous.*as a list of them, not as a tuple"
    for question in (pair, [list(pair)], {"text": CORPUS[0], "text_pair": CORPUS[1]}, [CORPUS[0], pair]):
        with pytest.raises(UserError, match=complaint):
            bundle(question)
    with pytest.raises(UserError, match="--pair-column"):
        bundle.logits([Example(CORPUS[0]), Example(*pair)])


@pytest.mark.parametrize("task", ["question-answering", "sentence-embedding"])
def test_tasks_of_two_texts_are_asked_about_two_whatever_they_learnt_on(make_bundle: MakeBundle, task: str) -> None:
    bundle = load(make_bundle(), threads=1)
    bundle.manifest = dataclasses.replace(bundle.manifest, paired=False)
    with pytest.raises(UserError, match="about single texts"):
        bundle.example(("one", "two"))
    bundle.task = tasks.build(task, ())
    assert bundle.example(("one", "two")) == Example("one", "two")
