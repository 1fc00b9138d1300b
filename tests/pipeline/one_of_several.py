"""One process of a run, as a launcher starts it: ``python one_of_several.py HOW run RECIPE …``.

HOW: ``killed``: rank 1 is killed without a word in the middle of a training; ``refused``: it alone meets an error
there; ``whole``: nothing happens; ``told``: it says when it keeps a part of a teacher.
"""

import os
import signal
import sys
from typing import Any

from distill.cli import main
from distill.errors import UserError
from distill.training.devices import end_one_of_several

DIES_AT = 3


def die(how: str) -> None:
    from distill.training import loop

    add, taken = loop.add_gradients, []

    def add_and_die(*arguments: Any) -> Any:
        taken.append(1)
        if os.environ["RANK"] == "1" and len(taken) == DIES_AT:
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise UserError("rank 1 met an error of its own")
        return add(*arguments)

    loop.add_gradients = add_and_die


def tell_parts() -> None:
    from distill.training import sharded

    spread = sharded.spread

    def told(*given: Any) -> None:
        spread(*given)
        print(f"rank {os.environ['RANK']} has a part of a teacher", file=sys.stderr, flush=True)

    sharded.spread = told


if __name__ == "__main__":
    how, *words = sys.argv[1:]
    if how == "told":
        tell_parts()
    elif how != "whole":
        die(how)
    status = main(words)
    print(f"rank {os.environ['RANK']} ends with {status}", file=sys.stderr, flush=True)
    if status == 0:
        end_one_of_several(status)
    sys.exit(status)
