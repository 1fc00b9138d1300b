"""From the configuration to the examples of a run: read, mapped, cleaned, split and checked."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from distill.config.data import DataConfig, Source, TaskConfig
from distill.data.closeness import nearest_to
from distill.data.dataset import Dataset
from distill.data.examples import EMPTY_TEXT, Seen, blank, check_known, label_counts, read_examples
from distill.data.readers import find_split, is_table
from distill.data.recombination import recombined
from distill.data.splits import hold_out, sample, with_each_label, without_overlap
from distill.data.variants import alike, content_of, normal_form, pieces_of
from distill.errors import UserError, nearest
from distill.sources import describe, validate
from distill.tasks import find
from distill.text.example import Example

MANY = 0.05
"""Share of the rows from which on contradictions among them are told, and not only counted."""


def load_data(config: DataConfig, task: TaskConfig) -> Dataset:
    """Reads all sources and holds out the splits that are missing.

    No text is in train twice, and no text, pair in either order, variant in case and blanks or group stands in two of
    train with transfer, validation and test: what also stands in test, or in validation, is left out of the others.
    With ``config.label`` None nothing is labelled: train is empty and all texts are transfer texts.

    A task without labels, as sentence embeddings are, is learnt on single texts, so all of them are transfer texts,
    too; validation and test are pairs with a score, and none of their texts, on either side, is learnt on.

    Raises UserError for sources that cannot be had or read, missing columns, rows without a label, labels that no
    student could learn (fewer than two different ones, a class with a single example, one that train lacks), a
    ``config.label_map`` or ``config.drop_labels`` of labels that no row has, or an empty split.

    With ``config.labelled`` the labels of the other texts serve to drop rows and to make the splits, and are gone then.
    """
    load = _Loading(config, task, _sources(config, task))
    dropped, sources = load.dropped, load.sources
    train, contradictions = load.train()
    if not train:
        raise UserError(f"no text of {describe(sources['train'])} is left to train on; left out: {dict(dropped)}")
    held_out = load.held_out()
    train = without_overlap(train, held_out, dropped, "")  # before more is held out of it
    if not train:
        raise UserError("every text of train also stands in validation or test; give other ones to train on")
    total = len(train)
    for split, share in (("test", config.test_share), ("validation", config.validation_share)):
        if split not in sources and share > 0:
            train, part = hold_out(train, max(1, round(share * total)), config.split_seed, split, bool(config.group))
            train = without_overlap(train, {split: part}, dropped, "")
            held_out[split] = part
            by = f" by {config.group}" if config.group else ""
            load.notes.append(f"{split}: {len(part)} of {total} texts held out of train{by} (seed {config.split_seed})")
    if not held_out["validation"]:
        raise UserError("there is no validation data; give data.validation, or a data.validation_share above 0")
    _check_label_map(config, load.labels)
    _check_drop_labels(config, load.labels)
    train, transfer = _labelled_part(train, config, task)
    transfer += load.transfer([*train, *transfer], held_out)
    made = load.recombined([*train, *transfer], held_out)
    out_of_scope = load.out_of_scope([*train, *transfer, *made])
    transfer = load.limited(transfer, train)
    labels = _labels(train, held_out, config, task)
    return Dataset(
        train=tuple(train),
        transfer=(*transfer, *made),
        validation=tuple(held_out["validation"]),
        test=tuple(held_out["test"]),
        labels=labels,
        dropped=dict(dropped),
        licence="; ".join(dict.fromkeys(s.licence for s in sources.values() if s.licence)),
        source="; ".join(dict.fromkeys(map(describe, sources.values()))),
        notes=tuple(load.notes),
        out_of_scope=tuple(out_of_scope),
        warnings=(*_look_alikes(labels), *contradictions),
        recombined=tuple(made),
    )


@dataclass(frozen=True)
class _Loading:
    """What is asked for, and what was seen on the way."""

    config: DataConfig
    task: TaskConfig
    sources: dict[str, Source]
    """By split, of several for transfer ``transfer[0]``, ``transfer[1]`` …"""
    dropped: Counter[str] = field(default_factory=Counter)
    labels: set[str] = field(default_factory=set)
    """As the data writes them."""
    notes: list[str] = field(default_factory=list)
    origin: dict[bytes, str] = field(default_factory=dict)
    """Of texts of several transfer sources, by their key, the source's."""

    @property
    def transfer_keys(self) -> list[str]:
        """Of the transfer sources."""
        return [key for key in self.sources if key.startswith("transfer")]

    def read(self, key: str, prefix: str = "") -> list[Example]:
        """The examples of one source."""
        seen, split = Seen(), key.partition("[")[0]
        examples = read_examples(self.sources[key], split, self.config, self.task, seen)
        self.labels.update(seen.labels)
        self.dropped.update({f"{prefix}{reason}": count for reason, count in seen.dropped.items()})
        if self.config.group and not any(e.group for e in examples):
            self.notes.append(f"{key}: no row has a {self.config.group}, so its texts alone keep it apart from others")
        return examples

    def train(self) -> tuple[list[Example], tuple[str, ...]]:
        """The training texts, each once, and a warning where many stand there with another label, too."""
        rows = self.read("train")
        return _clean(rows, self.dropped, ""), _contradictions(rows)

    def held_out(self) -> dict[str, list[Example]]:
        """Test and validation, empty where there is no source; what also stands in test is no validation text."""
        found: dict[str, list[Example]] = {"test": [], "validation": []}
        for split in found:
            if split not in self.sources:
                continue
            examples = self.read(split, f"{split}: ")
            found[split] = without_overlap(examples, found, self.dropped, f"{split}: ")
            if not found[split]:
                where, reasons = describe(self.sources[split]), self.dropped.items()
                left_out = {r.removeprefix(f"{split}: "): count for r, count in reasons if r.startswith(f"{split}: ")}
                raise UserError(f"no row of {where} is left for {split}; left out: {left_out}")
        return found

    def transfer(self, train: Sequence[Example], held_out: Mapping[str, Sequence[Example]]) -> list[Example]:
        """The texts of the transfer sources that are not in ``train`` already, each once; of several sources each is
        known by its key in ``origin``."""
        found: list[Example] = []
        known = {(e.text, e.pair) for e in train}
        for key in self.transfer_keys:
            texts = _clean(self.read(key), self.dropped, "transfer: ")
            fresh = [e for e in texts if (e.text, e.pair) not in known]
            if len(fresh) < len(texts):
                self.dropped["transfer: also in train"] += len(texts) - len(fresh)
            earlier = {content_of(e) for e in found}
            new = [e for e in fresh if content_of(e) not in earlier]
            if len(new) < len(fresh):
                self.dropped["transfer: also in an earlier source"] += len(fresh) - len(new)
            kept = without_overlap(new, held_out, self.dropped, "transfer: ")
            if len(self.transfer_keys) > 1:
                self.origin.update((e.key, key) for e in kept)
            found += kept
        return found

    def recombined(self, train: Sequence[Example], held_out: Mapping[str, Sequence[Example]]) -> list[Example]:
        """Further pairs of the texts of ``train``, where they are asked for."""
        count = self.config.recombined
        if not count:
            return []
        unseen = {normal_form(piece) for others in held_out.values() for e in others for piece in pieces_of(e)}
        made = recombined(train, unseen, count, self.config.split_seed)
        self.notes.append(
            f"transfer: {len(made)} further pairs, of texts of the training pairs that are near each other"
        )
        return made

    def out_of_scope(self, learnt: list[Example]) -> list[Example]:
        """Texts that belong to no label, none of them ``learnt``."""
        if "out_of_scope" not in self.sources:
            return []
        texts = _clean(self.read("out_of_scope"), self.dropped, "out of scope: ")
        kept = without_overlap(texts, {"train": learnt}, self.dropped, "out of scope: ")
        if not kept:
            where = describe(self.sources["out_of_scope"])
            raise UserError(f"every out-of-scope text of {where} is empty or stands in train; give others")
        return kept

    def limited(self, transfer: list[Example], train: Sequence[Example]) -> list[Example]:
        """At most ``transfer_limit`` of them; of several sources the share of each is noted."""
        limit = self.config.transfer_limit
        too_many = limit is not None and limit < len(transfer)
        chosen_later = too_many and self.config.transfer_choice == "unsure"
        if limit is not None and too_many and not chosen_later:
            note = f"transfer: {limit} of {len(transfer)} texts without labels used"
            if self.config.transfer_choice == "close":
                chosen = nearest_to(train, transfer, limit)
                note += ", those nearest to the labelled texts"
            else:
                chosen = sample(limit, len(transfer), self.config.split_seed, "transfer")
            self.notes.append(note)
            transfer = [e for index, e in enumerate(transfer) if index in chosen]
        if self.origin:
            shares = Counter(self.origin.get(e.key, "train") for e in transfer)
            keys = ["train"] * ("train" in shares) + self.transfer_keys
            said = ", ".join(f"{shares[key]:,} texts of {describe(self.sources[key])}" for key in keys)
            self.notes.append(f"transfer{', before the choice' * chosen_later}: {said}")
        return transfer


def _sources(config: DataConfig, task: TaskConfig) -> dict[str, Source]:
    """The source of each split; what the configuration leaves open is looked for beside train."""
    if config.train is None:
        raise UserError("data.train is missing; name a hub data set, a path or a wheel")
    if config.label_map and not find(task.name).labelled:
        raise UserError(f"data.label_map gives names to labels, but {task.name} has none; leave it out")
    for key, share in (("validation_share", config.validation_share), ("test_share", config.test_share)):
        if not 0 <= share < 1:
            raise UserError(f"data.{key} is {share}; it is a share of the training rows, at least 0 and below 1")
    if twice := [name for name, count in Counter(task.labels).items() if count > 1]:
        raise UserError(f"task.labels has {', '.join(map(repr, twice))} twice; give each label once")
    for key, count in (("labelled", config.labelled), ("transfer_limit", config.transfer_limit)):
        if count is not None and count < 0:
            raise UserError(f"data.{key} is {count}; it is a number of texts")
    sources = {}
    several = config.transfer or ()
    given = {
        "train": config.train,
        "validation": config.validation,
        "test": config.test,
        **{"transfer" if len(several) == 1 else f"transfer[{i}]": one for i, one in enumerate(several)},
        "out_of_scope": config.out_of_scope,
    }
    for split, source in given.items():
        if source is not None:
            validate(source, f"data.{split}")
            sources[split] = source
        elif split == "out_of_scope" or is_table(config.train):
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
    both = config.validation_share + config.test_share
    if both >= 1 and not sources.keys() & {"validation", "test"}:
        raise UserError(
            f"data.validation_share is {config.validation_share:g} and data.test_share is {config.test_share:g}, which "
            "are both held out of train; lower one: together they must be below 1, so that train keeps texts"
        )
    return sources


def _clean(examples: Sequence[Example], dropped: Counter[str], prefix: str) -> list[Example]:
    """Without empty texts, and of equal texts only the first."""
    first: dict[tuple[object, object], Example] = {}
    for example in examples:
        content = (example.text, example.pair)
        if blank(example):
            dropped[f"{prefix}{EMPTY_TEXT}"] += 1
        elif content not in first:
            first[content] = example
        else:
            same = first[content].label == example.label
            dropped[f"{prefix}duplicate" if same else f"{prefix}duplicate with another label"] += 1
    return list(first.values())


def _contradictions(rows: Sequence[Example]) -> tuple[str, ...]:
    """A warning where ``MANY`` of the rows have a text that stands in an earlier row with another label."""
    first: dict[tuple[object, object], Example] = {}
    others = [e for e in rows if first.setdefault((e.text, e.pair), e).label != e.label and not blank(e)]
    if not others or len(others) < MANY * len(rows):
        return ()
    text = " ".join(others[0].text) if isinstance(others[0].text, tuple) else others[0].text
    return (
        f"{len(others):,} of {len(rows):,} rows of train have a text that an earlier row gives another label, such as "
        f"{text[:60]!r}; the first label counts, so decide for one and mend the others",
    )


def _labelled_part(train: list[Example], config: DataConfig, task: TaskConfig) -> tuple[list[Example], list[Example]]:
    """(labelled, without labels) of the training texts."""
    asked = find(task.name)
    chosen = set(range(len(train)))
    if config.label is None or asked.label_free:
        chosen = set()
    elif config.labelled is not None:
        if config.labelled > len(train):
            raise UserError(f"data.labelled is {config.labelled}, but train has {len(train)} texts; lower or remove it")
        chosen = sample(config.labelled, len(train), config.split_seed, "labelled")
        if asked.one_label or asked.kind == "bernoulli":
            chosen = with_each_label(chosen, train, config.split_seed)
    transfer = [Example(e.text, e.pair, None, e.group) for index, e in enumerate(train) if index not in chosen]
    return [e for index, e in enumerate(train) if index in chosen], transfer


def _check_label_map(config: DataConfig, labels: Collection[str]) -> None:
    """Raises UserError for a key that is none of the labels in the data: a slip would leave a label as it was."""
    if config.label is None:
        return
    for name in config.label_map:
        if name not in labels:
            raise UserError(f"data.label_map names '{name}', but no row has this label{nearest(name, labels)}")


def _check_drop_labels(config: DataConfig, labels: Collection[str]) -> None:
    """Raises UserError for a label to drop that is none of the data, neither as it writes it nor as it is named, and
    for a name that means two: as the data writes one and as another is named."""
    if config.label is None and config.drop_labels:
        raise UserError("data.label is null, so no row has a label for data.drop_labels to find; leave it out")
    known = {*labels, *(config.label_map.get(label, label) for label in labels)}
    for name in config.drop_labels:
        if name not in known:
            raise UserError(f"data.drop_labels names '{name}', but no row has this label{nearest(name, known)}")
        own = config.label_map.get(name, name)
        others = sorted(raw for raw in labels if raw != name and config.label_map.get(raw) == name)
        if name in labels and own != name and others:
            raise UserError(
                f"data.drop_labels names '{name}', which the data writes where data.label_map says '{own}', and which "
                f"data.label_map says of '{others[0]}'; give what is to be left out a name of its own there"
            )


def _look_alikes(labels: Sequence[str]) -> tuple[str, ...]:
    """A warning for each group of labels that are perhaps one."""
    return tuple(
        f"the labels {' and '.join(map(ascii, names))} differ in case, blanks or Unicode form alone: if they are one, "
        "give them one name with data.label_map"
        for names in alike(labels)
    )


def _labels(
    train: Sequence[Example], held_out: Mapping[str, Sequence[Example]], config: DataConfig, task: TaskConfig
) -> tuple[str, ...]:
    """The labels in order, after all checks on them."""
    asked = find(task.name)
    if config.label is None or asked.kind in ("span", "vector", "token"):  # which are no choice among few labels
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
