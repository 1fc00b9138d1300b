import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from distill.report import render_card
from distill.results import Report


def front_matter(card: str) -> dict[str, object]:
    _, head, _ = card.split("---\n", 2)
    loaded = yaml.safe_load(head)
    assert isinstance(loaded, dict)
    return loaded


def test_front_matter_is_what_the_hub_reads(report: Report) -> None:
    head = front_matter(render_card(report))
    assert head["license"] == "apache-2.0"
    assert head["pipeline_tag"] == "text-classification"
    assert head["metrics"] == ["accuracy"]
    assert "knowledge-distillation" in head["tags"]  # type: ignore[operator]


def test_licence_unknown_to_the_hub_is_other_with_its_name(hostile: Report) -> None:
    head = front_matter(render_card(hostile))
    assert head["license"] == "other"
    assert head["license_name"] == hostile.teacher_licence


def test_results_table_has_a_line_for_each_row(report: Report) -> None:
    lines = [line for line in render_card(report).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 5 + 1 + 5
    assert {line.count("|") for line in lines} == {9}
    assert "| student int8 | 80.4 ± 1.9 | – | – | 3.4 M | 3.60 | 0.94 | 71.0 |" in lines
    assert "| *seed 2, exported* | 80.7 | – | – | – | – | – | – |" in lines


def test_names_break_neither_table_nor_page(hostile: Report) -> None:
    card = render_card(hostile)
    assert "<script" not in re.sub(r"(?s)^---.*?\n---\n", "", card)
    cells = {len(re.findall(r"(?<!\\)\|", line)) for line in card.splitlines() if line.startswith("|")}
    assert cells == {9}


def test_energy_stands_with_its_provenance_and_licences_are_named(report: Report) -> None:
    card = render_card(report)
    assert "student int8: 11.5 J per 1,000 texts, estimated (CPU seconds x 12 W a core" in card
    assert "training, students: – in 4 min 12 s, unavailable (no sensor)" in card
    assert "unknown (snippets of reviews, research use)" in card
    assert "student int4 fell and is not in this folder" in card


def test_nothing_known_makes_a_card(sparse: Report) -> None:
    card = render_card(sparse)
    assert not re.search(r"\bnan\b", card, flags=re.IGNORECASE)


def plain_example(card: str) -> str:
    blocks: list[str] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    return next(block for block in blocks if "onnxruntime" in block)


def write_bundle(folder: Path, token_level: bool) -> None:
    """A graph of one embedding: logits of a token are a row of a table, those of a text their sum."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    vocabulary = {"[UNK]": 0, "text": 1, "the": 2, "words": 3, "of": 4, "a": 5, "sentence": 6}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.enable_padding(length=16)  # what a downloaded tokenizer may come with
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.array([[0, 9], [2, 0], [1, 0], [0, 1], [1, 0], [0, 1], [0, 1]], dtype=np.float32)
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["logits" if token_level else "rows"])]
    if not token_level:
        nodes.append(helper.make_node("ReduceSum", ["rows", "axis"], ["logits"], keepdims=0))
    graph = helper.make_graph(
        nodes,
        "bag of words",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1], dtype=np.int64), "axis")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "onnx").mkdir()
    onnx.save(model, str(folder / "onnx/model_int8.onnx"))
    manifest = {
        "max_length": 4,
        "inputs": ["input_ids"],
        "graphs": {"int8": {"model": "onnx/model_int8.onnx"}},
        "task": {"labels": ["negative", "positive"]},
    }
    (folder / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")


@pytest.mark.parametrize("task", ["text-classification", "token-classification"])
def test_plain_example_runs_and_imports_nothing_of_the_project(report: Report, task: str, tmp_path: Path) -> None:
    write_bundle(tmp_path, token_level=task == "token-classification")
    code = plain_example(render_card(dataclasses.replace(report, task=task)))
    assert "distill" not in code
    assert len([line for line in code.splitlines() if line.strip()]) <= 22
    run = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    if task == "text-classification":
        answer = eval(run.stdout)
        assert answer["negative"] == pytest.approx(np.exp(2) / (np.exp(2) + 1))
    else:  # the fifth word is cut off by the maximum length of 4
        assert run.stdout.split("\n")[:-1] == ["the negative", "words positive", "of negative", "a positive"]


def test_task_without_a_plain_example_still_says_how_to_use(report: Report) -> None:
    card = render_card(dataclasses.replace(report, task="something-new"))
    assert "distill predict FOLDER" in card
    assert "pipeline_tag" not in front_matter(card)
    assert "onnxruntime.InferenceSession" not in card
