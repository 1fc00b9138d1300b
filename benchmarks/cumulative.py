"""From PyTorch to what is deployed, a step at a time: `python benchmarks/cumulative.py RECIPE [KEY=VALUE …]`.

A table of the kind of FastFormers (Kim and Awadalla 2020): the teacher in PyTorch on texts padded to the maximum
length; in ONNX; on texts at their real lengths; a student of its layers; the same with half of its feed-forward
units; in int8. And, beside that way, the teacher in int8. `KEY=VALUE` holds for both runs, whose students are those of
the recipe, trained on the teacher's soft labels.

Scores are on test, of the models that are timed. Times are of one thread and one process that holds all models, in
turns: in each turn each model answers test texts one by one, then 32 at a time. Each row's ratio to the first is the
median over the turns, with the smallest and largest beside it. Memory and the time from the start of a process to its
first answer are of a fresh process a model, which reads text with the same tokenizer; `--price` is that of an hour of a
core. Runs are resumable. Writes `benchmarks/results/cumulative/NAME.json` and prints the table.
"""

import argparse
import inspect
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from runs import bounds, run, table

from distill.measure.energy import EnergyMeter
from distill.measure.memory import peak_resident_set
from distill.runtime import Graphs
from distill.text import Example, Reading, pad, rows_of

RESULTS = Path(__file__).parent / "results" / "cumulative"
ARM = "soft+transfer"
TEXTS, BATCH = 64, 32
WATTS_PER_CORE = 10.0
MANY = 1e8
"""Texts whose cost is told."""
HEAD = ["", "score", "of the teacher's", "MB", "p50, ms", "times faster", "texts/s, 32", "times as many", "memory, MB",
        "first answer, s", "J per 1,000", "USD per 100 M"]  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A model that is timed."""

    name: str
    model: str
    """An ONNX file, or a folder that ``save_pretrained`` wrote."""
    tokenizer: str
    max_length: int
    padded: bool = False
    """To the maximum length."""

    @property
    def in_torch(self) -> bool:
        """Whether PyTorch runs it."""
        return not self.model.endswith(".onnx")

    @property
    def megabytes(self) -> float:
        """Of its weights."""
        return (Path(self.model) / "model.safetensors" if self.in_torch else Path(self.model)).stat().st_size / 1e6

    def open(self) -> Callable[[list[str]], Any]:
        """The model at work: from texts to logits."""
        reading = Reading.from_file(Path(self.tokenizer), self.max_length)
        answer = in_torch(self.model) if self.in_torch else in_onnx(self.model)

        def run(texts: list[str]) -> Any:
            rows = rows_of([reading.encode([Example(text)])[0] for text in texts])
            arrays = pad(rows, reading.pad_id)
            if self.padded:
                arrays = {name: widened(array, self.max_length, reading.pad_id, name) for name, array in arrays.items()}
            return answer(arrays)

        return run


def widened(array_RL: Any, length: int, pad_id: int, name: str) -> Any:
    """[R, length]."""
    fill = pad_id if name == "input_ids" else 0
    return np.pad(array_RL, ((0, 0), (0, length - array_RL.shape[1])), constant_values=fill)


def in_onnx(model: str) -> Callable[[Any], Any]:
    """Of a graph, as the runtime opens it."""
    graphs = Graphs({"model": Path(model)}, threads=1)
    return lambda arrays: graphs.run("model", arrays)[0]


def in_torch(folder: str) -> Callable[[Any], Any]:
    """Of a model as transformers loads it."""
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.set_num_threads(1)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, local_files_only=True, use_safetensors=True
    ).eval()
    taken = inspect.signature(model.forward).parameters

    def answer(arrays: Any) -> Any:
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items() if name in taken}
            return model(**tensors).logits.numpy()

    return answer


def settings_of(overrides: list[str]) -> list[str]:
    """Of both runs."""
    return [f"arms=[linear,{ARM}]", "seeds=[0]", "measure.enabled=false", *overrides]


class Teacher(NamedTuple):
    """Of a run that has been made."""

    folder: Path
    files: dict[str, Path]
    """Of each variant."""
    max_length: int
    texts: list[str]
    """Of test, as many short ones as there are among all."""


def teacher_of(recipe: str, name: str, overrides: list[str]) -> Teacher:
    """The teacher, from the run's own stages: all of them are there already."""
    from distill.config.compose import run_with_hydra
    from distill.stages.context import open_run
    from distill.stages.exporting import export_teacher
    from distill.stages.signal import ask_teacher
    from distill.stages.teacher import prepare_teacher
    from distill.stages.texts import read_data, read_texts

    configs: list[Any] = []
    run_with_hydra(recipe, [*settings_of(overrides), f"name={name}"], [], configs.append)
    this = open_run(configs[0])
    texts = read_texts(this, read_data(this))
    teacher = prepare_teacher(this, texts)
    (exported,) = export_teacher(this, texts, ask_teacher(this, texts, teacher))
    files = {variant: exported.files(variant)["model"] for variant in exported.made}
    test = sorted((str(e.text) for e in texts.dataset.test), key=len)
    asked = test[:: -(-len(test) // TEXTS)]
    return Teacher(teacher.model.directory / "model", files, texts.reading.max_length, asked)


def subjects_of(teacher: Teacher, names: tuple[str, str]) -> list[Subject]:
    """All rows, in order."""
    folder, files, longest, _ = teacher
    own, tokenizer = str(files["fp32"]), str(folder / "tokenizer.json")
    student, pruned = (Path("exports") / name for name in names)
    return [
        Subject("teacher, PyTorch", str(folder), tokenizer, longest, padded=True),
        Subject("+ ONNX", own, tokenizer, longest, padded=True),
        Subject("+ real lengths", own, tokenizer, longest),
        Subject("+ student", str(student / "onnx/model.onnx"), str(student / "tokenizer.json"), longest),
        Subject("+ pruned", str(pruned / "onnx/model.onnx"), str(pruned / "tokenizer.json"), longest),
        Subject("+ int8", str(pruned / "onnx/model_int8.onnx"), str(pruned / "tokenizer.json"), longest),
        Subject("teacher, int8", str(files["int8"]), tokenizer, longest),
    ]


def scores_of(reports: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Of the subjects, in their order."""
    scores = [
        {(one["model"], one["variant"]): one["score"] for one in report["variants"] if one["score"]}
        for report in reports
    ]
    teacher = next(arm["score"] for arm in reports[0]["arms"] if arm["name"] == "teacher")
    own = scores[0]["teacher", "fp32"]
    return [
        teacher,
        own,
        own,
        scores[0]["student", "fp32"],
        scores[1]["student", "fp32"],
        scores[1]["student", "int8"],
        scores[0]["teacher", "int8"],
    ]


def times(
    subjects: list[Subject], texts: list[str], turns: int
) -> tuple[dict[str, list[float]], dict[str, list[float]], dict[str, float]]:
    """(p50 in s of each turn, texts/s of each turn, J per 1,000 texts) by subject."""
    opened = {one.name: one.open() for one in subjects}
    alone: dict[str, list[float]] = {name: [] for name in opened}
    together: dict[str, list[float]] = {name: [] for name in opened}
    joules = dict.fromkeys(opened, 0.0)
    by_length = sorted(texts, key=len)
    batches = [by_length[start : start + BATCH] for start in range(0, len(by_length), BATCH)]
    for answer in opened.values():
        answer(batches[-1])
    for _ in range(turns):
        for name, answer in opened.items():
            taken = []
            with EnergyMeter("cpu", WATTS_PER_CORE) as meter:
                for text in texts:
                    start = time.perf_counter()
                    answer([text])
                    taken.append(time.perf_counter() - start)
            joules[name] += 1000 * float(meter.figure.value or 0) / len(texts) / turns
            alone[name].append(statistics.median(taken))
            start = time.perf_counter()
            for batch in batches:
                answer(batch)
            together[name].append(len(texts) / (time.perf_counter() - start))
    return alone, together, joules


def alone_in_a_process(subject: Subject, texts: list[str]) -> tuple[float, float]:
    """(seconds from the start of a process to its first answer, MB that it takes at most)."""
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "asked.json"
        asked.write_text(json.dumps({"subject": asdict(subject), "texts": texts}))
        start = time.perf_counter()
        with subprocess.Popen([sys.executable, __file__, "--worker", asked], stdout=subprocess.PIPE, text=True) as own:
            assert own.stdout is not None
            own.stdout.readline()
            seconds = time.perf_counter() - start
            peak = float(own.stdout.readline())
    return seconds, peak


def work(asked: Path) -> None:
    """Prints a line with the first answer, and one with the most memory that was taken, in MB."""
    given = json.loads(asked.read_text())
    answer, texts = Subject(**given["subject"]).open(), given["texts"]
    print(answer(texts[:1]).argmax(), flush=True)
    for start in range(0, len(texts), BATCH):
        answer(texts[start : start + BATCH])
    print(peak_resident_set().value, flush=True)


def spread(ratios: list[float]) -> str:
    """Median, least and largest."""
    return f"{statistics.median(ratios):.1f} [{min(ratios):.1f}, {max(ratios):.1f}]"


def cells(one: dict[str, Any], first: dict[str, Any]) -> list[str]:
    """A row of the table."""
    return [
        one["name"],
        bounds(one, one["score"]),
        f"{100 * one['score']['value'] / first['score']['value']:.1f} %",
        f"{one['megabytes']:.1f}",
        f"{1e3 * statistics.median(one['p50']):.2f}",
        spread([a / b for a, b in zip(first["p50"], one["p50"], strict=True)]),
        f"{statistics.median(one['rate']):.0f}",
        spread([b / a for a, b in zip(first["rate"], one["rate"], strict=True)]),
        f"{one['memory']:.0f}",
        f"{one['first_answer']:.1f}",
        f"{one['joules']:.2f}",
        f"{one['dollars']:.2f}",
    ]


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        work(Path(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--name", help="of what is written (the recipe)")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--price", type=float, default=0.04, help="USD, of an hour of a core (0.04)")
    options = parser.parse_intermixed_args()
    name = options.name or options.recipe
    names = f"cumulative-{name}", f"cumulative-{name}-pruned"
    settings = settings_of(options.overrides)
    reports = [
        run(options.recipe, names[0], *settings),
        run(options.recipe, names[1], *settings, "student.feed_forward_share=0.5"),
    ]
    teacher = teacher_of(options.recipe, names[0], options.overrides)
    subjects = subjects_of(teacher, names)
    alone, together, joules = times(subjects, teacher.texts, options.turns)
    rows = []
    for subject, score in zip(subjects, scores_of(reports), strict=True):
        seconds, peak = alone_in_a_process(subject, teacher.texts)
        rate = together[subject.name]
        rows.append(
            {
                "name": subject.name,
                "metric": reports[0]["metric"],
                "score": score,
                "megabytes": subject.megabytes,
                "p50": alone[subject.name],
                "rate": rate,
                "memory": peak,
                "first_answer": seconds,
                "joules": joules[subject.name],
                "dollars": MANY / statistics.median(rate) / 3600 * options.price,
            }
        )
    RESULTS.mkdir(parents=True, exist_ok=True)
    found = {"settings": settings, "price": options.price, "rows": rows, "provenance": reports[0]["provenance"]}
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print(table(HEAD, [cells(one, rows[0]) for one in rows]))
    ours, theirs = rows[-2], rows[-1]
    faster = spread([a / b for a, b in zip(theirs["p50"], ours["p50"], strict=True)])
    print(f"\n{ours['name']} against {theirs['name']}: {faster} times faster at batch 1, ", end="")
    print(f"1 / {rows[0]['megabytes'] / ours['megabytes']:.1f} of the teacher's size")


if __name__ == "__main__":
    main()
