"""What the commands do, one function each. Each takes the parsed options and returns the exit status."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distill.errors import UserError, nearest


def run_recipe(options: argparse.Namespace) -> int:
    """``distill run``"""
    from distill.config.compose import run_with_hydra

    if options.resolve and not options.cfg:
        raise UserError("--resolve says how --cfg prints; give --cfg job, too")
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
    """``distill compress``: the recipe of that name with a person's own files."""
    from distill.config.compose import run_with_hydra

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
        overrides.append(f"name={_quoted(f'compress-{model.name or model.resolve().name}')}")
    statuses: list[int] = []
    run_with_hydra(
        "compress",
        [*overrides, *options.overrides],
        [],
        lambda config: statuses.append(run_and_show(config, options.json)),
    )
    return max(statuses, default=0)


def _quoted(text: str) -> str:
    """A text as a value in Hydra's grammar of overrides."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def list_recipes(options: argparse.Namespace) -> int:
    """``distill recipes``"""
    import textwrap

    from distill.config.compose import recipe_names, recipe_path, recipe_summary

    names = recipe_names()
    width = max(map(len, names)) + 2
    for name in names:
        print(
            textwrap.fill(
                recipe_summary(recipe_path(name)), 100, initial_indent=name.ljust(width), subsequent_indent=" " * width
            )
        )
    return 0


def predict(options: argparse.Namespace) -> int:
    """``distill predict``"""
    from distill.runtime import load

    check_threads(options.threads)
    bundle = load(options.bundle, options.variant, options.threads)
    questions: list[Any] = []
    named: Iterator[tuple[str, Any]]
    if options.texts:
        named = ((f"TEXT {n}", question_of(text, f"TEXT {n}")) for n, text in enumerate(options.texts, start=1))
    else:
        if sys.stdin.isatty():
            print("reading texts, one a line; Ctrl-D ends", file=sys.stderr)
        named = questions_of(sys.stdin.buffer.read())
    for where, question in named:
        try:
            json.dumps(question, ensure_ascii=False).encode()
            bundle.task.question(question)
        except UnicodeEncodeError as error:
            raise UserError(f"{where} is not UTF-8: it holds half of a character") from error
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
        questions.append(question)
    for answer in bundle(questions):
        print(json.dumps(answer.as_dict(), ensure_ascii=False) if options.json else answer.as_line())
    return 0


def check_threads(threads: int | None) -> None:
    """Raises UserError where there are none."""
    if threads is not None and threads < 1:
        raise UserError(f"--threads is {threads}; give at least 1, or leave it out for all cores")


def questions_of(data: bytes) -> Iterator[tuple[str, Any]]:
    """A question a line, with its place."""
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for number, line in enumerate(lines if lines[-1] else lines[:-1], start=1):
        where = f"line {number} of stdin"
        try:
            text = line.decode("utf-8").rstrip("\r")
        except UnicodeDecodeError as error:
            raise UserError(f"line {number} of stdin is not UTF-8 ({error.reason} at byte {error.start})") from error
        yield where, question_of(text, where)


def question_of(text: str, where: str) -> Any:
    """JSON where a text is an object, a list or a quoted text, else the text itself."""
    if text.startswith(("{", '"', "[")):
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            if text.startswith("{"):
                raise UserError(f"{where} is no JSON object: {error.msg} at column {error.colno}") from error
    return text


def evaluate(options: argparse.Namespace) -> int:
    """``distill evaluate``"""
    from distill.config.schema import DataConfig, Source, TaskConfig
    from distill.data import load_examples
    from distill.evaluation import score_over_seeds
    from distill.evaluation.subjects import bundle_subject, teacher_subject

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
        shown = {
            name: {"value": e.value, "low": e.low, "high": e.high, "method": e.method} for name, e in scores.items()
        }
        print(json.dumps({"texts": len(examples), "scores": shown}, indent=2))
        return 0
    print(f"{len(examples):,} texts")
    for name, e in scores.items():
        print(f"{name:<16} {100 * e.value:.2f} %   95 % interval {100 * e.low:.2f} to {100 * e.high:.2f} ({e.method})")
    return 0


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
    variants = [options.variant] if options.variant else list(manifest.graphs)
    verify(folder, manifest, [manifest.graphs[variant]["model"] for variant in variants])
    for variant in variants:
        say(f"measure {variant}")
        figures = measure(
            Specification(
                model=str((folder / manifest.graphs[variant]["model"]).resolve()),
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
        ):
            value = getattr(figures, name)
            print(f"  {name.replace('_', ' '):<16} {figure(value):<28} {value.how}")
    return 0


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
