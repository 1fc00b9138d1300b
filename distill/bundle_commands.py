"""What the commands do with a bundle, one function each: ``predict`` and ``evaluate`` need the base install alone. Each
takes the parsed options and returns the exit status."""

import argparse
import dataclasses
import itertools
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.errors import UserError, nearest

if TYPE_CHECKING:
    from distill.results import Estimate, Measurement
    from distill.runtime import Bundle
    from distill.tasks import Answer

BLOCK = 4096
"""Bytes of stdin whose lines are answered together."""


def predict(options: argparse.Namespace) -> int:
    """``distill predict``: questions are answered as they come."""
    from distill.progress import say
    from distill.runtime import load

    check_threads(options.threads)
    bundle = load(options.bundle, options.variant, options.threads)
    writes = set_generation(bundle, options)
    as_json = options.input == "json"
    given = [(f"TEXT {n}", text.encode("utf-8", "surrogatepass")) for n, text in enumerate(options.texts, start=1)]
    for number, lines in enumerate([given] if given else lines_of_stdin()):
        where, text = lines[0]
        if number == 0 and not as_json and text.startswith(b'{"'):
            say(f"{where} is read as a text; for JSON give --input json")
        if as_json and not given:
            lines = [line for line in lines if line[1].strip()]  # as in a file of JSON Lines
        for some in [[line] for line in lines] if writes else [lines]:  # a text takes long to write
            if writes and given and not options.json:
                show_as_it_comes(bundle, *some[0], as_json)
                draw_anew(bundle)
                continue
            for answer in answers_of(bundle, some, as_json):
                line = " ".join(answer.as_line().splitlines())  # a label or a part of a passage may break lines
                print(shown(json.dumps(answer.as_dict(), ensure_ascii=False) if options.json else line))
            sys.stdout.flush()
            if writes:
                draw_anew(bundle)
    return 0


def draw_anew(bundle: Any) -> None:
    """What is sampled behind the next text is drawn apart from what was behind the last one, also where both are
    equal."""
    bundle.settings = dataclasses.replace(bundle.settings, seed=bundle.settings.seed + 1)


def set_generation(bundle: "Bundle", options: argparse.Namespace) -> bool:
    """Whether the bundle writes; it does so as the options say. Raises UserError for an option of writing where it does
    not."""
    from distill.runtime import GenerationSettings, WritingBundle

    names = {field.name for field in dataclasses.fields(GenerationSettings)}
    given = {name: value for name, value in vars(options).items() if name in names}
    if isinstance(bundle, WritingBundle):
        stop = tuple(given.pop("stop", bundle.settings.stop))
        bundle.settings = dataclasses.replace(bundle.settings, **given, stop=stop)
        return True
    if given:
        option = "--" + next(iter(given)).replace("_", "-")
        raise UserError(f"{option} says how a model writes, and {options.bundle} does {bundle.task.name}; leave it out")
    return False


def show_as_it_comes(bundle: Any, where: str, line: bytes, as_json: bool) -> None:
    """What is written behind a text, on stdout while it is written, and the end of a line behind it."""
    try:
        for piece in bundle.stream(question_of(line, as_json)):
            print(shown(piece), end="", flush=True)
    except UserError as error:
        raise placed(error, where, as_json) from error
    print(flush=True)


def shown(text: str) -> str:
    """As stdout may have it: a terminal would obey the control characters that a model writes."""
    from distill.formatting import CONTROLS

    return CONTROLS.sub("\ufffd", text) if sys.stdout.isatty() else text


def check_threads(threads: int | None) -> None:
    """Raises UserError where there are none."""
    if threads is not None and threads < 1:
        raise UserError(f"--threads is {threads}; give at least 1")


def lines_of_stdin() -> Iterator[list[tuple[str, bytes]]]:
    """Lines behind their places: those that end in the next ``BLOCK`` bytes, or in what is there of them by now."""
    if sys.stdin is None:
        raise UserError("stdin is closed; give TEXT, or texts on stdin, one a line")
    if sys.stdin.isatty():
        print("reading texts, one a line; Ctrl-D ends", file=sys.stderr)
    places = (f"line {number} of stdin" for number in itertools.count(1))
    begun: list[bytes] = []
    stdin: Any = sys.stdin.buffer
    while block := stdin.read1(BLOCK):
        *ended, rest = block.split(b"\n")
        if ended:
            yield [(next(places), line) for line in (b"".join([*begun, ended[0]]), *ended[1:])]
            begun = []
        begun.append(rest)
    if last := b"".join(begun):
        yield [(next(places), last)]


def answers_of(bundle: "Bundle", lines: Sequence[tuple[str, bytes]], as_json: bool) -> "Iterator[Answer]":
    """An answer a line. Raises UserError, with its place, for the first that has none, behind the answers before."""
    try:
        yield from bundle([question_of(line, as_json) for _, line in lines])
    except UserError as error:
        if len(lines) > 1:  # which of them it was shows when each is asked alone
            for line in lines:
                yield from answers_of(bundle, [line], as_json)
            return
        raise placed(error, lines[0][0], as_json) from error


def placed(error: UserError, where: str, as_json: bool) -> UserError:
    """The error with the place of the question; JSON is a mend where the text could be read and is no question."""
    mend = "" if as_json or error.__cause__ is not None else "; for questions in JSON give --input json"
    return UserError(f"{where}: {error}{mend}")


def question_of(line: bytes, as_json: bool) -> Any:
    """A text, or what it says in JSON. Raises UserError where it is neither."""
    try:
        text = line.decode("utf-8-sig").rstrip("\r")
        return json.loads(text) if as_json else text
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 ({error.reason} at byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise UserError(f"no JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise UserError(f"JSON that cannot be read: {error}") from error


def evaluate(options: argparse.Namespace) -> int:
    """``distill evaluate``"""
    from distill.config.data import DataConfig, Source, TaskConfig
    from distill.data import in_words, load_examples
    from distill.evaluation import score_over_seeds
    from distill.evaluation.subjects import bundle_subject, teacher_subject
    from distill.results import to_json
    from distill.runtime.manifest import check_no_run
    from distill.tasks.task import AGREEMENT

    check_threads(options.threads)
    folder = Path(options.bundle)
    if (folder / "config.json").is_file() and not (folder / "bundle.json").is_file():
        check_no_run(folder)
        task, answer, columns = teacher_subject(folder)
    else:
        task, answer, columns = bundle_subject(folder, options.variant, options.threads)
    asked = {"text": options.text_column, "pair": options.pair_column, "label": options.label_column}
    given = {name: column for name, column in asked.items() if column is not None}
    examples, left_out = load_examples(
        Source(path=options.data),
        DataConfig(**{**dataclasses.asdict(columns), **given}),
        TaskConfig(name=task.name),
        task.labels,
    )
    predictions, gold = task.predictions(answer(examples), examples), task.gold(examples)
    scores = {
        metric.name: score_over_seeds(metric, metric.statistics(predictions, gold)[None])
        for metric in task.metrics
        if metric.name != AGREEMENT  # no teacher is asked here
    }
    if options.json:
        shown = {name: json.loads(to_json(estimate)) for name, estimate in scores.items()}
        print(json.dumps({"texts": len(examples), "left_out": left_out, "scores": shown}, indent=2))
        return 0
    print(f"{len(examples):,} texts{f'; left out: {in_words(left_out)}' if left_out else ''}")
    width = max(16, *map(len, scores))
    for name, estimate in scores.items():
        print(f"{name:<{width}} {score_and_interval(name, estimate)}")
    return 0


def score_and_interval(metric: str, estimate: "Estimate") -> str:
    """``86.34 %   95 % interval 84.12 to 88.20 (…)``."""
    from distill.results import scale_of

    scale = scale_of(metric)
    digits, unit = scale.digits + 1, f" {scale.unit}" if scale.unit else ""
    low, high = (f"{end:.{digits}f}" for end in scale.ends(estimate))
    known = math.isfinite(estimate.low)
    interval = f"95 % interval {low} to {high} ({estimate.method})" if known else "no interval: one text"
    return f"{scale.read(estimate.value):.{digits}f}{unit}   {interval}"


def measure_bundle(options: argparse.Namespace) -> int:
    """``distill measure``"""
    from distill.measure import Specification, measure
    from distill.progress import say
    from distill.results import to_json
    from distill.runtime import read_manifest, verify
    from distill.runtime.manifest import LARGER

    check_threads(options.threads)
    for option, given in {"--seconds": options.seconds, "--watts-per-core": options.watts_per_core}.items():
        if not given > 0:
            raise UserError(f"{option} is {given:g}; give more than 0")
    folder = Path(options.bundle)
    manifest = read_manifest(folder)
    if options.variant and options.variant not in manifest.graphs:
        raise UserError(f"{folder} has no variant '{options.variant}'{nearest(options.variant, manifest.graphs)}")
    lengths = manifest.workload.get("token_lengths") or [min(128, manifest.max_length)]
    variants = measurable(manifest, options.variant)
    verify(folder, manifest, [file for variant in variants for file in manifest.files(variant)])
    if manifest.cascade is not None:
        asked = f"which it asks about {100 * manifest.cascade.calls:.0f} % of the texts"
        larger = f"is a bundle of its own: distill measure {folder / LARGER}"
        say(f"the student alone is measured; the larger model, {asked}, {larger}")
    for variant in variants:
        say(f"measure {variant}")
        files = {role: str((folder / file).absolute()) for role, file in manifest.graphs[variant].items()}
        figures = measure(
            Specification(
                model=files[manifest.role],
                encoder=files.get("encoder", ""),
                inputs=tuple(manifest.inputs),
                token_ids=tuple((manifest.pad_id,) * length for length in lengths),
                pad_id=manifest.pad_id,
                threads=options.threads,
                seconds=options.seconds,
                watts_per_core=options.watts_per_core,
                max_length=manifest.max_length,
                second_lengths=tuple(manifest.workload.get("second_lengths", ())),
            )
        )
        if options.json:
            print(json.dumps({"variant": variant, **json.loads(to_json(figures))}))
            continue
        print_figures(variant, figures, min(128, manifest.max_length))
    return 0


def print_figures(variant: str, figures: "Measurement", longest: int) -> None:
    """What was measured of a variant; ``longest`` is the length in tokens of texts at full length."""
    from distill.formatting import figure

    print(f"{variant}: {figures.runtime}, {figures.threads} thread{'s' if figures.threads > 1 else ''}")
    for name in (
        "file_size",
        "latency_p50",
        "latency_p95",
        "latency_128_p50",
        "latency_128_p95",
        "throughput",
        "memory_peak",
        "energy",
        "first_token",
        "writing_rate",
        "cache_growth",
    ):
        value = getattr(figures, name)
        if value is None:  # of a model that writes alone
            continue
        title = name.replace("latency_128", f"latency_{longest}_tokens").replace("_", " ")
        print(f"  {title:<22} {figure(value):<28} {value.how}")


def measurable(manifest: Any, asked: str | None) -> list[str]:
    """The variants of a bundle that this processor runs. Raises UserError where the one that is asked for is none."""
    from distill.progress import say
    from distill.runtime.processor import check_processor

    found = []
    for variant in [asked] if asked else manifest.graphs:
        try:
            check_processor(manifest, variant)
            found.append(variant)
        except UserError as refused:
            if asked:
                raise
            say(f"not measured: {refused}")
    return found
