"""The state a training can go on from after a crash."""

import os
from pathlib import Path
from typing import Any

import torch


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes tensors, numbers and strings under another name and renames."""
    aside = path.with_name(f".{path.name}.tmp")
    torch.save(state, aside)
    os.replace(aside, path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state, or None where there is none. Tensors only: nothing in the file is executed."""
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
