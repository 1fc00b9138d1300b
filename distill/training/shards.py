"""Work in shards, for processes that share a folder and know nothing else of each other.

A shard is claimed by making its file and locking it. Who finds it locked goes on to the next one; nobody waits while
there is a free one. The lock of a process that dies is the system's to release, and then another process takes the
shard over. Where a file system has no locks, two processes may do one shard, and the second result, which is the same,
takes the place of the first.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path


def work_off(folder: Path, shards: list[str], compute: Callable[[str], None], first: int, wait: bool) -> None:
    """Computes all shards that no one else does, from the ``first`` on; with ``wait``, afterwards those that someone
    else claimed and did not finish.

    ``compute`` leaves the result of a shard in ``folder`` under its name, by a rename. Nothing is left to do where the
    folder is gone: it is removed when every result in it has been used.
    """
    for waiting in (False, True) if wait else (False,):
        for shard in shards[first:] + shards[:first]:
            if (folder / shard).exists():
                continue
            with claimed(folder / f"{shard}.claim", waiting) as mine:
                if mine and not (folder / shard).exists():
                    compute(shard)


@contextlib.contextmanager
def claimed(file: Path, wait: bool) -> Iterator[bool]:
    """Whether the file is locked by this process and no other; with ``wait``, as soon as it is. False where the folder
    is gone."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
    except FileNotFoundError:
        yield False
        return
    try:
        yield lock(descriptor, wait) and file.exists()
    finally:
        os.close(descriptor)


def lock(descriptor: int, wait: bool) -> bool:
    """Locks an open file or folder until it is closed, also by the end of the process. False where another process has
    the lock; True also where the system or the file system has no locks."""
    try:
        import fcntl
    except ImportError:  # not a Unix
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        pass
    return True
