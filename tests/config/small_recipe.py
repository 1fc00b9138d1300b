"""The fewest values that are a recipe."""

from typing import Any


def small_recipe(**changes: Any) -> dict[str, Any]:
    """Them, with ``changes``."""
    return {
        "name": "small",
        "recipe": "small",
        "data": {"train": {"path": "x.csv"}},
        "teacher": {"name": "pretrained", "source": {"path": "folder"}},
        "student": {"name": "recurrent"},
        **changes,
    }
