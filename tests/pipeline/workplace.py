"""A folder to run commands in."""

import contextlib
import csv
import io
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from distill.cli import main
from distill.results import Report, from_json


@dataclass
class Workplace:
    """A folder to run commands in, and the overrides of its run."""

    folder: Path
    overrides: list[str]
    status: int = 0
    out: str = ""
    err: str = ""
    rows: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def distill(self, *arguments: str) -> int:
        """Runs a command in the folder and keeps what it printed."""
        out, err = io.StringIO(), io.StringIO()
        before = Path.cwd()
        os.chdir(self.folder)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                self.status = main(list(arguments))
        finally:
            os.chdir(before)
            self.out, self.err = out.getvalue(), err.getvalue()
        return self.status

    def run(self, *overrides: str, recipe: str = "quickstart") -> int:
        return self.distill("run", recipe, *self.overrides, *overrides)

    def report(self, name: str = "small") -> Report:
        return from_json(Report, (self.folder / "outputs" / name / "report.json").read_text(encoding="utf-8"))

    def artifacts(self) -> dict[str, int]:
        """Finished stages, with the time each was finished."""
        return {p.parent.name: p.stat().st_mtime_ns for p in self.folder.glob("outputs/artifacts/*/done.json")}


Copier = Callable[[Workplace], Workplace]


def write_rows(path: Path, rows: Sequence[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_classifier(folder: Path, reviews_csv: Path, classifier: Path, first_text: int) -> None:
    """A fine-tuned classifier, 200 labelled reviews, and the reviews from one on without labels."""
    with reviews_csv.open() as file:
        rows = list(csv.DictReader(file))
    shutil.copytree(classifier, folder / "classifier")
    (folder / "texts.txt").write_text("\n".join(row["text"] for row in rows[first_text:]) + "\n")
    with (folder / "labelled.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sentence", "opinion"])
        writer.writerows((row["text"], row["label"]) for row in rows[:200])
