"""Every variant of a trained model side by side: `python benchmarks/variants.py FOLDER [--texts FILE] [--turns 5]`.

FOLDER is a bundle (exports/NAME) or a run whose bundle is there (outputs/NAME). Variants are made of the bundle's fp32
graphs. FILE has a text a line: the first half is what `int8_static` learns its ranges from, the second half is what is
answered. Without it ids are random, which tells time and size, but little of what a variant loses.

One thread, all in one process, in turns: in each turn every variant answers the texts one by one, then 32 at once.
Times are medians over the turns. `same`: share of answers (of tokens, where a model writes) that are fp32's most likely
one, with the mean and the largest difference of an output beside it.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill.config.rules import VARIANT_NAMES
from distill.config.schema import CALIBRATED, needs
from distill.errors import UserError
from distill.export.quantize import VARIANTS, Files
from distill.runtime import Bundle, Graphs, graph_file, load, stored
from distill.runtime.processor import int8_flags, runs_here
from distill.text import Encoded, Example, Target, pad
from distill.text.encoding import EMPTY

ANSWERED, TIMED, BATCH = 256, 20, 32
"""Texts that are compared; texts that are timed alone; texts that are timed together."""


def bundle_of(folder: Path) -> Bundle:
    """The fp32 variant of a bundle, or of the bundle of a run. Raises UserError where there is none."""
    if not (folder / "bundle.json").is_file() and (folder / "config.json").is_file():
        run = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        folder = Path(run.get("exports", "exports")) / run.get("name", folder.name)
    return load(folder, "fp32", threads=1)


def texts_of(bundle: Bundle, file: Path | None) -> list[Encoded]:
    """Those of the file as the model reads them; random ids without one."""
    if file is None:
        generator, size = np.random.default_rng(0), bundle.reading.vocabulary_size
        rows = [
            generator.integers(size, size=generator.integers(5, min(40, bundle.reading.max_length))) for _ in range(512)
        ]
        return [Encoded(row, 0 * row, EMPTY, False, target_ids=row) for row in rows]
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(lines) < 2 * BATCH:
        raise UserError(f"{file} has {len(lines)} texts; give at least {2 * BATCH}")
    writes = bundle.task.writes and not bundle.task.next_token.own_label
    return bundle.task.encode(bundle.reading, [Example(line, label=Target(line) if writes else None) for line in lines])


def make(variant: str, bundle: Bundle, texts: Sequence[Encoded], folder: Path) -> dict[str, Path] | str:
    """The graph of each role; in words why there is none."""
    if not runs_here(needs(variant)):
        return f"needs one of {', '.join(needs(variant))}"
    if variant == CALIBRATED and bundle.task.writes:
        return "is not made of a model that writes"
    sources = {role: bundle.directory / file for role, file in bundle.manifest.graphs["fp32"].items()}
    targets = {role: folder / graph_file(role, variant) for role in sources}
    VARIANTS[variant]({role: Files(sources[role], targets[role]) for role in sources}, texts)
    return targets


def outputs(graphs: Graphs, bundle: Bundle, texts: Sequence[Encoded]) -> Any:
    """What the graph that answers gives for these texts together."""
    return graphs.answer(bundle.task, pad(texts, bundle.reading.pad_id), bundle.task.read or ("logits",))[0]


def main() -> None:
    """Prints a line a variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    bundle = bundle_of(options.folder)
    texts = texts_of(bundle, options.texts)
    seen, asked = texts[: len(texts) // 2][:128], texts[len(texts) // 2 :][:ANSWERED]
    print(
        f"{bundle.manifest.name}: {len(asked)} {'texts' if options.texts else 'random texts'}, 1 thread, "
        f"{options.turns} turns; {' '.join(int8_flags())}"
    )
    with tempfile.TemporaryDirectory() as folder:
        made = {variant: make(variant, bundle, seen, Path(folder)) for variant in VARIANT_NAMES}
        graphs = {variant: Graphs(files, 1) for variant, files in made.items() if not isinstance(files, str)}
        alone: dict[str, list[float]] = {variant: [] for variant in graphs}
        together: dict[str, list[float]] = {variant: [] for variant in graphs}
        for _ in range(options.turns):
            for variant, one in graphs.items():
                for text in asked[:TIMED]:
                    start = time.perf_counter()
                    outputs(one, bundle, [text])
                    alone[variant].append(time.perf_counter() - start)
                start = time.perf_counter()
                outputs(one, bundle, asked[:BATCH])
                together[variant].append(time.perf_counter() - start)
        fp32 = [outputs(graphs["fp32"], bundle, [text])[0] for text in asked]
        print(f"{'':13}{'MB':>8}{'same':>10}{'off by':>10}{'at most':>10}{'ms, alone':>12}{'texts/s, 32':>13}")
        for variant, files in made.items():
            if isinstance(files, str):
                print(f"{variant:13}  {files}")
                continue
            size = sum(path.stat().st_size for file in files.values() for path in stored(file)) / 1e6
            found = [outputs(graphs[variant], bundle, [text])[0] for text in asked]
            same = np.concatenate([np.ravel(a.argmax(-1) == b.argmax(-1)) for a, b in zip(fp32, found, strict=True)])
            off = np.concatenate([np.ravel(np.abs(a - b)) for a, b in zip(fp32, found, strict=True)])
            p50, seconds = 1e3 * statistics.median(alone[variant]), statistics.median(together[variant])
            print(
                f"{variant:13}{size:8.2f}{100 * same.mean():9.2f}%{off.mean():10.4f}{off.max():10.4f}{p50:12.2f}"
                f"{BATCH / seconds:13.1f}"
            )


if __name__ == "__main__":
    main()
