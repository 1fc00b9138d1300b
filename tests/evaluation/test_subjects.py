"""What `distill evaluate` looks for in a table, where nobody names a column."""

from pathlib import Path
from typing import Any

import pytest
from tiny_teachers import teacher_in

from distill.config.data import DataConfig
from distill.evaluation.subjects import teacher_subject, usual_columns
from distill.models import answers, writing
from distill.runtime import ALONE, Columns
from distill.stages.delivery import columns_of
from distill.text import Example
from distill.text.example import Target


@pytest.mark.parametrize(
    ("task", "columns"),
    [
        ("question-answering", Columns("question", "context", "answers")),
        ("text-to-text", Columns("source", None, "target")),
        ("text-classification", Columns("text", None, "label")),
        ("language-modelling", Columns()),
        ("registered-elsewhere", Columns()),
    ],
)
def test_a_teacher_is_asked_about_the_columns_of_its_task(task: str, columns: Columns) -> None:
    assert usual_columns(task) == columns


def test_a_bundle_keeps_all_that_says_how_its_data_is_read() -> None:
    data = DataConfig(text="a", pair="b", label="c", label_map={"0": "no"}, drop_labels=("?",), group="film")
    assert columns_of(data) == Columns("a", "b", "c", {"0": "no"}, ("?",))
    assert columns_of(DataConfig(label=None)) == Columns()


@pytest.mark.parametrize(("fault", "tokens"), [("", writing.TOKENS), ("it answers otherwise where padded", ALONE)])
def test_a_teacher_that_does_not_bear_padding_is_asked_for_one_text_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, tokens: int
) -> None:
    examples = [Example("zwei hunde spielen", label=Target("two dogs play")), Example("ja", label=Target("yes"))]
    asked: list[Any] = []
    monkeypatch.setattr(answers, "fault_of_padding", lambda *given: asked.append(given) or fault)
    monkeypatch.setattr(
        writing, "write_texts", lambda model, reading, texts, tokens: asked.append(tokens) or [""] * len(texts)
    )
    _, answer, _ = teacher_subject(teacher_in(tmp_path, "t5", [e.text for e in examples]))
    assert len(answer(examples)) == 2
    (_, _, task, encoded), given = asked
    assert given == tokens
    assert task.predicts_tokens
    assert len(encoded) == 2
