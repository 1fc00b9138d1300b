"""From the configuration to the examples of a run: read, mapped, cleaned, split and checked."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property

from distill.config.schema import DataConfig, Source, TaskConfig
from distill.data.examples import check_known, label_counts, read_examples, single_texts
from distill.data.readers import find_split, is_table
from distill.data.recombination import recombined
from distill.data.splits import hold_out, sample
from distill.errors import UserError
from distill.sources import describe, validate
from distill.tasks import find
from distill.text.example import Example


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

    @cached_property
    def fingerprint(self) -> str:
        """Hexadecimal digest of all texts and labels, their order and splits."""
        digest = hashlib.blake2b(json.dumps(self.labels).encode(), digest_size=16)
        for split in (self.train, self.transfer, self.validation, self.test, self.out_of_scope):
            digest.update(len(split).to_bytes(8, "big"))
            for e in split:
                digest.update(json.dumps([e.text, e.pair, e.label, e.group], default=astuple).encode())
        return digest.hexdigest()


def load_data(config: DataConfig, task: TaskConfig) -> Dataset:
    """Reads all sources and holds out the splits that are missing.

    No text is in train twice, and none of train or transfer stands in validation or test. With ``config.label`` None
    nothing is labelled: train is empty and all texts are transfer texts.

    A task without labels, as sentence embeddings are, is learnt on single texts, so all of them are transfer texts,
    too; validation and test are pairs with a score, and none of their texts, on either side, is learnt on.

    Raises UserError for sources that cannot be had or read, missing columns, rows without a label, labels that no
    student could learn (fewer than two different ones, a class with a single example, one that train lacks), or an
    empty split.

    With ``config.labelled`` the labels of the other texts serve to drop rows and to make the splits, and are gone then.
    """
    sources = _sources(config, task)
    dropped: Counter[str] = Counter()
    notes: list[str] = []
    train = _clean(read_examples(sources["train"], "train", config, task, dropped), dropped, "")
    if not train:
        raise UserError(f"no text of {describe(sources['train'])} is left to train on; left out: {dict(dropped)}")
    held_out: dict[str, tuple[Example, ...]] = {"test": (), "validation": ()}
    for split in held_out:
        if split in sources:
            left_out: Counter[str] = Counter()
            held_out[split] = tuple(read_examples(sources[split], split, config, task, left_out))
            if not held_out[split]:
                raise UserError(f"no row of {describe(sources[split])} is left for {split}; left out: {dict(left_out)}")
            dropped.update({f"{split}: {reason}": count for reason, count in left_out.items()})
    train = _without_overlap(train, held_out, dropped, "")  # before more is held out of it
    if not train:
        raise UserError("every text of train also stands in validation or test; give other ones to train on")
    total = len(train)
    for split, share in (("test", config.test_share), ("validation", config.validation_share)):
        if split not in sources and share > 0:
            train, part = hold_out(train, max(1, round(share * total)), config.split_seed, split, bool(config.group))
            held_out[split] = tuple(part)
            by = f" by {config.group}" if config.group else ""
            notes.append(f"{split}: {len(part)} of {total} texts held out of train{by} (seed {config.split_seed})")
    if not held_out["validation"]:
        raise UserError("there is no validation data; give data.validation, or a data.validation_share above 0")
    train, transfer = _labelled_part(train, config, task)
    if "transfer" in sources:
        texts = _clean(read_examples(sources["transfer"], "transfer", config, task, dropped), dropped, "transfer: ")
        known = _contents([*train, *transfer])
        fresh = [e for e in texts if (e.text, e.pair) not in known]
        _count(dropped, "transfer: also in train", len(texts) - len(fresh))
        transfer += _without_overlap(fresh, held_out, dropped, "transfer: ")
    made: list[Example] = []
    if config.recombined:
        unseen = {str(e.text) for others in held_out.values() for e in single_texts(others)}
        made = recombined([*train, *transfer], unseen, config.recombined, config.split_seed)
        notes.append(f"transfer: {len(made)} further pairs, of texts of the training pairs that are near each other")
    out_of_scope: list[Example] = []
    if "out_of_scope" in sources:
        texts = read_examples(sources["out_of_scope"], "out_of_scope", config, task, dropped)
        texts = _clean(texts, dropped, "out of scope: ")
        out_of_scope = _without_overlap(texts, {"train": [*train, *transfer, *made]}, dropped, "out of scope: ")
        if not out_of_scope:
            where = describe(sources["out_of_scope"])
            raise UserError(f"every out-of-scope text of {where} is empty or stands in train; give others")
    if config.transfer_limit is not None and config.transfer_limit < len(transfer):
        notes.append(f"transfer: {config.transfer_limit} of {len(transfer)} texts without labels used")
        chosen = sample(config.transfer_limit, len(transfer), config.split_seed, "transfer")
        transfer = [e for index, e in enumerate(transfer) if index in chosen]
    transfer += made
    if shared := _contents(held_out["test"]) & _contents(held_out["validation"]):
        notes.append(f"{len(shared)} texts of validation also stand in test")
    return Dataset(
        train=tuple(train),
        transfer=tuple(transfer),
        validation=held_out["validation"],
        test=held_out["test"],
        labels=_labels(train, held_out, config, task),
        dropped=dict(dropped),
        licence="; ".join(dict.fromkeys(s.licence for s in sources.values() if s.licence)),
        source="; ".join(dict.fromkeys(map(describe, sources.values()))),
        notes=tuple(notes),
        out_of_scope=tuple(out_of_scope),
    )


def _sources(config: DataConfig, task: TaskConfig) -> dict[str, Source]:
    """The source of each split; what the configuration leaves open is looked for beside train."""
    if config.train is None:
        raise UserError("data.train is missing; name a hub data set, a path or a wheel")
    for key, share in (("validation_share", config.validation_share), ("test_share", config.test_share)):
        if not 0 <= share < 1:
            raise UserError(f"data.{key} is {share}; it is a share of the training rows, at least 0 and below 1")
    for key, count in (("labelled", config.labelled), ("transfer_limit", config.transfer_limit)):
        if count is not None and count < 0:
            raise UserError(f"data.{key} is {count}; it is a number of texts")
    sources = {}
    for split in ("train", "validation", "test", "transfer", "out_of_scope"):
        source: Source | None = getattr(config, split)
        if source is not None:
            validate(source, f"data.{split}")
            sources[split] = source
        elif split in ("transfer", "out_of_scope") or is_table(config.train):
            continue
        elif find_split(config.train, split, config.splits):
            sources[split] = config.train
    if find(task.name).label_free:
        needed = ("validation", "test") if config.test_share > 0 else ("validation",)
        if missing := [split for split in needed if split not in sources]:
            raise UserError(
                f"there is no {' and no '.join(missing)} data; {task.name} is measured on pairs with a score, which "
                f"cannot be held out of texts without scores: give {' and '.join(f'data.{split}' for split in missing)}"
            )
    return sources


def _blank(example: Example) -> bool:
    text = " ".join(example.text) if isinstance(example.text, tuple) else example.text
    return not text.strip() or (example.pair is not None and not example.pair.strip())


def _contents(examples: Sequence[Example]) -> set[tuple[object, object]]:
    return {(e.text, e.pair) for e in examples}


def _count(dropped: Counter[str], reason: str, rows: int) -> None:
    if rows:
        dropped[reason] += rows


def _clean(examples: Sequence[Example], dropped: Counter[str], prefix: str) -> list[Example]:
    """Without empty texts, and of equal texts only the first."""
    first: dict[tuple[object, object], Example] = {}
    for example in examples:
        content = (example.text, example.pair)
        if _blank(example):
            dropped[f"{prefix}empty text"] += 1
        elif content not in first:
            first[content] = example
        else:
            same = first[content].label == example.label
            dropped[f"{prefix}duplicate" if same else f"{prefix}duplicate with another label"] += 1
    return list(first.values())


def _without_overlap(
    examples: list[Example], held_out: Mapping[str, Sequence[Example]], dropped: Counter[str], prefix: str
) -> list[Example]:
    """Without examples that stand in another split; single texts must not be one side of a pair there, either."""
    for split, others in held_out.items():
        known = _contents([*others, *single_texts(others)])
        kept = [e for e in examples if (e.text, e.pair) not in known]
        _count(dropped, f"{prefix}also in {split}", len(examples) - len(kept))
        examples = kept
    return examples


def _labelled_part(train: list[Example], config: DataConfig, task: TaskConfig) -> tuple[list[Example], list[Example]]:
    """(labelled, without labels) of the training texts."""
    chosen = set(range(len(train)))
    if config.label is None or find(task.name).label_free:
        chosen = set()
    elif config.labelled is not None:
        if config.labelled > len(train):
            raise UserError(f"data.labelled is {config.labelled}, but train has {len(train)} texts; lower or remove it")
        chosen = sample(config.labelled, len(train), config.split_seed, "labelled")
    transfer = [Example(e.text, e.pair, None, e.group) for index, e in enumerate(train) if index not in chosen]
    return [e for index, e in enumerate(train) if index in chosen], transfer


def _labels(
    train: Sequence[Example], held_out: Mapping[str, Sequence[Example]], config: DataConfig, task: TaskConfig
) -> tuple[str, ...]:
    """The labels in order, after all checks on them."""
    asked = find(task.name)
    if config.label is None or asked.kind in ("span", "vector"):  # spans and vectors are no choice among few answers
        return task.labels if asked.labelled else ()
    used = label_counts(train)
    different = used if asked.kind == "categorical" else {e.label for e in train}
    among = f" among the {len(train)} labelled texts of train"
    if len(different) < 2:
        only = ", ".join(map(repr, different)) or "(none)"
        raise UserError(f"only the {asked.label_noun} {only}{among}; at least two are needed")
    if not asked.labelled:
        return ()
    single = sorted(label for label, count in used.items() if count == 1)
    more = f" and {len(single) - 5} other labels" if len(single) > 5 else ""
    if single and asked.one_label:
        raise UserError(
            f"only one example of {', '.join(map(repr, single[:5]))}{more}{among}; add examples, "
            + ("raise data.labelled, " if config.labelled is not None else "")
            + "or leave the label out with data.drop_labels"
        )
    if task.labels:
        check_known({"train": train, **held_out}, task.labels, "task.labels")
        return task.labels
    mend = "; add examples to train, or list all labels in task.labels"
    check_known(held_out, sorted(used), f"the labels{among}", mend)
    return tuple(sorted(used))
