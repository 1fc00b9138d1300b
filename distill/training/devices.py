"""The device, precision and threads that a run computes with."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Machine:
    """What computes. torch is imported when the first model needs it."""

    device: str
    precision: str
    threads: int

    @cached_property
    def accelerator(self) -> Any:
        """Made when the first model needs it."""
        from distill.training.loop import make_accelerator

        return make_accelerator(self.device, self.precision, self.threads)

    @property
    def is_main(self) -> bool:
        """Whether this process decides and writes."""
        return True

    def agree(self, answer: bool) -> bool:
        """What the main process answers, in every process."""
        return answer

    def barrier(self) -> None:
        """Waits for the other processes."""
