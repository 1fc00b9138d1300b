"""Processes that share nothing but a folder divide its shards among them, and take over those of one that died."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from distill.training.shards import claimed, work_off

NAMES = [f"{i:02}" for i in range(12)]
WORKER = """
import os, sys, time
from pathlib import Path
from distill.training.shards import work_off

folder, dies_at, first, wait = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] == "wait"

def compute(shard):
    with (folder / "log").open("a") as log:
        log.write(f"{shard} {os.getpid()}\\n")
    if shard == dies_at:
        time.sleep(100)
    time.sleep(0.05)
    aside = folder / f"{shard}.{os.getpid()}"
    aside.write_text(shard)
    aside.rename(folder / shard)

work_off(folder, [f"{i:02}" for i in range(12)], compute, first, wait)
"""


def start(folder: Path, dies_at: str = "", first: int = 0, wait: bool = True) -> "subprocess.Popen[bytes]":
    words = [str(folder), dies_at, str(first), "wait" if wait else ""]
    return subprocess.Popen([sys.executable, "-c", WORKER, *words])


def log_of(folder: Path) -> list[tuple[str, str]]:
    lines = (folder / "log").read_text().splitlines() if (folder / "log").exists() else []
    return [(shard, pid) for shard, pid in map(str.split, lines)]


def until(found: object, seconds: float = 30) -> None:
    assert callable(found)
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_each_shard_is_computed_once_by_any_number_of_processes(tmp_path: Path) -> None:
    workers = [start(tmp_path, first=4 * i) for i in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert sorted(shard for shard, _ in log_of(tmp_path)) == NAMES
    assert [(tmp_path / name).read_text() for name in NAMES] == NAMES


def test_nobody_waits_for_one_that_is_slow_and_what_it_leaves_is_taken_over(tmp_path: Path) -> None:
    slow = start(tmp_path, dies_at="03")
    until(lambda: ("03", str(slow.pid)) in log_of(tmp_path))
    helper = start(tmp_path, wait=False)
    assert helper.wait(60) == 0  # it did all the others and went, while the first still sits at its shard
    assert [name for name in NAMES if not (tmp_path / name).exists()] == ["03"]
    main = start(tmp_path)  # waits for that one shard
    time.sleep(0.5)
    assert main.poll() is None
    os.kill(slow.pid, signal.SIGKILL)
    slow.wait()
    assert main.wait(60) == 0
    assert [(tmp_path / name).read_text() for name in NAMES] == NAMES
    assert Counter(shard for shard, _ in log_of(tmp_path)) == Counter([*NAMES, "03"])


def test_nothing_is_left_to_do_in_a_folder_that_is_gone(tmp_path: Path) -> None:
    work_off(tmp_path / "gone", NAMES, lambda shard: pytest.fail(shard), 0, wait=True)
    assert not (tmp_path / "gone").exists()
    with claimed(tmp_path / "gone" / "x.claim", wait=True) as mine:
        assert not mine


def test_a_shard_is_claimed_by_one_and_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with claimed(tmp_path / "a.claim", wait=False) as mine, claimed(tmp_path / "a.claim", wait=False) as again:
            assert (mine, again) == (True, False)
