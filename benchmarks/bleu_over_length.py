"""BLEU over the length of the source: `python benchmarks/bleu_over_length.py TEST BUNDLE…`.

TEST is a file of pairs, or with `--suffixes en de` the folder of two text files or what stands before .en and .de. A
BUNDLE is a folder, `exports/NAME` or the run `outputs/NAME` that made it; `lstm=exports/NAME` gives it another name.
Sources stand in bins by their words, as the first bundle's tokenizer parts them; intervals are of 95 % over texts. With
`--join 2,3` neighbouring pairs are joined two by two and three by three as well, for longer sources than a corpus has;
a pair then stands in one bin by itself and in another as a part. Writes
`benchmarks/results/bleu_over_length/` (figures and a plot). As Bahdanau, Cho and Bengio (2014) have it in figure 2. No
torch is needed.
"""

import argparse
import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from tokenizers import Tokenizer

from distill import Bundle, load
from distill.config.data import DataConfig, Source, TaskConfig
from distill.data import in_words, load_examples
from distill.errors import UserError
from distill.evaluation.intervals import score_over_seeds
from distill.metrics import bleu
from distill.results import Estimate
from distill.text import Example, Target

LONGEST = (8, 12, 16, 24, 36, 48)
"""Words of a source, the most in each bin; one more bin holds the rest."""
TOKENS = 2048
"""Of a batch."""
RESULTS = Path(__file__).parent / "results" / "bleu_over_length"


@dataclass(frozen=True)
class Bin:
    """Sources of about the same length, and BLEU of each bundle on them."""

    words: str
    texts: int
    bleu: dict[str, Estimate]
    cut: dict[str, int]
    """Sources that were longer than a bundle reads."""


def joined(examples: Sequence[Example], count: int) -> list[Example]:
    """Every ``count`` neighbours as one pair; those left over at the end are left out."""
    groups = zip(*[iter(examples)] * count, strict=False)
    return [Example(" ".join(map(text_of, group)), label=Target(" ".join(map(target_of, group)))) for group in groups]


def text_of(example: Example) -> str:
    return str(example.text)


def target_of(example: Example) -> str:
    assert isinstance(example.label, Target)
    return example.label.text


def words_in(bundle: Bundle, examples: Sequence[Example]) -> list[int]:
    """Words of each source, in as many pieces as the vocabulary makes of them."""
    tokenizer = Tokenizer.from_str(bundle.reading.tokenizer.to_str())
    tokenizer.no_truncation()
    encodings = tokenizer.encode_batch([text_of(e) for e in examples], add_special_tokens=False)
    return [len({*encoding.word_ids} - {None}) for encoding in encodings]


def bins_of(words: Sequence[int]) -> dict[str, list[int]]:
    """The numbers of the texts in each bin that is not empty."""
    ends = [0, *LONGEST, math.inf]
    named = {f"{low + 1}-{high}" if high < math.inf else f"{low + 1}+": (low, high) for low, high in pairwise(ends)}
    found = {
        name: [row for row, count in enumerate(words) if low < max(1, count) <= high]
        for name, (low, high) in named.items()
    }
    return {name: rows for name, rows in found.items() if rows}


def measured(bundles: dict[str, Bundle], examples: Sequence[Example]) -> list[Bin]:
    """Each bin, the shortest sources first."""
    for name, bundle in bundles.items():
        if bundle.task.name != "text-to-text":
            raise UserError(f"{name} is a bundle for {bundle.task.name}; give some of text-to-text")
    bins = bins_of(words_in(next(iter(bundles.values())), examples))
    gold = [target_of(e) for e in examples]
    statistics, cut = {}, {}
    for name, bundle in bundles.items():
        statistics[name] = bleu.statistics(bundle.task.predictions(bundle.logits(examples, TOKENS), examples), gold)
        cut[name] = np.array([e.truncated for e in bundle.reading.encode([Example(e.text) for e in examples])])
    return [
        Bin(
            words,
            len(rows),
            {name: score_over_seeds(bleu, statistics[name][None, rows]) for name in bundles},
            {name: int(cut[name][rows].sum()) for name in bundles},
        )
        for words, rows in bins.items()
    ]


def opened(named: str, variant: str | None) -> tuple[str, Bundle]:
    """A bundle and its name. A run's bundle lies where its report says."""
    name, _, place = named.rpartition("=")
    folder = Path(place)
    report = folder / "report.json"
    if not (folder / "bundle.json").is_file() and report.is_file():
        said = json.loads(report.read_text(encoding="utf-8"))
        folder = Path(said["provenance"]["settings"]["exports"]) / said["name"]
    return name or Path(place).name, load(folder, variant)


def draw(bins: Sequence[Bin]) -> Figure:
    """A line a bundle."""
    figure, axis = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
    names = list(bins[0].bleu)
    for number, name in enumerate(names):
        value, low, high = (
            100 * np.array([getattr(one.bleu[name], key) for one in bins]) for key in ("value", "low", "high")
        )
        ends = np.where(np.isfinite([value - low, high - value]), [value - low, high - value], 0)
        places = np.arange(len(bins)) + 0.08 * (number - (len(names) - 1) / 2)  # beside each other
        axis.errorbar(places, value, ends, marker="o", capsize=3, label=name)
    axis.set_xticks(range(len(bins)), [f"{one.words}\n{one.texts:,} texts" for one in bins])
    axis.set(xlabel="words of the source", ylabel="BLEU", ylim=(0, None))
    axis.grid(alpha=0.3)
    axis.legend()
    return figure


def shown(bins: Sequence[Bin]) -> str:
    """The table."""
    names = list(bins[0].bleu)
    width = max(20, *(len(name) + 2 for name in names))
    lines = [f"{'words':>8} {'texts':>7}" + "".join(f"{name:>{width}}" for name in names)]
    for one in bins:
        cells = []
        for estimate in one.bleu.values():
            bounds = f" [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]" if math.isfinite(estimate.low) else ""
            cells.append(f"{100 * estimate.value:.1f}{bounds}")
        lines.append(f"{one.words:>8} {one.texts:>7,}" + "".join(f"{cell:>{width}}" for cell in cells))
    for name in names:
        if count := sum(one.cut[name] for one in bins):
            lines.append(f"{name} reads no more than a part of {count:,} sources, which are longer than its maximum")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("test", help="file or folder of pairs")
    parser.add_argument("bundles", metavar="BUNDLE", nargs="+", help="exports/NAME, outputs/NAME or NAME=FOLDER")
    parser.add_argument("--suffixes", nargs=2, default=(), help="of two text files, the source's first")
    parser.add_argument("--columns", nargs=2, default=("source", "target"), help="of source and target in other files")
    parser.add_argument("--join", default="", help="how many neighbours make a longer pair, such as 2,3")
    parser.add_argument("--texts", type=int, help="the first so many pairs alone")
    parser.add_argument("--variant", help="fp32, for one; else each bundle's default")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    text, label = options.columns
    columns = DataConfig(text=text, label=label)
    source = Source(path=options.test, suffixes=tuple(options.suffixes))
    pairs, left_out = load_examples(source, columns, TaskConfig(name="text-to-text"), ())
    if left_out:
        print(f"left out: {in_words(left_out)}")
    pairs = pairs[: options.texts]
    examples = [*pairs, *(one for count in options.join.split(",") if count for one in joined(pairs, int(count)))]
    bundles = dict(opened(named, options.variant) for named in options.bundles)
    if len(bundles) < len(options.bundles):
        parser.error(f"two bundles have one name: {', '.join(options.bundles)}; give one as NAME=FOLDER")
    bins = measured(bundles, examples)
    print(shown(bins))
    options.out.mkdir(parents=True, exist_ok=True)
    draw(bins).savefig(options.out / "bleu_over_length.png", dpi=150)
    figures = json.dumps([dataclasses.asdict(one) for one in bins], indent=1)
    (options.out / "figures.json").write_text(figures + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
