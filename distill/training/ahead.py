"""Work done ahead on another thread."""

import threading
from collections.abc import Generator, Iterable
from queue import Empty, Full, Queue
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 0.1
"""Seconds after which the thread looks whether anyone still wants its work."""


def ahead(items: Iterable[T], depth: int = 4) -> Generator[T, None, None]:
    """The same items in the same order, made on another thread, at most ``depth`` of them before they are asked for.

    What the making raises is raised here, in its place. The thread ends with the generator: close it where it is not
    used up (``contextlib.closing``).
    """
    queue: Queue[tuple[str, T | BaseException | None]] = Queue(depth)
    unwanted = threading.Event()

    def put(kind: str, value: T | BaseException | None) -> bool:
        while not unwanted.is_set():
            try:
                queue.put((kind, value), timeout=PATIENCE)
                return True
            except Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put("item", item):
                    return
            put("end", None)
        except BaseException as error:
            put("error", error)

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = queue.get()
            if kind == "end":
                return
            if kind == "error":
                assert isinstance(value, BaseException)
                raise value
            yield value  # type: ignore[misc]
    finally:
        unwanted.set()
        while True:  # wakes a thread that waits for room
            try:
                queue.get_nowait()
            except Empty:
                break
        thread.join()
