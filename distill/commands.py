"""What the commands do with recipes and runs, one function each. Each takes the parsed options and returns the exit
status."""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.errors import UserError

if TYPE_CHECKING:
    from distill.pipeline import Outcome
    from distill.results import Search


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


def run_and_show(config: Any, as_json: bool, search: "Search | None" = None) -> int:
    """Runs the pipeline and prints what came of it; of several processes the main one does. ``search``: what led to
    this configuration, where one did."""
    from distill.pipeline import run
    from distill.progress import say, speaks
    from distill.report import print_table
    from distill.results import to_json

    outcome = run(config, search)
    if as_json and speaks():
        sys.stdout.write(to_json(outcome.report))
    elif speaks():
        print_table(outcome.report)
        print(f"report: {outcome.directory / 'report.html'}")
        if outcome.bundle is not None:
            print(f"bundle: {outcome.bundle}   ({how_to_ask(outcome)})")
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


def how_to_ask(outcome: "Outcome") -> str:
    """The command that asks the bundle a question."""
    sample = outcome.report.task_in_words.sample
    question = "TEXT" if sample.startswith('"') else f"--input json '{sample}'"
    return f"distill predict {outcome.bundle} {question}"


LOOKED_FOR = re.compile(r"[+~]*(student|arms)\b.*")
"""Overrides of what a search sets itself."""
TRIED = re.compile(rf"{LOOKED_FOR.pattern}|[+~]*train(\.|=.*\b)learning_rates\b.*")
"""The same where learning rates are searched, too."""


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
    if own := next(filter(TRIED.fullmatch, options.overrides), None):
        raise UserError(
            f"{own} is what the search looks for: kinds, sizes and learning rates of students, each trained as the "
            "recipe's last arm; leave it out"
        )

    def config_of(sets: Sequence[str]) -> Any:
        found: list[Any] = []
        name = [] if any(o.startswith("name=") for o in options.overrides) else [f"name={run_named(options)}"]
        run_with_hydra(options.recipe, [*sets, *options.overrides, *name], [], found.append)
        return found[0]

    return show_search(*tune(config_of, options.trials), options.json)


def show_search(found: "Search", outcome: "Outcome | None", as_json: bool) -> int:
    """What a search found, and where the bundle of what it took lies; exit status 1 where its target or
    ``max_teacher_drop`` is not met."""
    from distill.progress import say, speaks
    from distill.report import missed_in_words, print_search
    from distill.results import scale_of, to_json

    if as_json and speaks():
        sys.stdout.write(to_json(found))
    elif speaks():
        print_search(found)
        if outcome is not None:
            print(f"report: {outcome.directory / 'report.html'}")
            print(f"bundle: {outcome.bundle}   ({how_to_ask(outcome)})")
    if found.target.missed:
        say(missed_in_words(found.target, scale_of(found.metric)))
        return 1
    if outcome is not None and outcome.missed:
        say(outcome.missed)
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
    keys = [limit.split("=")[0] for limit in options.target.split(",")]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise UserError(f"--target is {options.target!r}, which has {twice} twice; give each limit once")
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
    there, and for a column of a table that is not given."""
    texts, model = Path(options.texts), Path(options.model)
    for path in (texts, *([Path(options.labelled)] if options.labelled else [])):
        if not path.is_file():
            raise UserError(
                f"no file {path}; give a text file with one text a line, or a CSV, JSON Lines or Parquet table"
            )
    folder = model.is_dir()
    if not folder and (model.exists() or options.model.count("/") != 1 or options.model.startswith((".", "/"))):
        raise UserError(f"no folder {options.model}; give a folder that save_pretrained wrote, or a hub id")
    if options.label_column is not None and not options.labelled:
        raise UserError(
            f"--label-column is {options.label_column}, but --texts are read without labels; give the table that has "
            "them as --labelled, or leave --label-column out"
        )
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
            f"data.label={_quoted('label' if options.label_column is None else options.label_column)}",
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


def export(options: argparse.Namespace) -> int:
    """``distill export``"""
    from distill.config import build_config
    from distill.results import SEARCH, Search, from_json

    run = Path(options.run)
    if not (run / "config.json").is_file() or (run / "bundle.json").is_file():
        what = "a bundle" if (run / "bundle.json").is_file() else "not the folder of a run: it has no config.json"
        raise UserError(f"{run} is {what}; give the folder of a run, such as outputs/quickstart")
    try:
        values = json.loads((run / "config.json").read_text(encoding="utf-8"))
        config = build_config(values)
    except (ValueError, RecursionError, UserError) as error:
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
    known, search = run / SEARCH, None
    try:
        search = from_json(Search, known.read_text(encoding="utf-8")) if known.is_file() else None
    except ValueError as error:
        raise UserError(f"{known} is damaged, or of another version of distill: {error}") from error
    return run_and_show(build_config(values), options.json, search)


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
