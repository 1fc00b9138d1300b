"""Distil a large text model into a small one that runs anywhere, and say honestly what that cost."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.errors import UserError
from distill.version import __version__

if TYPE_CHECKING:
    from distill.pipeline import Outcome
    from distill.runtime import Bundle, load

# Nothing calls home. Each is read once, when the library is imported. onnxruntime 1.32 contacts an outside host some
# seconds after its start, which disable_telemetry_events does not keep it from.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

__all__ = ["Bundle", "UserError", "__version__", "load", "run"]


def run(recipe: str | Path, overrides: Sequence[str] = ()) -> Outcome:
    """Runs a recipe, as ``distill run`` does: the report, the folder of the run, and where the bundle lies.

    ``recipe`` is a name that ``distill recipes`` lists, or the path of a YAML file; ``overrides`` are Hydra's, such as
    ``["student=lstm", "seeds=[0,1]"]``. Needs ``distill[train]``. Raises UserError for what a person can mend.

    >>> outcome = run("quickstart", ["student=lstm"])
    >>> outcome.report.exported_arm, outcome.bundle
    ('soft+transfer', PosixPath('exports/quickstart-student-lstm'))
    """
    from distill import pipeline
    from distill.config.compose import run_with_hydra

    outcomes: list[Outcome] = []
    run_with_hydra(str(recipe), list(overrides), [], lambda config: outcomes.append(pipeline.run(config)))
    return outcomes[0]


def __getattr__(name: str) -> Any:
    """The runtime is imported when it is first asked for: commands begin before, and can be stopped meanwhile."""
    if name in ("Bundle", "load"):
        from distill import runtime

        return getattr(runtime, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
