"""Several processes train as one does; one that dies ends the others."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import several_processes
import torch
from several_processes import run_all
from tiny_training import largest_difference, make_setting

from distill.text import Example
from distill.training import SoftLabelStore

HERE = Path(__file__).parent
SECONDS = 240


def _launch(folder: Path, processes: int, *words: str) -> subprocess.CompletedProcess[str]:
    # Without GPUs `accelerate launch` starts one process, whatever it is told; torch's own launcher does as it is told.
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    script = [str(HERE / "several_processes.py"), str(folder), *words]
    places = [str(HERE), str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [*launcher, "--nproc_per_node", str(processes), *script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with soft labels, and what one process makes of them."""
    folder = tmp_path_factory.mktemp("processes")
    setting = make_setting(33, 13, words=True)
    setting.store(folder / "store")
    texts = [Example(" ".join(e.text)) for e in setting.texts]
    generator = torch.Generator().manual_seed(0)
    vectors = [torch.randn(1, 7, generator=generator).numpy() for _ in texts]
    SoftLabelStore.write(folder / "vectors", texts, vectors)
    return folder, run_all(folder)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_train_as_one_does(alone: tuple[Path, dict[str, Any]], processes: int) -> None:
    folder, expected = alone
    launched = _launch(folder, processes)
    assert launched.returncode == 0, launched.stderr[-3000:]
    found = [torch.load(folder / f"{rank}.pt") for rank in range(processes)]
    for scene in several_processes.SCENES:
        name = scene.__name__
        for other in found:
            assert largest_difference(expected[name]["weights"], other[name]["weights"]) < 1e-5, name
            for one, two in zip(expected[name].get("curve", ()), other[name].get("curve", ()), strict=True):
                assert one == pytest.approx(two, rel=1e-5, nan_ok=True), name
            # decided once: the same in all, to the bit
            assert str(other[name].get("best")) == str(found[0][name].get("best"))
            assert largest_difference(found[0][name]["weights"], other[name]["weights"]) == 0
    assert not any(one["drawn_on"]["weights"]["losses"].any() for one in found)
    assert found[0]["decisions"]["best"] == (4, 0.5, 8)
    assert [one["stopped_and_gone_on"]["saves"] for one in found] == [[40], *[[]] * (processes - 1)]
    for name in expected:
        if "best" in expected[name]:
            assert found[0][name]["best"] == pytest.approx(expected[name]["best"], rel=1e-5, nan_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "word"),
    [
        ("killed", "SIGKILL"),
        ("fails", "rank 1 has no more memory"),
    ],
)
def test_a_process_that_dies_ends_the_others(alone: tuple[Path, dict[str, Any]], how: str, word: str) -> None:
    launched = _launch(alone[0], 2, how)  # raises TimeoutExpired where the others wait for ever
    assert launched.returncode != 0
    assert word in launched.stderr


ENDS = """
import atexit, os, sys
import torch.distributed
from distill import cli

atexit.register(os.abort)  # as a thread between processes may, while the interpreter is taken down

def meets(*given):
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    print("a last word", flush=True)
    return int(os.environ["STATUS"])

cli.main = meets
cli.run()
"""


@pytest.mark.parametrize("status", [0, 1])
def test_a_process_of_several_that_is_done_ends_with_its_status(status: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ENDS],
        env={**os.environ, "PYTHONPATH": str(HERE.parent.parent), "WORLD_SIZE": "2", "STATUS": str(status)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (ended.returncode, ended.stdout) == (status, "a last word\n"), ended.stderr
