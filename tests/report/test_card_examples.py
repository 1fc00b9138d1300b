"""The Python of the model card at work, on graphs of a few nodes whose outputs are rows of a table."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from example_report import TASKS, example_report, example_report_of
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace

from distill import tasks
from distill.report import render_card
from distill.text import Example, Reading

TEXT = "[UNK] text first second the words of a sentence question passage to find ans ##wer in , ' it s"
PIECES = TEXT.split()
VOCABULARY = {piece: i for i, piece in enumerate(PIECES)}
Table = NDArray[np.float32]


def table_of(width: int, rows: dict[str, list[float]]) -> Table:
    table = np.zeros((len(PIECES), width), dtype=np.float32)
    for piece, row in rows.items():
        table[VOCABULARY[piece]] = row
    return table


def examples(card: str) -> list[str]:
    blocks: list[str] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    return blocks


def plain_example(task: str) -> str:
    return next(block for block in examples(render_card(example_report_of(task))) if "onnxruntime" in block)


def write_bundle(folder: Path, task: str, table: Table, max_length: int = 200, **section: Any) -> None:
    """Logits of a token are its row of ``table``; those of a text their sum; an embedding the sum at length 1."""
    tokenizer = Tokenizer(WordPiece(VOCABULARY, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.enable_padding(length=16)  # what a downloaded tokenizer may come with
    tokenizer.save(str(folder / "tokenizer.json"))
    node = helper.make_node
    more, outputs = {
        "token-classification": ([node("Identity", ["rows"], ["logits"])], ["logits"]),
        "question-answering": (
            [
                node("Split", ["rows"], ["starts", "ends"], axis=2, num_outputs=2),
                node("Squeeze", ["starts", "last"], ["start_logits"]),
                node("Squeeze", ["ends", "last"], ["end_logits"]),
            ],
            ["start_logits", "end_logits"],
        ),
        "sentence-embedding": (
            [
                node("ReduceSum", ["rows", "middle"], ["sums"], keepdims=0),
                node("LpNormalization", ["sums"], ["sentence_embedding"], axis=-1, p=2),
                node("Identity", ["rows"], ["last_hidden_state"]),
            ],
            ["last_hidden_state", "sentence_embedding"],
        ),
    }.get(task, ([node("ReduceSum", ["rows", "middle"], ["logits"], keepdims=0)], ["logits"]))
    graph = helper.make_graph(
        [node("Gather", ["table", "input_ids"], ["rows"]), *more],
        "table",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([1]), "middle"),
            numpy_helper.from_array(np.array([2]), "last"),
        ],
    )
    (folder / "onnx").mkdir()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(folder / "onnx/model_int8.onnx"))
    manifest = {
        "max_length": max_length,
        "inputs": ["input_ids"],
        "graphs": {"int8": {"model": "onnx/model_int8.onnx"}},
        "task": section,
    }
    (folder / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")


def answer(code: str, folder: Path) -> str:
    """What it prints in an interpreter that does not see this project's folder."""
    assert "distill" not in code
    return subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("task", TASKS)
def test_all_python_in_a_card_compiles_and_is_short(task: str) -> None:
    blocks = examples(render_card(example_report_of(task)))
    assert len(blocks) == 2
    for block in blocks:
        compile(block, task, "exec")
        assert len([line for line in block.splitlines() if line.strip()]) <= 35


def test_a_classifier_prints_probabilities(tmp_path: Path) -> None:
    write_bundle(tmp_path, "text-classification", table_of(2, {"text": [2, 0]}), labels=["negative", "positive"])
    found = eval(answer(plain_example("text-classification"), tmp_path))
    assert found == pytest.approx({"negative": np.exp(2) / (np.exp(2) + 1), "positive": 1 / (np.exp(2) + 1)})


def test_a_tagger_prints_a_tag_a_word_up_to_the_maximum_length(tmp_path: Path) -> None:
    table = table_of(2, {"the": [1, 0], "words": [0, 1], "of": [1, 0], "a": [0, 1], "sentence": [0, 1]})
    write_bundle(tmp_path, "token-classification", table, max_length=4, labels=["O", "B"])
    found = answer(plain_example("token-classification"), tmp_path)
    assert found.splitlines() == ["the O", "words B", "of O", "a B"]


@pytest.mark.parametrize(
    ("section", "given"),
    [
        ({"thresholds": [1.0, 0.5, -2.0]}, {"anger": 2.0, "relief": -1.0}),
        ({}, {"anger": 2.0, "joy": 0.4}),  # without thresholds: a probability above one half
    ],
)
def test_labels_are_those_above_their_threshold(
    section: dict[str, Any], given: dict[str, float], tmp_path: Path
) -> None:
    table = table_of(3, {"text": [2.0, 0.4, -1.0]})
    write_bundle(tmp_path, "multi-label-classification", table, labels=["anger", "joy", "relief"], **section)
    lines = answer(plain_example("multi-label-classification"), tmp_path).splitlines()
    found = {label: float(probability) for label, probability in map(str.split, lines)}
    assert found == pytest.approx({label: 1 / (1 + np.exp(-logit)) for label, logit in given.items()})


def test_a_number_is_printed_for_a_pair_of_texts(tmp_path: Path) -> None:
    write_bundle(tmp_path, "regression", table_of(1, {"first": [1.5], "second": [-0.25], "text": [2.0]}))
    assert float(answer(plain_example("regression"), tmp_path)) == pytest.approx(1.5 + 2.0 - 0.25 + 2.0)


def test_two_texts_are_as_alike_as_the_cosine_of_their_embeddings(tmp_path: Path) -> None:
    table = table_of(2, {"first": [3.0, 0.0], "second": [0.0, 3.0], "text": [0.0, 4.0]})
    write_bundle(tmp_path, "sentence-embedding", table)
    assert float(answer(plain_example("sentence-embedding"), tmp_path)) == pytest.approx(4 / 5)  # (3, 4) and (0, 7)


def test_an_answer_is_a_span_of_whole_words_of_the_passage(tmp_path: Path) -> None:
    rows = {
        "question": [20.0, 20.0],  # does not stand in the passage
        "the": [-5.0, 0.0],
        "passage": [-5.0, 0.0],
        "to": [-5.0, 5.0],  # would end before "find" starts
        "find": [4.0, 0.0],
        "ans": [3.0, 9.0],  # ends within a word
        "##wer": [9.0, 2.0],  # starts within a word
    }
    write_bundle(tmp_path, "question-answering", table_of(2, rows))
    assert answer(plain_example("question-answering"), tmp_path) == "find the answer\n"


@pytest.mark.parametrize("seed", [2, 3])
def test_an_answer_is_that_of_the_package(seed: int, tmp_path: Path) -> None:
    passage = "it's the answer, to the question of a first text, ' in the second passage it's words, unknown answer"
    table = np.random.default_rng(seed).normal(size=(len(PIECES), 2)).astype(np.float32)
    table[[VOCABULARY["ans"], VOCABULARY["##wer"]]] *= 4  # answers hang on a word of two pieces
    write_bundle(tmp_path, "question-answering", table)
    code = plain_example("question-answering").replace("the passage to find the answer in", passage)
    task, example = tasks.build("question-answering", ()), Example("a question", passage)
    encoded = task.encode(Reading.from_file(tmp_path / "tokenizer.json", 200), [example])
    units = task.units(table[encoded[0].input_ids][None], encoded)
    assert answer(code, tmp_path) == task.predictions(units, [example])[0] + "\n"


def test_no_example_stands_where_nothing_is_shipped() -> None:
    report = example_report()
    assert any("onnxruntime" in block for block in examples(render_card(report)))
    unshipped = dataclasses.replace(
        report, variants=tuple(dataclasses.replace(v, shipped=False) for v in report.variants)
    )
    assert not any("onnxruntime" in block for block in examples(render_card(unshipped)))


def test_the_example_turns_telemetry_off_before_it_imports_onnxruntime() -> None:
    code = plain_example("text-classification")
    assert 0 < code.index('os.environ["ORT_DISABLE_TELEMETRY"] = "1"') < code.index("import onnxruntime")
