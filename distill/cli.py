"""The commands. ``predict`` and ``evaluate`` of a bundle need the base install alone; the others need ``[train]``."""

import errno
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from distill.arguments import make_parser, take_the_rest
from distill.errors import UserError
from distill.progress import speaks

TRAIN_PACKAGES = ("torch", "transformers", "hydra", "accelerate", "sklearn", "rich", "jinja2", "matplotlib", "onnx")
STOPPED = "stopped; run the same command again to go on"
OF_TORCH = {
    # Threads that wait in a busy loop make training many times slower where another program wants a core.
    "OMP_WAIT_POLICY": "passive",
    # Large tensors in huge pages, so that the kernel has fewer to clear in each step.
    "THP_MEM_ALLOC_ENABLE": "1",
    # Batches differ in shape, and oneDNN keeps memory for each of the last 1,024 shapes of a product, seldom to use it.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
}
"""What torch reads of the environment when it is imported, where a person has set nothing else."""
FAILED = 2
"""Exit status for bad input."""
INTERRUPTED = 130
"""Exit status after Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns 0 when what was asked for is there, 1 for a missed target, 2 for bad input."""
    prepare_process()
    parser = make_parser()
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    options, rest = parser.parse_known_args(given)
    for name, value in OF_TORCH.items():
        os.environ.setdefault(name, value)
    try:
        check_streams()
        take_the_rest(options, rest)
        status = int(options.function(options))
        sys.stdout.flush()  # what cannot be written must not end in success
        return status
    except UserError as error:
        if options.debug:
            traceback.print_exc()
        tell(f"error: {error}")
        return FAILED
    except ModuleNotFoundError as error:
        if options.debug or (error.name or "").split(".")[0] not in TRAIN_PACKAGES:
            raise
        tell(
            f"error: `distill {options.command}` needs the package {error.name}, which the base install leaves out; "
            "install distill[train]"
        )
        return FAILED
    except BrokenPipeError:  # the reader, such as head, has seen enough
        drop_output()
        return 0
    except OSError as error:
        if options.debug:
            traceback.print_exc()
        try:
            sys.stdout.flush()
        except OSError:
            drop_output()
        where = f" ({error.filename})" if error.filename else ""
        mend = "; free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        tell(f"error: {error.strerror or error}{where}{mend}")
        return FAILED
    except KeyboardInterrupt:
        tell(STOPPED)
        return INTERRUPTED


def run() -> NoReturn:
    """The command of this process, and its end."""
    status = main()
    if status < FAILED and "torch" in sys.modules and os.environ.get("WORLD_SIZE", "1") != "1":
        from distill.training.devices import end_one_of_several

        end_one_of_several(status)
    sys.exit(status)


def prepare_process() -> None:
    """What holds for every command: a character that stdout cannot show is replaced, and Ctrl-C ends with a message."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_default and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, stop)


def stop(number: int, frame: FrameType | None) -> None:
    """Ctrl-C. A C library that is being loaded has no place for an exception, and aborts; so the process ends here
    where a module is imported."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            if speaks():
                os.write(2, f"{STOPPED}\n".encode())  # print may be in the middle of a line
            os._exit(INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt


def check_streams() -> None:
    """Raises UserError where stdout is closed. What is said on a closed stderr is not said: print would take stdout."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:
        raise UserError("stdout is closed; leave it open, or send it to a file or to /dev/null")


def drop_output() -> None:
    """Drops what stdout did not take: else Python tries once more when it ends, and fails with a status of its own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell(message: str) -> None:
    """Says on stderr why the command ends; of several processes the first to end does."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        from distill.training.devices import is_first_to_tell

        if not is_first_to_tell():
            return
    print(message, file=sys.stderr, flush=True)
