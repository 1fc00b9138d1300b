"""What is perhaps wrong with the data is told before anything is trained."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from distill.config import build_config
from distill.stages.texts import read_data


def test_labels_that_look_alike_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": f"text {i}", "label": ("Tea", "tea ", "TEA", "cake")[i % 4]} for i in range(80)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = build_config(
        {
            "name": "small",
            "recipe": "small",
            "data": {"train": {"path": str(tmp_path / "a.jsonl")}},
            "teacher": {"name": "pretrained", "source": {"path": "folder"}},
            "student": {"name": "recurrent"},
            "arms": ["linear", "hard", "soft"],
        }
    )
    this: Any = SimpleNamespace(config=config, machine=SimpleNamespace(main_first=lambda read: read()))
    (warning,) = read_data(this).warnings
    assert "the labels 'TEA' and 'Tea' and 'tea' differ in case" in warning
    assert f"warning: {warning}" in capsys.readouterr().err
