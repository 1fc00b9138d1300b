"""What tells which of the teacher's parts matter."""

from types import SimpleNamespace
from typing import Any

import pytest

from distill.config import LayersStudent
from distill.stages import importance


@pytest.mark.parametrize(("label", "told_by"), [("label", None), (None, "answers")])
def test_where_texts_have_no_labels_it_is_what_the_teacher_says(
    label: str | None, told_by: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importance, "tokens_of", lambda this, texts, part: part)
    config = SimpleNamespace(student=LayersStudent("layers", feed_forward_share=0.5), data=SimpleNamespace(label=label))
    this: Any = SimpleNamespace(config=config, artifacts=SimpleNamespace(get=lambda stage: stage))
    texts: Any = SimpleNamespace(dataset=SimpleNamespace(part=lambda split: split), reading=None, task=None)
    signal: Any = SimpleNamespace(teacher=SimpleNamespace(model="teacher"), answers="answers")
    stage: Any = importance.rank_parts(this, texts, signal)
    assert (stage.teacher, stage.texts, stage.signal) == ("teacher", "train", told_by)
