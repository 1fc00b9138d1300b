"""What the commands do, one function each. Each takes the parsed options and returns the exit status."""

import argparse
import dataclasses
import itertools
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.errors import UserError, nearest

if TYPE_CHECKING:
    from distill.pipeline import Outcome
    from distill.results import Estimate, Search
    from distill.runtime import Bundle
    from distill.tasks import Answer


def run_recipe(options: argparse.Namespace) -> int:
    """``distill run``"""
    from distill.config.compose import run_with_hydra

    if (options.resolve or options.package) and not options.cfg:
        given = "--resolve" if options.resolve else "--package"
        raise UserError(f"{given} says how --cfg prints; give --cfg job, too")
    flags = [f"--{name}" for name in ("multirun", "resolve") if getattr(options, name)]
    for name in ("cfg", "package", "info"):
        if getattr(options, name):
            flags += [f"--{name}", getattr(options, name)]
    statuses: list[int] = []
    run_with_hydra(
        options.recipe,
        options.overrides,
        flags,
        lambda config: statuses.append(run_and_show(config, options.json)),
    )
    return max(statuses, default=0)


def run_and_show(config: Any, as_json: bool) -> int:
    """Runs the pipeline and prints what came of it; of several processes the main one does."""
    from distill.pipeline import run
    from distill.progress import say, speaks
    from distill.report import print_table
    from distill.results import to_json

    outcome = run(config)
    if as_json and speaks():
        sys.stdout.write(to_json(outcome.report))
    elif speaks():
        print_table(outcome.report)
        print(f"report: {outcome.directory / 'report.html'}")
        if outcome.bundle is not None:
            print(f"bundle: {outcome.bundle}   (distill predict {outcome.bundle} TEXT)")
    if outcome.bundle is None:
        say("no bundle: no variant of the student computes what torch does; the report says where they differ")
        return 1
    if outcome.missed:
        say(outcome.missed)
        return 1
    return 0


def compress(options: argparse.Namespace) -> int:
    """``distill compress``: the recipe of that name with a person's own files; with a target the search for what meets
    it."""
    from distill.config.compose import run_with_hydra

    if options.target is not None:
        return search_and_show(options)
    statuses: list[int] = []
    run_with_hydra(
        "compress",
        [*files_of(options), *options.overrides],
        [],
        lambda config: statuses.append(run_and_show(config, options.json)),
    )
    return max(statuses, default=0)


LOOKED_FOR = re.compile(r"[+~]*(student|arms)\b.*")
"""Overrides of what a search sets itself."""


def search_and_show(options: argparse.Namespace) -> int:
    """The ladder of students, and what came of it."""
    from distill.ladder import search

    return show_search(*search(rungs_of(options)), options.json)


def tune_and_show(options: argparse.Namespace) -> int:
    """``distill search``: trials of a recipe's sizes and learning rates."""
    from distill.config.compose import run_with_hydra
    from distill.tuning import tune

    if options.trials < 1:
        raise UserError(f"--trials is {options.trials}; give at least 1")
    if own := next(filter(LOOKED_FOR.fullmatch, options.overrides), None):
        raise UserError(f"{own} is what the search looks for: kinds and sizes of students; leave it out")

    def config_of(sets: Sequence[str]) -> Any:
        found: list[Any] = []
        name = [] if any(o.startswith("name=") for o in options.overrides) else [f"name={run_named(options)}"]
        run_with_hydra(options.recipe, [*sets, *options.overrides, *name], [], found.append)
        return found[0]

    return show_search(*tune(config_of, options.trials), options.json)


def show_search(found: "Search", outcome: "Outcome | None", as_json: bool) -> int:
    """What a search found, and where the bundle of what it took lies; exit status 1 where its target is not met."""
    from distill.progress import say, speaks
    from distill.report import missed_in_words, print_search
    from distill.results import scale_of, to_json

    if as_json and speaks():
        sys.stdout.write(to_json(found))
    elif speaks():
        print_search(found)
        if outcome is not None:
            print(f"report: {outcome.directory / 'report.html'}")
            print(f"bundle: {outcome.bundle}   (distill predict {outcome.bundle} TEXT)")
    if found.target.missed:
        say(missed_in_words(found.target, scale_of(found.metric)))
        return 1
    return 0


def run_named(options: argparse.Namespace) -> str:
    """The name of a search: the recipe's, with a suffix for overrides."""
    from distill.config.compose import recipe_path, run_name

    return f"search-{run_name(recipe_path(options.recipe), options.overrides)}"


def rungs_of(options: argparse.Namespace) -> Callable[[Sequence[str]], Any]:
    """Composes the recipe with the overrides of a rung. Raises UserError for a target that is none, and for overrides
    of what a search sets itself."""
    from distill.config.compose import run_with_hydra

    if not re.fullmatch(r"\w+=[^,=\s]+(,\w+=[^,=\s]+)*", options.target):
        raise UserError(f"--target is {options.target!r}; write KEY=NUMBER,KEY=NUMBER, such as size_mb=10,drop=1")
    if options.max_drop is not None:
        raise UserError("--max-drop is about one student; with --target give drop=POINTS there")
    if own := next(filter(LOOKED_FOR.fullmatch, options.overrides), None):
        raise UserError(
            f"{own} is what --target looks for: students of every kind, each trained in one way; leave it out"
        )
    target = [f"target.{limit}" for limit in options.target.split(",")]
    given = [*files_of(options), *options.overrides, *target]

    def config_of(rung: Sequence[str]) -> Any:
        found: list[Any] = []
        run_with_hydra("compress", [*rung, *given], [], found.append)
        return found[0]

    return config_of


def files_of(options: argparse.Namespace) -> list[str]:
    """The overrides that name the model and the texts, and the run after the model. Raises UserError for what is not
    there."""
    texts, model = Path(options.texts), Path(options.model)
    for path in (texts, *([Path(options.labelled)] if options.labelled else [])):
        if not path.is_file():
            raise UserError(
                f"no file {path}; give a text file with one text a line, or a CSV, JSON Lines or Parquet table"
            )
    folder = model.is_dir()
    if not folder and (model.exists() or options.model.count("/") != 1 or options.model.startswith((".", "/"))):
        raise UserError(f"no folder {options.model}; give a folder that save_pretrained wrote, or a hub id")
    overrides = [
        "teacher=folder" if folder else "teacher=hub",
        f"teacher.source.{'path' if folder else 'hub'}={_quoted(options.model)}",
        "teacher.fine_tune=never",
        f"data.text={_quoted(options.text_column)}",
    ]
    if options.pair_column:
        overrides.append(f"data.pair={_quoted(options.pair_column)}")
    if options.labelled:
        overrides += [
            f"data.train={{path: {_quoted(options.labelled)}}}",
            f"data.transfer={{path: {_quoted(options.texts)}}}",
            f"data.label={_quoted(options.label_column)}",
        ]
    else:
        overrides += [f"data.train={{path: {_quoted(options.texts)}}}", "data.label=null", "arms=[linear,soft]"]
    if options.max_drop is not None:
        overrides.append(f"max_teacher_drop={options.max_drop}")
    if not any(o.startswith("name=") for o in options.overrides):
        name = re.sub(r"[^\w.+=,-]+", "-", f"compress-{model.name or model.resolve().name}")[:60].strip("-")
        overrides.append(f"name={_quoted(name)}")
    return overrides


def _quoted(text: str) -> str:
    """A text as a value in Hydra's grammar of overrides, where ``${`` stands for itself.

    Backslashes are doubled only before what they would escape.
    """
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    return "'" + re.sub(r"(\\*)('|\Z)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), text) + "'"


def list_recipes(options: argparse.Namespace) -> int:
    """``distill recipes``"""
    from distill.config.compose import recipe_names, recipe_path, recipe_summary

    if options.recipe:
        print(recipe_path(options.recipe).read_text(encoding="utf-8"), end="")
        return 0
    by_task: dict[str, list[str]] = {}
    for name in recipe_names():
        task, method = recipe_summary(recipe_path(name))
        by_task.setdefault(task, []).append(f"  {name:<17} {method}")
    print("\n\n".join("\n".join([task, *lines]) for task, lines in by_task.items()))
    print("\nWhat one needs and sets: distill recipes NAME")
    return 0


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
        for some in [[line] for line in lines] if writes else [lines]:  # a text takes long to write
            if writes and given and not options.json:
                show_as_it_comes(bundle, *some[0], as_json)
                continue
            for answer in answers_of(bundle, some, as_json):
                line = " ".join(answer.as_line().splitlines())  # a label or a part of a passage may break lines
                print(shown(json.dumps(answer.as_dict(), ensure_ascii=False) if options.json else line))
            sys.stdout.flush()
    return 0


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


CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters other than tab and newline."""


def shown(text: str) -> str:
    """As stdout may have it: a terminal would obey the control characters that a model writes."""
    return CONTROLS.sub("\ufffd", text) if sys.stdout.isatty() else text


def check_threads(threads: int | None) -> None:
    """Raises UserError where there are none."""
    if threads is not None and threads < 1:
        raise UserError(f"--threads is {threads}; give at least 1, or leave it out for all cores")


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
    """The error with the place of the question."""
    mend = "" if as_json else "; for questions in JSON give --input json"
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
    from distill.data import load_examples
    from distill.evaluation import score_over_seeds
    from distill.evaluation.subjects import bundle_subject, teacher_subject
    from distill.results import to_json

    check_threads(options.threads)
    folder = Path(options.bundle)
    if (folder / "config.json").is_file() and not (folder / "bundle.json").is_file():
        task, answer = teacher_subject(folder)
    else:
        task, answer = bundle_subject(folder, options.variant, options.threads)
    examples = load_examples(
        Source(path=options.data),
        DataConfig(text=options.text_column, pair=options.pair_column, label=options.label_column),
        TaskConfig(name=task.name),
        task.labels,
    )
    predictions, gold = task.predictions(answer(examples), examples), task.gold(examples)
    scores = {
        metric.name: score_over_seeds(metric, metric.statistics(predictions, gold)[None]) for metric in task.metrics
    }
    if options.json:
        shown = {name: json.loads(to_json(estimate)) for name, estimate in scores.items()}
        print(json.dumps({"texts": len(examples), "scores": shown}, indent=2))
        return 0
    print(f"{len(examples):,} texts")
    width = max(16, *map(len, scores))
    for name, estimate in scores.items():
        print(f"{name:<{width}} {score_and_interval(name, estimate)}")
    return 0


def score_and_interval(metric: str, estimate: "Estimate") -> str:
    """``86.34 %   95 % interval 84.12 to 88.20 (…)``."""
    from distill.results import scale_of

    scale = scale_of(metric)
    digits, unit = scale.digits + 1, " %" if scale.unit else ""
    low, high = (f"{end:.{digits}f}" for end in scale.ends(estimate))
    known = math.isfinite(estimate.low)
    interval = f"95 % interval {low} to {high} ({estimate.method})" if known else "no interval: one text"
    return f"{scale.read(estimate.value):.{digits}f}{unit}   {interval}"


def export(options: argparse.Namespace) -> int:
    """``distill export``"""
    from distill.config import build_config

    run = Path(options.run)
    if not (run / "config.json").is_file() or (run / "bundle.json").is_file():
        what = "a bundle" if (run / "bundle.json").is_file() else "not the folder of a run: it has no config.json"
        raise UserError(f"{run} is {what}; give the folder of a run, such as outputs/quickstart")
    try:
        values = json.loads((run / "config.json").read_text(encoding="utf-8"))
        config = build_config(values)
    except (ValueError, UserError) as error:
        raise UserError(f"{run / 'config.json'} is damaged, or of another version of distill: {error}") from error
    if getattr(config.teacher, "trust_remote_code", False):  # the folder of a run is data, too
        raise UserError(
            f"{run} was made with code that comes with its teacher; give `distill run` what made it, "
            "teacher.trust_remote_code=true and export.variants: nothing is trained again"
        )
    values["outputs"] = os.path.relpath(run.resolve().parent)  # where the artifacts of the run lie
    if options.variants:
        values["export"]["variants"] = ["fp32", *(v for v in options.variants if v != "fp32")]
    if options.max_drop is not None:
        values["export"]["max_drop"] = options.max_drop
    return run_and_show(build_config(values), options.json)


def measure_bundle(options: argparse.Namespace) -> int:
    """``distill measure``"""
    from distill.measure import Specification, measure
    from distill.progress import say
    from distill.results import to_json
    from distill.runtime import read_manifest, verify

    folder = Path(options.bundle)
    manifest = read_manifest(folder)
    if options.variant and options.variant not in manifest.graphs:
        raise UserError(f"{folder} has no variant '{options.variant}'{nearest(options.variant, manifest.graphs)}")
    lengths = manifest.workload.get("token_lengths") or [min(128, manifest.max_length)]
    variants = measurable(manifest, options.variant)
    verify(folder, manifest, [file for variant in variants for file in manifest.files(variant)])
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
        from distill.report.formatting import figure

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
            print(f"  {name.replace('_', ' '):<16} {figure(value):<28} {value.how}")
    return 0


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


def report(options: argparse.Namespace) -> int:
    """``distill report``"""
    from distill.progress import say
    from distill.report import compare, print_table, render_card, render_html
    from distill.results import Report, from_json, to_json, write_aside

    reports = []
    for run in map(Path, options.runs):
        path = run / "report.json"
        if not path.is_file():
            raise UserError(f"{run} has no report.json; give the folder of a run (outputs/NAME) or of a bundle")
        try:
            reports.append(from_json(Report, path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise UserError(f"{path} is damaged, or of another version of distill: {error}") from error
        if not (run / "bundle.json").is_file():
            try:
                write_aside(run / "report.html", render_html(reports[-1]))
                write_aside(run / "README.md", render_card(reports[-1]))
            except OSError as error:  # a disk that is full, or may only be read: the table can be shown all the same
                say(f"{run}: report.html and README.md stay as they were ({error.strerror or error})")
    if options.json:
        print(json.dumps([json.loads(to_json(r)) for r in reports], indent=2, ensure_ascii=False))
    elif len(reports) == 1:
        print_table(reports[0])
    else:
        compare(reports)
    return 0
