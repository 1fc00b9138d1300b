"""A file of probabilities: read in the order of the task's labels, and refused where a row is none."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill import tasks
from distill.config import DataConfig, ProbabilitiesTeacher, Source
from distill.data.probabilities import load_probabilities
from distill.errors import UserError
from distill.text import Example

TASK = tasks.build("text-classification", ("bad", "good"))
TAGGER = tasks.build("token-classification", ("B", "O"))
PLAIN = DataConfig()


def teacher(path: Path, rows: list[dict[str, Any]], column: str = "probabilities") -> ProbabilitiesTeacher:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ProbabilitiesTeacher("probabilities", Source(path=str(path)), column)


def test_logarithms_stand_in_the_order_of_labels_and_examples(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "probabilities": {"good": 0.25, "bad": 0.75}},
        {"text": "nobody asks", "probabilities": {"good": 0.5, "bad": 0.5}},
        {"text": "b", "probabilities": json.dumps({"bad": 0.0, "good": 0.999})},
    ]
    b, a = load_probabilities(teacher(tmp_path / "a.jsonl", rows), PLAIN, TASK, [Example("b"), Example("a")])
    np.testing.assert_allclose(a, np.log([[0.75, 0.25]]), rtol=1e-6)
    np.testing.assert_allclose(b, [[np.log(1e-12), 0.0]], rtol=1e-6)  # 0 is written as 1e-12; 0.999 is 1 of the sum
    assert a.dtype == np.float32


def test_pairs_are_found_by_both_texts(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "other": other, "p": {"bad": share, "good": 1 - share}}
        for other, share in (("x", 0.1), ("y", 0.8))
    ]
    data = DataConfig(pair="other")
    (found,) = load_probabilities(teacher(tmp_path / "a.jsonl", rows, "p"), data, TASK, [Example("a", "y")])
    np.testing.assert_allclose(np.exp(found), [[0.8, 0.2]], rtol=1e-6)


def test_words_have_a_distribution_each(tmp_path: Path) -> None:
    one, other = {"B": 0.9, "O": 0.1}, {"B": 0.2, "O": 0.8}
    file = teacher(tmp_path / "a.jsonl", [{"text": ["in", "Rome"], "probabilities": [other, one]}])
    (found,) = load_probabilities(file, PLAIN, TAGGER, [Example(("in", "Rome"))])
    np.testing.assert_allclose(np.exp(found), [[0.2, 0.8], [0.9, 0.1]], rtol=1e-6)
    file = teacher(tmp_path / "a.jsonl", [{"text": ["in", "Rome"], "probabilities": [one]}])
    with pytest.raises(UserError, match="row 1: probabilities has 1 distributions; expected 2"):
        load_probabilities(file, PLAIN, TAGGER, [])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"probabilities": {}}, r"row 2 has no column 'text'; it has probabilities"),
        ({"text": "x"}, r"row 2 has no column 'probabilities'; it has text"),
        ({"text": "x", "probabilities": 0.3}, r"row 2: probabilities is '0\.3'; expected \{\"label\": probability"),
        (
            {"text": "x", "probabilities": {"bad": 0.5, "fine": 0.5}},
            r"row 2: the teacher's labels \['bad', 'fine'\] differ from the data's \['bad', 'good'\]",
        ),
        ({"text": "x", "probabilities": {"bad": 0.5, "good": 0.6}}, r"row 2: the probabilities sum to 1\.1; they must"),
        (
            {"text": "x", "probabilities": {"bad": -0.5, "good": 1.5}},
            "row 2: .* sum to 1; they must be 0",
        ),
        ({"text": "x", "probabilities": {"bad": float("nan"), "good": 1}}, "row 2: the probabilities sum to nan"),
        (
            {"text": "x", "probabilities": {"bad": None, "good": 1}},
            "row 2: the probabilities are .*None.*; give numbers",
        ),
        (
            {"text": "x", "probabilities": {"bad": "0,5", "good": 1}},
            "row 2: the probabilities are .*0,5.*; give numbers",
        ),
        ({"text": "x", "probabilities": "{bad: 1}"}, "row 2: probabilities is '{bad: 1}'; expected"),
        ({"text": "x", "probabilities": "[" * 100_000}, r"row 2: probabilities is '\[{40}'; expected"),
    ],
)
def test_a_row_that_is_no_distribution_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    rows = [{"text": "a", "probabilities": {"bad": 0.5, "good": 0.5}}, row]
    with pytest.raises(UserError, match=message):
        load_probabilities(teacher(tmp_path / "a.jsonl", rows), PLAIN, TASK, [Example("a")])


def test_texts_without_a_row_are_counted(tmp_path: Path) -> None:
    file = teacher(tmp_path / "a.jsonl", [{"text": "a", "probabilities": {"bad": 0.5, "good": 0.5}}])
    with pytest.raises(UserError, match=r"a\.jsonl has no row for 2 of 3 texts of the data"):
        load_probabilities(file, PLAIN, TASK, [Example("a"), Example("a "), Example("a", "b")])
