"""Whether teachers have learnt: `python benchmarks/teachers.py RECIPE… [KEY=VALUE …] [--out FOLDER]`.

Runs each recipe up to its teacher and prints every training of the search: learning rate, what differs, validation over
steps, best step of how many, and whether the best is the last, where more steps would have helped. Trainings are kept
under `outputs/`, where a run of the recipe finds them.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from distill.config import Config
from distill.config.compose import run_with_hydra
from distill.results import scale_of
from distill.stages.checks import check_before
from distill.stages.context import open_run
from distill.stages.teacher import prepare_teacher
from distill.stages.texts import read_data, read_texts


def search(config: Config) -> dict[str, Any]:
    """The trainings of a recipe's teacher; none where it was fine-tuned before."""
    check_before(config)
    this = open_run(config)
    texts = read_texts(this, read_data(this))
    teacher = prepare_teacher(this, texts)
    budget = getattr(getattr(config.teacher, "train", None), "steps", None)
    return {
        "recipe": config.recipe,
        "metric": texts.task.metric.name,
        "labelled": len(texts.dataset.train),
        "validation": len(texts.dataset.validation),
        "budget": budget,
        "precision": this.machine.precision,
        "seconds": sum(cost.seconds for cost in teacher.costs),
        "chosen": teacher.result.get("validation"),
        "candidates": [dataclasses.asdict(one) for one in teacher.candidates],
    }


def show(found: dict[str, Any]) -> None:
    """One line a training; the one that is taken has a star."""
    about = f"{found['labelled']} labelled texts, {found['validation']} in validation, {found['precision']}"
    print(f"{found['recipe']}: {found['metric']} of the teacher on validation; {about}; {found['seconds']:.0f} s")
    if not found["candidates"]:
        print("  fine-tuned before, or a file: nothing was trained")
    taken, scale = False, scale_of(found["metric"])

    def shown(value: float) -> str:
        return f"{scale.read(value):.{scale.digits}f}"

    for one in found["candidates"]:
        star = "*" if one["validation"] == found["chosen"] and not taken else " "
        taken |= star == "*"
        curve = " ".join(f"{point['step']}:{shown(point['validation'])}" for point in one["curve"])
        last = one["best_step"] == one["steps"]
        stopped = "" if one["steps"] == found["budget"] else f", stopped before {found['budget']}"
        best = f"best {shown(one['validation'])} at {one['best_step']} of {one['steps']}{stopped}"
        print(f" {star}{one['learning_rate']:g}, {one['what']}: {curve}; {best}{'; BEST AT THE LAST' if last else ''}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("words", metavar="RECIPE | KEY=VALUE", nargs="+", help="recipes, and overrides for all of them")
    parser.add_argument("--out", type=Path, help="folder for RECIPE.json, such as benchmarks/results/teachers")
    options = parser.parse_intermixed_args()
    overrides = [word for word in options.words if "=" in word]
    for recipe in (word for word in options.words if "=" not in word):
        configs: list[Config] = []
        run_with_hydra(recipe, overrides, [], configs.append)
        found = search(configs[0])
        show(found)
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            content = json.dumps({**found, "overrides": overrides}, indent=1)
            (options.out / f"{found['recipe']}.json").write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
