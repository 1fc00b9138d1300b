"""What a search for a target chooses, and what training every rung of the ladder would have chosen:
`python benchmarks/compress_targets.py MODEL --texts FILE [--labelled FILE] [--target KEY=NUMBER,… …] [KEY=VALUE …]`.

One `distill compress MODEL --target` for each target, then every rung trained fully. Trainings, exports and
measurements are shared, so that figures are those of the same files. Runs are resumable. Minutes are of the trainings
of students: for a search those of the short and the full ones, as if it were alone; for every rung those of the full
ones. Writes `benchmarks/results/compress_targets/NAME.json` and prints the table.
"""

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any

from runs import table

from distill import commands
from distill.cli import OF_TORCH, make_parser
from distill.errors import UserError
from distill.evaluation.choice import choose
from distill.ladder import Trained, ladder, layers_of, rung_of, search, teachers_of
from distill.pipeline import run
from distill.progress import say
from distill.results import Search, TargetResult, scale_of, to_json

RESULTS = Path(__file__).parent / "results" / "compress_targets"
TARGETS = ("drop=1", "drop=2,size_mb=10", "drop=3,latency_ms=2", "drop=0,size_mb=1")
"""The last one is to be met by nothing."""
HEAD = ["target", "met", "chosen", "drop", "MB", "p50, ms", "trained fully", "min", "every rung", "min", "same"]


def given_for(options: argparse.Namespace, target: str, name: str) -> Any:
    """The command's own options for a target."""
    words = ["compress", options.model, *options.overrides, f"name={name}", "--texts", options.texts]
    words += ["--target", target, "--text-column", options.text_column]
    if options.labelled:
        words += ["--labelled", options.labelled, "--label-column", options.label_column]
    return make_parser().parse_args(words)


def every_rung(given: Any) -> list[Trained]:
    """All of the ladder, trained fully."""
    config_of = commands.rungs_of(given)
    base, found = config_of(()), []
    for name, sets in ladder(layers_of(base)).items():
        try:
            config = rung_of(config_of(sets), name, str(Path(base.outputs) / base.name / "bundles"))
            found.append(Trained(name, config, run(config).report))
        except UserError as error:  # as in a search: a rung that this teacher or task does not have
            say(f"{name}: left out ({error})")
    return found


def chosen_of(every: list[Trained], limits: dict[str, float]) -> TargetResult:
    """What would have been chosen of all."""
    return choose([*teachers_of(every[0].report), *(offer for one in every for offer in one.offers)], limits)


def row(target: str, found: Search, of_all: TargetResult, minutes: float) -> list[str]:
    """A target."""
    taken, gains = found.target.taken, scale_of(found.metric).gains
    full = sum(rung.trained == "full" for rung in found.rungs)
    missed = ", ".join(f"{name} by {over:.3g}" for name, over in found.target.missed.items())
    return [
        target,
        f"no: {missed}" if missed else "yes" if found.target.shown else "by the estimate",
        taken.name,
        f"{gains.read(taken.drop.value / 100):.{gains.digits + 1}f}",
        f"{taken.size_mb:.2f}",
        f"{taken.latency_ms:.2f}",
        f"{full} of {len(found.rungs)}",
        f"{found.training_seconds / 60:.1f}",
        of_all.chosen,
        f"{minutes:.1f}",
        "yes" if of_all.chosen == found.target.chosen else "no",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--texts", required=True)
    parser.add_argument("--labelled")
    parser.add_argument("--target", action="append", help=f"several times; else {' '.join(TARGETS)}")
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--name", default="targets", help="of the runs and of the file of results")
    options = parser.parse_intermixed_args()
    for name, value in OF_TORCH.items():  # as of the command, before torch is imported
        os.environ.setdefault(name, value)
    searches: list[tuple[str, Search]] = []
    for number, target in enumerate(options.target or TARGETS, start=1):
        searches.append((target, search(commands.rungs_of(given_for(options, target, f"{options.name}-{number}")))[0]))
        print(f"{target}: {searches[-1][1].target.chosen}", flush=True)
    every = every_rung(given_for(options, searches[0][0], f"{options.name}-every"))
    minutes = math.fsum(one.seconds for one in every) / 60
    choices = [chosen_of(every, found.target.limits) for _, found in searches]
    rows = [row(target, found, of_all, minutes) for (target, found), of_all in zip(searches, choices, strict=True)]
    RESULTS.mkdir(parents=True, exist_ok=True)
    found = {
        "overrides": options.overrides,
        "searches": [{"target": target, "found": json.loads(to_json(one))} for target, one in searches],
        "every_rung": [json.loads(to_json(one)) for one in choices],
        "minutes_of_every_rung": minutes,
        "provenance": json.loads(to_json(every[0].report))["provenance"],
    }
    (RESULTS / f"{options.name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print(table(HEAD, rows))


if __name__ == "__main__":
    main()
