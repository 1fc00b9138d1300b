"""Where a training runs: device, precision, threads, and the processes that share the work.

No torch is imported until a model is run, so that a run with nothing to do ends in seconds.
"""

import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from distill.errors import UserError
from distill.runtime.graphs import usable_cores

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator
    from torch import Tensor, nn

T = TypeVar("T")

NVIDIA_DEVICES = ("/dev/nvidiactl", "/dev/dxg")
"""One of them is there where torch may see a CUDA GPU; ``dxg`` is Windows' subsystem for Linux."""
CPU_INFO = Path("/proc/cpuinfo")
BF16_FLAGS = ("avx512_bf16", "amx_bf16")
WORTH_IT = 1.1
"""bf16 is taken on a CPU where a step takes at most 1 / 1.1 of the time; a smaller gain may be chance."""
PROBE_STEPS = 5
PROBE_SECONDS = 1.5
STORE_SECONDS = 10
LONGEST_WAIT = timedelta(hours=6)
"""Processes wait for each other this long before they give up: while one alone exports and measures, the others do.
One that dies is noticed at once, since its connections close."""


@dataclass(frozen=True)
class Machine:
    """Where everything is computed. With several processes each has one, equal but for the rank."""

    device: str
    """``cpu`` or ``cuda``"""
    precision: str
    """``fp32`` or ``bf16``: of matrix products; weights and losses are float32 always"""
    why: str
    """Why this precision, in words."""
    threads: int
    """Threads of torch in this process."""

    @cached_property
    def accelerator(self) -> "Accelerator":
        """Made when the first model needs it; then the processes have found each other."""
        return make_accelerator(self.device, self.precision, self.threads)

    @property
    def place(self) -> "torch.device":
        """As torch names it."""
        import torch

        device: torch.device = self.accelerator.device
        return device if self.device == "cuda" else torch.device("cpu")  # accelerate says cpu:1 of a second process

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        return int(os.environ.get("RANK", "0"))

    @property
    def processes(self) -> int:
        """How many share the work."""
        return processes_of_run()

    @property
    def is_main(self) -> bool:
        """Whether this is the process that decides and writes."""
        return self.rank == 0

    def autocast(self) -> Any:
        """The context that a model is run in."""
        return self.accelerator.autocast()

    def barrier(self) -> None:
        """Waits until every process is here."""
        if self.processes == 1:
            return
        self._together(self.accelerator.wait_for_everyone)

    def by_main(self, work: Callable[[], T]) -> T:
        """What ``work`` gives in the main process, for all; the others wait."""
        return self.decide(work() if self.is_main else cast(T, None))

    def main_first(self, work: Callable[[], T]) -> T:
        """What ``work`` gives in each process. The others begin when the main one is done, and find what it downloaded
        and refused."""
        if not self.is_main:
            self.barrier()
        found = work()
        if self.is_main:
            self.barrier()
        return found

    def total(self, one: "Tensor") -> "Tensor":
        """The sum over processes."""
        if self.processes == 1:
            return one
        import torch.distributed as distributed

        summed = one.to(self.place, copy=True)
        self._together(lambda: distributed.all_reduce(summed))
        return summed

    def decide(self, found: T) -> T:
        """What the main process found, for all."""
        if self.processes == 1:
            return found
        import torch.distributed as distributed

        self.accelerator  # noqa: B018 - the processes find each other
        decided: list[Any] = [found]
        self._together(lambda: distributed.broadcast_object_list(decided))
        return decided[0]  # type: ignore[no-any-return]

    def gathered(self, own: Sequence[T], count: int) -> list[T]:
        """The rows of all processes in order, where each computed rows rank, rank + processes, … of ``count``."""
        if self.processes == 1:
            return list(own)
        import torch.distributed as distributed

        self.accelerator  # noqa: B018 - the processes find each other
        parts: list[Any] = [None] * self.processes
        self._together(lambda: distributed.all_gather_object(parts, list(own)))
        return [parts[row % self.processes][row // self.processes] for row in range(count)]

    def start_alike(self, module: "nn.Module") -> None:
        """Gives all processes the main one's weights and buffers."""
        if self.processes == 1:
            return
        import torch.distributed as distributed

        for tensor in module.state_dict().values():
            self._together(partial(distributed.broadcast, tensor, 0))

    def sum_gradients(self, parameters: "Iterable[nn.Parameter]") -> None:
        """Adds up the gradients of all processes, once a step.

        This stands in place of DistributedDataParallel, which waits for a gradient of every parameter in every forward
        pass of every process: here a process may have no row in a step, another number of passes than its neighbour, or
        no label for a term with weights of its own.
        """
        if self.processes == 1:
            return
        import torch
        import torch.distributed as distributed

        trained = [p for p in parameters if p.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        has_one = torch.tensor([float(p.grad is not None) for p in trained], device=gradients[0].device)
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), has_one])
        self._together(lambda: distributed.all_reduce(flat))
        *summed, had_one = torch.split(flat, [*(p.numel() for p in trained), len(trained)])
        for parameter, part, had in zip(trained, summed, had_one.tolist(), strict=True):
            parameter.grad = part.view_as(parameter) if had else None  # AdamW leaves out what has none

    def _together(self, work: Callable[[], object]) -> None:
        """Raises UserError where another process is gone."""
        try:
            work()
        except RuntimeError as error:
            if self.processes == 1:
                raise
            raise self.lost() from error

    def lost(self) -> UserError:
        """What this process says where another one is gone."""
        return UserError(
            f"process {self.rank} of {self.processes} ends, as another one no longer answers; its own message, "
            "where it had time for one, says why (a process that is killed without a word has often used up the "
            "memory: lower train.tokens)"
        )


def find_machine(
    device: str = "auto", precision: str = "auto", threads: int | None = None, remembered: Path | None = None
) -> Machine:
    """``auto`` made definite. ``threads`` None: the cores this process may use, shared with the others of the run.

    What a probe of the processor found is kept in the file ``remembered``: the next run decides the same, and at once.
    Raises UserError for a GPU asked for that is not there.
    """
    own = threads or max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    no_gpu = sys.platform == "linux" and not any(Path(one).exists() for one in NVIDIA_DEVICES)
    found = "cpu" if device == "cpu" or (device == "auto" and no_gpu) else resolve_device(device)
    if precision != "auto":
        return Machine(found, precision, f"{precision}: as asked for", own)
    if found == "cuda":
        import torch

        has = torch.cuda.is_bf16_supported()
        why = "bf16: this GPU computes in it" if has else "fp32: this GPU does not compute in bf16"
        return Machine(found, "bf16" if has else "fp32", why, own)
    if not has_bf16():
        return Machine(found, "fp32", "fp32: this processor has neither avx512_bf16 nor AMX", own)
    plain = Machine(found, "fp32", "", own)
    chosen, why = plain.by_main(lambda: probed_once(own, remembered))
    return replace(plain, precision=chosen, why=why)


def processes_of_run() -> int:
    """How many its launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_to_tell() -> bool:
    """Whether this process is the first of the run that ends and says why: one message is enough, as an error of one is
    met by all, or ends the others.

    The launcher keeps count, in the store where its processes find each other.
    """
    if processes_of_run() == 1:
        return True
    import torch.distributed as distributed

    address, port = os.environ.get("MASTER_ADDR", "localhost"), int(os.environ.get("MASTER_PORT", "29500"))
    try:
        store: Any = distributed.TCPStore(  # type: ignore[attr-defined]
            address, port, is_master=False, timeout=timedelta(seconds=STORE_SECONDS)
        )
        return bool(store.add(f"said why, start {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", 1) == 1)
    except RuntimeError:  # the main process kept it and is gone
        return True


def end_one_of_several(status: int) -> None:
    """Ends this process, where it and others have found each other and its work is done.

    A thread between processes that is still there while the interpreter is taken down may abort it
    (https://github.com/pytorch/pytorch/pull/179291), and a launcher takes that for a failure of all. Where a model was
    sharded, such threads outlive their group (torch 2.13), so the interpreter is not taken down.
    """
    import torch.distributed as distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()
        sys.stderr.flush()
        os._exit(status)


def resolve_device(device: str) -> str:
    """``cpu`` or ``cuda``. Raises UserError for a GPU asked for that is not there."""
    import torch

    has_cuda = device != "cpu" and torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise UserError("device=cuda was asked for, but torch sees no CUDA GPU; leave device=auto to use the CPU")
    return "cuda" if has_cuda else "cpu"


def make_accelerator(device: str, precision: str, threads: int | None) -> "Accelerator":
    """The accelerator for ``device`` (cpu or cuda) and ``precision`` (fp32 or bf16)."""
    import torch
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import InitProcessGroupKwargs

    if threads is not None:
        torch.set_num_threads(threads)
    AcceleratorState._reset_state()  # one process may run in one precision after the other (--multirun)
    return Accelerator(
        cpu=device == "cpu",
        mixed_precision="bf16" if precision == "bf16" else "no",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=LONGEST_WAIT)],
    )


def has_bf16() -> bool:
    """Whether this processor multiplies matrices in bf16."""
    try:
        words = set(CPU_INFO.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        import torch

        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return any(flag in words for flag in BF16_FLAGS)


def probed_once(threads: int, remembered: Path | None) -> tuple[str, str]:
    """The precision, and why: by a probe, or as one found before on such a processor with as many threads."""
    names = re.findall(
        r"^model name\s*:\s*(.*)$", CPU_INFO.read_text(errors="replace") if CPU_INFO.is_file() else "", re.M
    )
    key = f"{names[0] if names else 'unknown processor'}, {threads} threads"
    known: dict[str, list[str]] = {}
    if remembered is not None and remembered.is_file():
        try:
            known = json.loads(remembered.read_text(encoding="utf-8"))
        except ValueError:  # written half: probed again
            known = {}
    if key not in known:
        known[key] = list(choose_precision(*probe(threads)))
        if remembered is not None:
            remembered.parent.mkdir(parents=True, exist_ok=True)
            remembered.write_text(json.dumps(known, indent=1), encoding="utf-8")
    precision, why = known[key]
    return precision, why


def choose_precision(fp32: Sequence[float], bf16: Sequence[float]) -> tuple[str, str]:
    """The precision, and why, from seconds of steps in each."""
    ratio = statistics.median(fp32) / statistics.median(bf16)
    probed = f"in a probe of {len(bf16)} step{'s' * (len(bf16) > 1)}"
    if ratio >= WORTH_IT:
        return "bf16", f"bf16: {ratio:.1f} times faster than fp32 {probed}"
    return "fp32", f"fp32: bf16 took {1 / ratio:.2f} of its time {probed}"


def probe(threads: int) -> tuple[list[float], list[float]]:
    """Seconds of training steps in fp32 and in bf16, taken in turn: two layers of 384, 32 texts of 16 tokens.

    A second or two. Random numbers of the process stay as they are.
    """
    import torch

    torch.set_num_threads(threads)
    with torch.random.fork_rng(devices=[]):
        layer = torch.nn.TransformerEncoderLayer(384, 6, 1536, dropout=0.0, batch_first=True)
        model, texts = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), torch.randn(32, 16, 384)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    started = time.perf_counter()
    for step in range(PROBE_STEPS + 1):
        for low in (False, True):
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                loss = model(texts).float().square().mean()
            loss.backward()
            if step:  # the first warms up
                seconds[low].append(time.perf_counter() - start)
        if step and time.perf_counter() - started > PROBE_SECONDS:
            break
    return seconds[False], seconds[True]
