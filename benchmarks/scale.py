"""Seconds and memory over the number of texts.

`python benchmarks/scale.py [--texts 10000 100000 1000000] [--out FOLDER]`. Made-up texts of 20 words on average, 2,000
of them labelled, go through the first stages of a run with a tiny teacher and a tiny student (in-repo transformers of
one layer x 32, one thread, fp32). Each stage has a process of its own, which finds what the stages before it left. Its
peak is that of the whole process: the data set, which every stage holds, and the libraries are part of it.
``resident`` is the most that the kernel counted (VmHWM), pages of memory-mapped files included; ``anonymous`` is what
cannot be given back (RssAnon, looked at 50 times a second).
"""

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from distill.config import Config
from distill.config.compose import run_with_hydra

T = TypeVar("T")

STAGES = ("reading", "data set", "tokenizer", "encoding", "labelling", "training")
STEPS, BATCH = 100, 32
TRAININGS = 6
"""Of two arms and three seeds."""
LITTLE = "{layers: 1, hidden_size: 32, heads: 2, intermediate_size: 64}"
OVERRIDES = [
    "data=files",
    "data.labelled=2000",
    "data.transfer_limit=null",
    "teacher=transformer",
    f"teacher.architecture={LITTLE}",
    "tokenizer.vocabulary_size=8000",
    "teacher.train.steps=20",
    "teacher.train.evaluations=1",
    "teacher.train.learning_rates=[1e-3]",
    "teacher.tries=1",
    "teacher_floor=false",
    "student=transformer",
    f"student.architecture={LITTLE}",
    "student.vocabulary.trim=false",
    f"train.steps={STEPS}",
    f"train.batch_size={BATCH}",
    "train.evaluations=1",
    "train.learning_rates=[1e-3]",
    "arms=[hard,soft+transfer]",
    "seeds=[0,1,2]",
    "threads=1",
    "device=cpu",
    "precision=fp32",
    "name=scale",
]


def write_texts(path: Path, count: int, seed: int = 0) -> None:
    """Texts of 10 to 30 words, as frequent as words are (Zipf), with a label that one of them mostly tells."""
    random = np.random.default_rng(seed)
    words = np.array([f"{a}{b}{c}" for a in "bdfgklmnprst" for b in ("a", "e", "io", "u") for c in DISTINCT])
    chance = 1 / np.arange(1, len(words) + 1)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for first in range(0, count, 10_000):
            lengths = random.integers(10, 31, min(10_000, count - first))
            drawn = iter(random.choice(words, lengths.sum(), p=chance / chance.sum()))
            for number, length in enumerate(lengths, start=first):
                label = ("good", "bad")[number % 2]
                text = [next(drawn) for _ in range(length)]
                text[number % 7] = label if number % 3 else "fine"
                writer.writerow([" ".join(text), label])


DISTINCT = [f"{a}{b}" for a in ("l", "nd", "r", "st", "t") for b in ("", "a", "el", "en", "er", "i", "ing", "o", "s")]


class Enough(Exception):
    """Raised behind the stage that is measured."""


class Clock:
    """Measures one stage of those that it is handed."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.found: dict[str, float] = {}
        self.anonymous = 0.0
        self.done = threading.Event()

    def __call__(self, stage: str, work: Callable[[], T]) -> T:
        """What ``work`` gives. Raises Enough where it was the stage to measure."""
        if stage != self.stage:
            return work()
        watch = threading.Thread(target=self.watch)
        self.found["held_MB"] = status("RssAnon")
        watch.start()
        started, cpu = time.perf_counter(), time.process_time()
        try:
            work()
        finally:
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
            self.done.set()
            watch.join()
        self.found |= {"seconds": seconds, "cpu_seconds": cpu, "anonymous_MB": self.anonymous}
        raise Enough

    def watch(self) -> None:
        while not self.done.wait(0.02):
            self.anonymous = max(self.anonymous, status("RssAnon"))


def status(key: str) -> float:
    """MB of this process, as the kernel counts them."""
    found = re.search(rf"^{key}:\s*(\d+) kB$", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else 0.0


def stages(config: Config, clock: Clock) -> None:
    """The stages in order, as the pipeline has them."""
    from distill.data.examples import Seen, read_examples
    from distill.stages.context import Lesson, open_run
    from distill.stages.signal import ask_teacher
    from distill.stages.students import train_arms
    from distill.stages.teacher import prepare_teacher
    from distill.stages.texts import prepare_student, read_data, read_texts
    from distill.stages.tokens import tokens_of

    this, source = open_run(config), config.data.train
    assert source is not None
    if clock.stage == "reading":
        clock("reading", lambda: read_examples(source, "train", config.data, config.task, Seen()))
    dataset = clock("data set", lambda: read_data(this))
    texts = clock("tokenizer", lambda: read_texts(this, dataset))
    clock("encoding", lambda: tokens_of(this, texts, texts.training))
    teacher = prepare_teacher(this, texts)
    signal = clock("labelling", lambda: ask_teacher(this, texts, teacher))
    own = prepare_student(this, texts, None)
    clock("training", lambda: train_arms(this, Lesson(own, signal, None)))


def work(stage: str, folder: Path) -> None:
    """What the process of one stage does."""
    found: list[Config] = []
    sources = [f"data.{name}.path={folder / name}.csv" for name in ("train", "validation", "test")]
    run_with_hydra("quickstart", [*OVERRIDES, *sources, f"outputs={folder / 'outputs'}"], [], found.append)
    clock = Clock(stage)
    try:
        stages(found[0], clock)
    except Enough:
        print("@" + json.dumps({**clock.found, "resident_MB": status("VmHWM")}), flush=True)


def measure(count: int, wanted: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """All stages over so many texts. Raises SystemExit where one fails."""
    found = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for seed, (name, of_split) in enumerate({"train": count, "validation": 500, "test": 500}.items()):
            write_texts(folder / f"{name}.csv", of_split, seed)
        for stage in wanted:
            command = [sys.executable, __file__, "--stage", stage, str(folder)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            answers = [line for line in done.stdout.splitlines() if line.startswith("@")]
            if not answers:
                raise SystemExit(f"{stage} of {count:,} texts ended with {done.returncode}: {done.stderr[-2000:]}")
            found[stage] = json.loads(answers[0][1:])
            drawn = TRAININGS * STEPS * BATCH if stage == "training" else count  # whatever there is to draw from
            found[stage]["texts_a_second"] = drawn / found[stage]["seconds"]
            print(line_of(count, stage, found[stage]), flush=True)
    return found


def line_of(count: int, stage: str, found: dict[str, float]) -> str:
    columns = ("seconds", "cpu_seconds", "texts_a_second", "held_MB", "anonymous_MB", "resident_MB")
    return f"{count:>10,} {stage:10}" + "".join(f"{found[key]:{len(key) + 2},.0f}" for key in columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, nargs="+", default=[10**4, 10**5, 10**6])
    parser.add_argument("--out", type=Path, help="folder for result.json, such as benchmarks/results/scale")
    parser.add_argument("--note", default="", help="what else the machine did, for the result")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("folder", nargs="?", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        work(options.stage, options.folder)
        return
    print(f"{'texts':>10} {'stage':10}  seconds  cpu_seconds  texts_a_second  held_MB  anonymous_MB  resident_MB")
    found = {}
    for count in options.texts:
        found[str(count)] = measure(count, STAGES)
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            content = {"note": options.note, "steps_of_training": STEPS, "texts": found}
            (options.out / "result.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
