"""The commands of ``distill`` and their arguments."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from distill import bundle_commands, commands
from distill.errors import UserError
from distill.version import __version__

HYDRA_KNOWS = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
Command = Callable[..., argparse.ArgumentParser]
"""Makes a command of a name, a function, a line about it, an example, and what ``--json`` prints, where it has that."""


def make_parser() -> argparse.ArgumentParser:
    """All commands with their help."""
    parser = argparse.ArgumentParser(
        prog="distill",
        description="Distil a large text model into a small one that runs anywhere, and say what that cost.",
        epilog="Start with: distill run quickstart",
    )
    parser.add_argument("--version", action="version", version=f"distill {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, function: Any, summary: str, example: str, json_help: str = "") -> argparse.ArgumentParser:
        made = subparsers.add_parser(
            name,
            parents=[common],
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=f"example: {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(function=function)
        if json_help:
            made.add_argument("--json", action="store_true", help=json_help)
        return made

    for add in (
        add_run,
        add_compress,
        add_search,
        add_recipes,
        add_evaluate,
        add_predict,
        add_export,
        add_measure,
        add_report,
    ):
        add(command)
    return parser


def add_run(command: Command) -> None:
    """``distill run``"""
    made = command(
        "run",
        commands.run_recipe,
        "run a recipe: teacher, students, export, report",
        "distill run quickstart student=lstm train.steps=300",
        "print the report as JSON",
    )
    made.add_argument("recipe", metavar="RECIPE", help="a name that `distill recipes` lists, or a YAML file")
    add_overrides(made, "seeds=[0,1]")
    one = made.add_mutually_exclusive_group()
    one.add_argument("--multirun", "-m", action="store_true", help="one run for each of KEY=VALUE,VALUE")
    one.add_argument("--cfg", "-c", choices=("job", "hydra", "all"), help="print the composed recipe and stop")
    made.add_argument("--resolve", action="store_true", help="with --cfg: with references filled in")
    made.add_argument("--package", "-p", metavar="KEY", help="with --cfg: this part alone")
    one.add_argument("--info", "-i", choices=HYDRA_KNOWS, help="print what Hydra knows and stop")


def add_compress(command: Command) -> None:
    """``distill compress``"""
    made = command(
        "compress",
        commands.compress,
        "make a small model out of a classifier and texts, without a recipe",
        "distill compress my-classifier --texts texts.txt --labelled labelled.csv --max-drop 1.0\n"
        "         distill compress my-classifier --texts texts.txt --labelled labelled.csv --target size_mb=10,drop=1",
        "print the report as JSON",
    )
    made.add_argument("model", metavar="MODEL", help="a folder with a fine-tuned classifier, or a hub id")
    made.add_argument("--texts", metavar="FILE", required=True, help="texts without labels, one a line or a table")
    made.add_argument(
        "--labelled", metavar="FILE", help="a table with labels; without it quality is agreement with MODEL"
    )
    made.add_argument(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help="exit with 1 where the result loses more than this to MODEL on test",
    )
    made.add_argument(
        "--target",
        metavar="KEY=NUMBER,…",
        help="what to keep, any of drop (points on validation), size_mb, latency_ms and memory_mb, such as "
        "size_mb=10,drop=1: searches students of every kind for the smallest (fastest, where a latency and no size is "
        "given) that does; exit with 1 where none does",
    )
    add_overrides(made, "student.count=3 name=small")
    add_columns(made)


def add_search(command: Command) -> None:
    """``distill search``"""
    made = command(
        "search",
        commands.tune_and_show,
        "look with Optuna for students that lose little, are small and answer fast",
        "distill search quickstart target.drop=2 --trials 30",
        "print all trials as JSON",
    )
    made.add_argument("recipe", metavar="RECIPE", help="a name that `distill recipes` lists, or a YAML file")
    add_overrides(made, "train.steps=300")
    made.add_argument(
        "--trials", type=int, default=20, metavar="N", help="how many, earlier ones counted (default: 20)"
    )


def add_recipes(command: Command) -> None:
    """``distill recipes``"""
    made = command(
        "recipes", commands.list_recipes, "list the recipes there are, or show one", "distill recipes quickstart"
    )
    made.add_argument("recipe", metavar="NAME", nargs="?", help="what it needs, how long it takes, what it sets")


def add_evaluate(command: Command) -> None:
    """``distill evaluate``"""
    made = command(
        "evaluate",
        bundle_commands.evaluate,
        "score a bundle, or a teacher, on labelled data",
        "distill evaluate exports/quickstart --data reviews.csv --label-column sentiment",
        "print scores as JSON",
    )
    made.add_argument("bundle", metavar="BUNDLE", help="a bundle, or a folder with a classifier (needs distill[train])")
    made.add_argument("--data", metavar="FILE", required=True, help="a table with texts and labels")
    add_runtime(made)
    add_columns(made, of_bundle=True)


def add_predict(command: Command) -> None:
    """``distill predict``"""
    made = command(
        "predict",
        bundle_commands.predict,
        "answer questions with a bundle",
        'distill predict exports/quickstart "a gorgeous, witty, seductive movie"',
        "print a JSON object a line",
    )
    made.add_argument("bundle", metavar="BUNDLE", help="the folder of a bundle")
    made.add_argument("texts", metavar="TEXT", nargs="*", default=[], help="texts; when left out, lines of stdin")
    made.set_defaults(words="texts")
    made.add_argument(
        "--input",
        choices=("text", "json"),
        default="text",
        help="what each TEXT or line is: a text (default; token classification cuts it into words at blanks), or JSON "
        'such as {"text": "…", "text_pair": "…"} or {"tokens": ["…", "…"]}',
    )
    add_runtime(made)
    add_generation(made)


def add_export(command: Command) -> None:
    """``distill export``"""
    made = command(
        "export",
        commands.export,
        "export a run again, with other variants, without training again",
        "distill export outputs/quickstart --variants fp32 int8 --max-drop 2",
        "print the report as JSON",
    )
    made.add_argument("run", metavar="RUN", help="the folder of a run, such as outputs/quickstart")
    made.add_argument("--variants", nargs="+", help="fp32 int8 …")
    made.add_argument(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help="points a variant may lose against fp32; 1 is 0.01 bits per byte",
    )


def add_measure(command: Command) -> None:
    """``distill measure``"""
    made = command(
        "measure",
        bundle_commands.measure_bundle,
        "measure latency, memory and energy of a bundle on this machine",
        "distill measure exports/quickstart --threads 2",
        "print figures as JSON",
    )
    made.add_argument("bundle", metavar="BUNDLE", help="the folder of a bundle")
    made.add_argument("--variant", help="one variant; all when left out")
    made.add_argument("--threads", type=int, default=1, help="threads of onnxruntime (default: 1)")
    made.add_argument("--seconds", type=float, default=2.0, help="how long each figure is measured (default: 2)")
    made.add_argument("--watts-per-core", type=float, default=10.0, help="for the estimate of energy (default: 10)")


def add_report(command: Command) -> None:
    """``distill report``"""
    made = command(
        "report",
        commands.report,
        "show a run's report again, or several runs side by side",
        "distill report outputs/quickstart outputs/rotten_tomatoes",
        "print the reports as JSON",
    )
    made.add_argument("runs", metavar="RUN", nargs="+", help="folders of runs or bundles")
    made.set_defaults(words="runs")


def add_runtime(parser: argparse.ArgumentParser) -> None:
    """Which graph of a bundle answers, and with how many threads."""
    parser.add_argument("--variant", help="fp32, int8 …; the bundle's default when left out")
    parser.add_argument("--threads", type=int, help="threads of onnxruntime; all cores when left out")


def add_overrides(parser: argparse.ArgumentParser, example: str) -> None:
    """Words behind the recipe or the model, any number of them."""
    parser.add_argument(
        "overrides", metavar="KEY=VALUE", nargs="*", default=[], help=f"Hydra overrides, such as {example}"
    )
    parser.set_defaults(words="overrides")


def add_columns(parser: argparse.ArgumentParser, of_bundle: bool = False) -> None:
    """How the columns of a table are called; a label column that is left out is None. ``of_bundle``: so are the others,
    for the bundle knows them."""
    text = None if of_bundle else "text"
    before, trained = (
        ("as the bundle was trained, else ", " (default: as the bundle was trained)") if of_bundle else ("", "")
    )
    parser.add_argument("--text-column", default=text, help=f"column of texts (default: {before}text)")
    parser.add_argument("--pair-column", help=f"column of second texts, for pairs{trained}")
    parser.add_argument("--label-column", help=f"column of labels (default: {before}label)")


def add_generation(parser: argparse.ArgumentParser) -> None:
    """How a model writes; what is left out is absent, for the bundle knows it."""
    group = parser.add_argument_group("of a model that writes")

    def option(name: str, kind: type, metavar: str, text: str, **how: Any) -> None:
        group.add_argument(name, type=kind, metavar=metavar, help=text, default=argparse.SUPPRESS, **how)

    option("--max-new-tokens", int, "N", "tokens written at most (default: as the bundle says)")
    option("--beams", int, "N", "width of beam search; 1 writes token by token (default: as the bundle says)")
    option("--temperature", float, "T", "of sampling (default: 0, the most likely token)")
    option("--top-k", int, "K", "sample from the K most likely tokens (default: from all)")
    option("--top-p", float, "P", "sample from the fewest tokens that have probability P together (default: 1)")
    option("--repetition-penalty", float, "X", "make tokens less likely that stood before (default: 1, which does not)")
    option("--stop", str, "TEXT", "a text that ends what is written; may be given several times", action="append")
    option("--seed", int, "N", "of sampling (default: 0)")


def take_the_rest(options: argparse.Namespace, rest: Sequence[str]) -> None:
    """argparse stops filling a list of words at the first option; the words behind options belong to it, too.

    Raises UserError for an option that the command does not have.
    """
    for word in rest:
        if word.startswith("-") or not hasattr(options, "words"):
            hint = "; a text that begins with - goes behind --" if options.command == "predict" else ""
            raise UserError(f"unknown argument {word}; `distill {options.command} --help` shows what there is{hint}")
        getattr(options, options.words).append(word)
