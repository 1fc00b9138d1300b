"""All examples of a run, and the parts of them that a stage may read."""

import hashlib
import json
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from distill.text.example import Example

if TYPE_CHECKING:
    from distill.data.stream import Stream


@dataclass(frozen=True)
class Dataset:
    """All examples of a run."""

    train: tuple[Example, ...]
    """Labelled."""
    transfer: tuple[Example, ...]
    """Without labels: what ``labelled`` leaves over, the transfer source, and recombined pairs; all that a
    task without labels is learnt on."""
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    labels: tuple[str, ...]
    """In the order of a model's outputs; empty where nothing is labelled and the task names none, and where labels are
    numbers or spans."""
    dropped: dict[str, int]
    """Rows that were left out, by reason."""
    licence: str
    source: str
    """Where the data comes from, in words."""
    notes: tuple[str, ...]
    """What was done to the data that a reader of the report must know."""
    out_of_scope: tuple[Example, ...] = ()
    """Texts that belong to no label; none of them is learnt on."""
    warnings: tuple[str, ...] = ()
    """What is perhaps wrong with the data."""
    augmented: tuple[Example, ...] = ()
    """Texts made of those of train and transfer, without labels."""
    inherited: tuple[Example, ...] = ()
    """Those of them that were made of a text with a label, with this label."""
    stream: "Stream | None" = None
    """Further texts without labels, which are read shard by shard."""
    recombined: tuple[Example, ...] = ()
    """Those texts of transfer that are pairs made of the training pairs."""

    @cached_property
    def digests(self) -> dict[str, str]:
        """For each split a hexadecimal digest of its texts, labels and groups, and of their order."""
        found = {}
        for split in SPLITS:
            digest = hashlib.blake2b(digest_size=16)
            for e in getattr(self, split):
                digest.update(json.dumps([e.text, e.pair, e.label, e.group], default=astuple).encode())
            found[split] = digest.hexdigest()
        return found

    @property
    def fingerprint(self) -> str:
        """Hexadecimal digest of all texts and labels, their order and splits."""
        return hashlib.blake2b(json.dumps([self.labels, self.digests]).encode(), digest_size=16).hexdigest()

    def part(self, *splits: str) -> "Part":
        """Some of its splits, one after another."""
        return Part(self, splits)


SPLITS = ("train", "transfer", "validation", "test", "out_of_scope", "augmented", "inherited")


@dataclass(frozen=True)
class Part:
    """Some splits of a data set: what a stage that is given it can read, and nothing else of the data."""

    whole: Dataset
    splits: tuple[str, ...]

    @cached_property
    def examples(self) -> tuple[Example, ...]:
        """Those of all its splits, in order."""
        return tuple(e for split in self.splits for e in self.of(split))

    def of(self, split: str) -> tuple[Example, ...]:
        """Those of one of its splits. Raises ValueError for a split that is not part of it."""
        if split not in self.splits:
            raise ValueError(f"{split} is not among {self.splits}")
        examples: tuple[Example, ...] = getattr(self.whole, split)
        return examples

    @property
    def identity(self) -> dict[str, str]:
        """The digest of each split."""
        return {split: self.whole.digests[split] for split in self.splits}
