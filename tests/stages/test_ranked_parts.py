"""What tells which of the teacher's parts matter."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from distill.config import LayersStudent
from distill.stages import importance
from distill.stages.students import TrainStudent
from distill.training.importance import Importance


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


@pytest.mark.parametrize(("kind", "layer"), [("bert", 1), ("modernbert", 0)])
def test_a_student_is_narrowed_by_what_matters_in_the_layers_that_it_has(
    kind: str, layer: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ModernBERT that is the first one, where others have the middle one."""
    units = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    Importance(units, units[:, :0], units[0, :0]).save(tmp_path / "importance.npz")
    ranked: list[Any] = []
    monkeypatch.setattr("distill.models.keep_units", lambda model, by, share: ranked.append((by, share)))
    student = LayersStudent("layers", count=1, spread="middle", feed_forward_share=0.5)
    stage: Any = SimpleNamespace(student=student, importance=SimpleNamespace(directory=tmp_path))
    TrainStudent.narrowed(stage, SimpleNamespace(config=SimpleNamespace(model_type=kind)))
    ((by, share),) = ranked
    assert (by.tolist(), share) == ([units[layer].tolist()], 0.5)
