"""One, two and three processes side by side: `python benchmarks/processes.py RECIPE [KEY=VALUE …] [--out FOLDER]`.

Each count runs the whole recipe from nothing, under torch's launcher, in a folder of its own. With dropout, which each
process draws for itself, and in bf16 scores differ as those of two seeds do; without, in fp32, they are the same.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from distill.results import Report, from_json

COUNTS = (1, 2, 3)


def run(processes: int, words: list[str], folder: Path) -> dict[str, Any]:
    """Wall time, scores and training losses of a run by so many processes."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
    places = ["name=run", f"outputs={folder}/outputs", f"exports={folder}/exports"]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "distill", "run", *words, *places], stdout=subprocess.DEVNULL, check=False
    )
    seconds = time.perf_counter() - started
    path = folder / "outputs" / "run" / "report.json"
    if not path.is_file():
        raise SystemExit(f"the run by {processes} processes ended with {done.returncode}; its message stands above")
    report = from_json(Report, path.read_text(encoding="utf-8"))
    return {
        "processes": processes,
        "wall_seconds": seconds,
        "training_seconds": {arm.name: sum(seed.seconds for seed in arm.seeds) for arm in report.arms},
        "test": {arm.name: arm.score.value for arm in report.arms},
        "last_train_loss": {arm.name: [s.curve[-1].train_loss for s in arm.seeds if s.curve] for arm in report.arms},
        "bundle": (folder / "exports" / "run" / "bundle.json").is_file(),
        "machine": report.provenance.machine,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("words", metavar="RECIPE | KEY=VALUE", nargs="+", help="a recipe and overrides")
    parser.add_argument("--out", type=Path, help="folder for result.json, such as benchmarks/results/processes")
    parser.add_argument("--note", default="", help="what else the machine did, for the result")
    options = parser.parse_intermixed_args()
    found = []
    for processes in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            found.append(run(processes, options.words, Path(folder)))
    print(f"{'processes':22}" + "".join(f"{one['processes']:>12}" for one in found))
    print(f"{'wall time, s':22}" + "".join(f"{one['wall_seconds']:12.1f}" for one in found))
    for arm in found[0]["test"]:
        print(f"{arm + ' on test, %':22}" + "".join(f"{100 * one['test'][arm]:12.3f}" for one in found))
        for i in range(len(found[0]["last_train_loss"][arm])):
            losses = (one["last_train_loss"][arm][i] for one in found)
            print(f"{f'  last loss, seed {i}':22}" + "".join(f"{loss:12.7f}" for loss in losses))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        content = {"note": options.note, "words": options.words, "runs": found}
        (options.out / "result.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
