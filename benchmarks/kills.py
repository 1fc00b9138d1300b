"""A run that is killed at random moments and started again comes to the same end.

`python benchmarks/kills.py [--kills 50] [--seed 0] [--out FOLDER]`. Miniatures of whole runs, one that answers and one
that writes: first undisturbed, then again and again from nothing, each time killed (SIGKILL to all its processes) and
started again until it ends by itself. A kill comes

- at a random moment of a random one of the next stages (``stage``),
- right before a random one of the next changes of files: opened to write, renamed, removed (``write``),
- in the middle of a file, at a random byte (``half``: the system's SIGXFSZ, as a limit of file sizes stops it), or
- right before a random change of the bundle (``bundle``).

After each kill the bundle, where there is one, must be whole and answer; once there is one, it is always there, as the
next round writes its own in its place. At the end of a round `report.json` without times, every number behind it, the
student's weights and the files of the bundle must be those of the undisturbed run, to the bit.

What a run does every minute (labels and states that are kept) is done all the time here. The processes are forked from
one that has imported everything, so that most of their time is spent on what a kill can hurt.
"""

import argparse
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORDS = {
    "fresh": ["gorgeous", "witty", "moving", "clever", "tender", "brilliant"],
    "rotten": ["dull", "clumsy", "tedious", "shallow", "noisy", "bland"],
}
THINGS = ["film", "story", "script", "cast", "ending", "comedy", "drama", "scene"]
LITTLE = "{layers: 2, hidden_size: 32, heads: 2, intermediate_size: 64}"
COMMON = [
    "data=files",
    "teacher=transformer",
    f"teacher.architecture={LITTLE}",
    "tokenizer.vocabulary_size=300",
    "data.max_length=24",
    "teacher.train.steps=12",
    "teacher.train.evaluations=2",
    "teacher.train.learning_rates=[3e-3]",
    "teacher.train.checkpoint_seconds=0",
    "teacher.tries=1",
    "teacher_floor=false",
    "train.steps=8",
    "train.evaluations=2",
    "train.learning_rates=[3e-3]",
    "train.checkpoint_seconds=0",
    "seeds=[0]",
    "measure.seconds=0.05",
    "export.max_drop=100",
    "export.min_agreement=0",
    "threads=1",
    "device=cpu",
    "precision=fp32",
    "name=run",
]
RUNS = {
    "text-classification": [
        "quickstart",
        "data.train.path=reviews.jsonl",
        "data.labelled=120",
        "data.transfer_limit=100",
        "student=layers",
        "student.count=1",
        "arms=[linear,hard,soft+transfer]",
    ],
    "text-to-text": [
        "multi30k",
        "data.train.path=sentences.jsonl",
        "data.text=text",
        "data.label=target",
        "data.test_share=0.2",
        "data.validation_share=0.2",
        "student=encoder_decoder",
        f"student.architecture={LITTLE}",
        "arms=[hard,soft,sequence]",
    ],
}
HOW = {"stage": 3, "write": 3, "half": 3, "bundle": 1}
"""How often each kind is drawn: one of the bundle comes when nearly everything else is done."""
LIBRARIES = (
    "accelerate",
    "datasets",
    "hydra",
    "matplotlib.pyplot",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "rich.console",
    "sacrebleu",
    "sklearn.feature_extraction.text",
    "sklearn.linear_model",
    "torch",
    "transformers",
)
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "shutil.copyfile")
"""Audit events that stand for a change of files, besides that of opening one to write."""
OF_TIME = {"seconds", "energy", "measurement", "created", "cached", "costs"}
"""Fields of a report that no two runs have alike."""
AHEAD = 4
"""A kill comes in one of so many stages from the start on, or within the first of so many parts of all changes."""
MOST_BYTES = 4000
"""A file is cut off at one of its first so many bytes."""
LONGEST = 600.0
"""Seconds after which a run hangs."""


def write_texts(folder: Path) -> None:
    """Reviews with a label, and with what a text-to-text model makes of them."""
    generator = random.Random(0)
    reviews, sentences = [], []
    for number in range(400):
        label = generator.choice(sorted(WORDS))
        first, second = generator.sample(WORDS[label], 2)
        text = f"the {generator.choice(THINGS)} is {first} , {second} and number {number}"
        reviews.append({"text": text, "label": label})
        sentences.append({"text": text, "target": f"{label} : {second} {first}"})
    for name, rows in (("reviews", reviews), ("sentences", sentences[:200])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@dataclass(frozen=True)
class Change:
    """A change of files that a process is about to make."""

    event: str
    path: str

    @property
    def of_bundle(self) -> bool:
        """Whether it is one of the bundle's."""
        return "exports" in Path(self.path).parts


def change_of(event: str, arguments: Sequence[Any]) -> Change | None:
    """The change of files that an audit event announces; None where it announces none."""
    if not arguments or not isinstance(arguments[0], str | os.PathLike):
        return None
    path = os.path.abspath(arguments[0])
    if event == "open":
        _, mode, flags = arguments
        writes = any(letter in mode for letter in "wax+") if mode else flags & (os.O_WRONLY | os.O_RDWR)
        return Change(event, path) if writes else None
    return Change(event, path) if event in CHANGES else None


@dataclass(frozen=True)
class Fate:
    """What a process meets by itself."""

    change: int = 0
    """The number of the change that it halts before, to be killed; 0: none."""
    of_bundle: bool = False
    """Changes of the bundle alone are counted."""
    bytes: int | None = None
    """In place of halting, from there on the system kills it as soon as it writes more than so many into a file."""


class Life:
    """One process of the run, from its start to its end or its death. What it says comes line by line: its progress,
    and a line with a blank before it for each change that it is about to make."""

    def __init__(self, folder: Path, words: Sequence[str], fate: Fate | None = None) -> None:
        heard, told = os.pipe()
        gc.freeze()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(heard)
            self._live(folder, words, told, fate or Fate())
        os.close(told)
        self.heard = heard
        self.rest = b""
        self.status: int | None = None

    def _live(self, folder: Path, words: Sequence[str], told: int, fate: Fate) -> None:
        status = 1
        try:
            os.setsid()
            os.chdir(folder)
            os.dup2(told, 2)
            os.dup2(os.open("printed.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
            for line, stream in ((1, "stdout"), (2, "stderr")):
                setattr(sys, stream, io.TextIOWrapper(os.fdopen(line, "wb", 0, closefd=False), write_through=True))
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python would raise an error
            keep_all_the_time()
            root, seen = str(folder), 0

            def tell(event: str, arguments: tuple[Any, ...]) -> None:
                nonlocal seen
                change = change_of(event, arguments)
                if change is None or not change.path.startswith(root):
                    return
                os.write(told, f" {change.event} {change.path}\n".encode())
                seen += change.of_bundle or not fate.of_bundle
                if seen == fate.change and fate.bytes is None:
                    time.sleep(LONGEST)  # until it is killed
                elif seen == fate.change:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (fate.bytes, fate.bytes))

            sys.addaudithook(tell)
            from distill.cli import main

            status = main(["run", *words])
        finally:
            os._exit(status)

    def lines(self) -> Iterator[tuple[str, Change | None]]:
        """What it says, until it ends."""
        deadline = time.monotonic() + LONGEST
        while chunk := os.read(self.heard, 1 << 16):
            *lines, self.rest = (self.rest + chunk).split(b"\n")
            for line in lines:
                text = line.decode(errors="replace")
                event, _, path = text[1:].partition(" ")
                yield text, Change(event, path) if text.startswith(" ") else None
            if time.monotonic() > deadline:
                self.kill()
                raise SystemExit("the run hangs")

    def kill(self) -> bool:
        """Kills all its processes. False where it had ended by itself."""
        os.killpg(self.pid, signal.SIGKILL)
        return self.end() in (-signal.SIGKILL, -signal.SIGXFSZ)

    def end(self) -> int:
        """How it ended: its exit status, or a signal with a minus."""
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self.heard)
        return self.status


def keep_all_the_time() -> None:
    """What is kept from time to time, so that a run need not begin again, is kept at once and in small parts; what
    takes long and leaves nothing that a kill could hurt is cut short."""
    from distill.measure import launch
    from distill.report import plots, tradeoffs
    from distill.stages import costs
    from distill.stages import signal as labelling
    from distill.training import state

    costs.RECORD_SECONDS, labelling.TOGETHER, state.ANSWERS_SECONDS = 0.05, 16, -1.0
    labelling.SHARD = 64
    launch._work = measured_here
    for module in (plots, tradeoffs):
        module.as_svg = lambda canvas, title: "<svg></svg>"


def measured_here(specification: Any) -> str:
    """What measures a variant runs in this process, not in one of its own that imports everything again."""
    from distill.measure import worker
    from distill.results import to_json

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "specification.json"
        path.write_text(to_json(specification), encoding="utf-8")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            worker.main([str(path)])
    return printed.getvalue().strip().rpartition("\n")[2]


@dataclass(frozen=True)
class Whole:
    """What an undisturbed run did and left."""

    stages: dict[str, float]
    """Seconds of each, in order."""
    changes: int
    of_bundle: int
    left: dict[str, Any]


def is_stage(line: str) -> bool:
    """Whether a line of progress is the name of a stage that begins."""
    return bool(line) and not re.match(r" |warning:|nothing has changed|.*: \d+(/\d+)?(,| in |$)", line)


def undisturbed(folder: Path, words: Sequence[str]) -> Whole:
    """Runs to the end. Raises SystemExit where the run fails."""
    life = Life(folder, words)
    began: list[tuple[str, float]] = []
    made: list[Change] = []
    said = []
    for line, change in life.lines():
        if change is not None:
            made.append(change)
        elif is_stage(line):
            began.append((line, time.monotonic()))
        said.append(line)
    if life.end() != 0:
        raise SystemExit("the undisturbed run failed:\n" + "\n".join(one for one in said if one[:1] != " "))
    ends = [*(start for _, start in began[1:]), time.monotonic()]
    stages = {name: end - start for (name, start), end in zip(began, ends, strict=True)}
    return Whole(stages, len(made), sum(change.of_bundle for change in made), left_by(folder))


def left_by(folder: Path) -> dict[str, Any]:
    """Everything that a run computed: the report without times, and digests of files."""
    import hashlib

    import numpy as np

    run, bundle = folder / "outputs/run", folder / "exports/run"
    with np.load(run / "test-statistics.npz") as stored:
        statistics = {name: stored[name].tobytes().hex() for name in stored}
    files = [*run.glob("student/*.safetensors"), *bundle.glob("onnx/*"), bundle / "tokenizer.json"]
    return {
        "report": without_times(json.loads((run / "report.json").read_text(encoding="utf-8"))),
        "statistics": statistics,
        "files": {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
    }


def without_times(value: Any) -> Any:
    """The same report without what no two runs have alike."""
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if key not in OF_TIME}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Paths to all that differs."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted({*one, *other})
        return [found for key in keys for found in differences(one.get(key), other.get(key), f"{where}/{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [d for i, both in enumerate(zip(one, other, strict=True)) for d in differences(*both, f"{where}/{i}")]
    return [] if one == other else [f"{where}: {str(one)[:60]} and {str(other)[:60]}"]


def live_and_be_killed(folder: Path, words: Sequence[str], whole: Whole, how: str, chance: random.Random) -> str | None:
    """Starts the run and kills it. Returns what it was at; None where it ended before that.

    Raises SystemExit where it ended with an error.
    """
    some = max(1, whole.changes // AHEAD)
    number = chance.randint(1, {"stage": AHEAD, "bundle": whole.of_bundle}.get(how, some))
    bytes_of_a_file = chance.randint(0, MOST_BYTES) if how == "half" else None
    life = Life(folder, words, None if how == "stage" else Fate(number, how == "bundle", bytes_of_a_file))
    at, said, seen = "start", [], 0
    for line, change in life.lines():
        if change is None:
            said.append(line)
        if is_stage(line) or how != "stage":
            at = line if change is None else f"{change.event} {change.path.removeprefix(str(folder))}"
        if how == "stage":
            seen += is_stage(line)
        else:
            seen += change is not None and (change.of_bundle or how != "bundle")
        if seen == number and how != "half":
            time.sleep(chance.uniform(0, whole.stages.get(line, 0.0)))
            break
    if life.kill():
        return at
    if life.end() != 0:
        raise SystemExit("the run that went on failed:\n" + "\n".join(said))
    return None


def check_bundle(folder: Path, must_be_there: bool) -> None:
    """Opens every variant of the bundle and asks it a question. Raises SystemExit for half of one, and for none where
    there must be one."""
    from distill import UserError, load
    from distill.runtime import read_manifest

    bundle = folder / "exports/run"
    if not bundle.exists() and not must_be_there:
        return
    try:
        for variant in read_manifest(bundle).graphs:
            load(bundle, variant, threads=1)(["the film is witty"])
    except UserError as error:
        raise SystemExit(f"half a bundle: {error}") from error


def rounds(
    folder: Path, words: Sequence[str], kills: int, chance: random.Random, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Kills the run so many times, from nothing again whenever it came to its end. Gives counts.

    Raises SystemExit where a bundle is not whole, or an end is another than that of the undisturbed run.
    """
    whole = undisturbed(folder, words)
    seconds = sum(whole.stages.values())
    tell(f"undisturbed: {len(whole.stages)} stages, {seconds:.0f} s, {whole.changes} changes of files")
    for left in ("exports", "outputs"):
        shutil.rmtree(folder / left)
    killed: Counter[str] = Counter()
    died_in: Counter[str] = Counter()
    ended = 0
    while killed.total() < kills or ended == 0 or (folder / "outputs").exists():
        how = chance.choices(list(HOW), HOW.values())[0] if killed.total() < kills else "none"
        at = None
        if how == "none":
            life = Life(folder, words)
            said = [line for line, change in life.lines() if change is None]
            if life.end() != 0:
                raise SystemExit("the run that went on failed:\n" + "\n".join(said))
        else:
            at = live_and_be_killed(folder, words, whole, how, chance)
        check_bundle(folder, must_be_there=ended > 0 or at is None)
        if at is not None:
            killed[how] += 1
            died_in[at] += 1
            tell(f"kill {killed.total()} ({how}): {at}")
            continue
        if differ := differences(whole.left, left_by(folder)):
            raise SystemExit("another end than that of the undisturbed run:\n" + "\n".join(differ))
        ended += 1
        tell(f"end {ended}: as the undisturbed run, to the bit")
        shutil.rmtree(folder / "outputs")
    return {"kills": dict(killed), "ends": ended, "stages": list(whole.stages), "died_in": dict(died_in)}


def import_everything() -> None:
    """What a run imports, before it is forked, and what it finds out of its own source."""
    for name in LIBRARIES:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(importlib.import_module("distill").__path__, "distill."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    stage = importlib.import_module("distill.stages.stage")
    for file in stage.PACKAGE.rglob("*.py"):
        stage.file_fingerprint(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="of all runs together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--out", type=Path, help="folder for result.json, such as benchmarks/results/kills")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    import_everything()
    found = {}
    for number, name in enumerate(options.runs):
        kills = options.kills // len(options.runs) + (number < options.kills % len(options.runs))
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place).resolve()
            write_texts(folder)
            words, *more = RUNS[name]
            chance = random.Random(f"{options.seed} {name}")
            print(f"{name}:", flush=True)
            found[name] = rounds(
                folder, [words, *COMMON, *more], kills, chance, lambda line: print(f"  {line}", flush=True)
            )
    total = Counter(how for one in found.values() for how, count in one["kills"].items() for _ in range(count))
    ends = sum(one["ends"] for one in found.values())
    by_kind = ", ".join(f"{how} {count}" for how, count in total.items())
    print(f"{total.total()} kills ({by_kind}), {ends} ends, all alike")
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        content = {"seed": options.seed, "runs": found}
        (options.out / "result.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
