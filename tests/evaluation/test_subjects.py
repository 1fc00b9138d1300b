"""What `distill evaluate` looks for in a table, where nobody names a column."""

import pytest

from distill.config.data import DataConfig
from distill.evaluation.subjects import usual_columns
from distill.runtime import Columns
from distill.stages.delivery import columns_of


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
