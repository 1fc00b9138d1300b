"""Bundles that someone made on purpose: each answers or is refused, and none crashes, hangs or takes gigabytes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_every_mutation_of_a_bundle_answers_or_is_refused() -> None:
    """``HOSTILE_MUTATIONS=2000`` in the environment tries more."""
    program = Path(__file__).with_name("hostile_bundles.py")
    command = [sys.executable, str(program), os.environ.get("HOSTILE_MUTATIONS", "300"), "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(line.split()[::-1] for line in done.stdout.splitlines() if len(line.split()) == 2)
    assert set(counts) == {"answered", "refused"}
    assert all(int(count) > 10 for count in counts.values())
