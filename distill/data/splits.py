"""Holding a part of the rows out, the same part at every run with the same seed, and keeping the parts apart."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from distill.data.variants import content_of, normal_form, pieces_of
from distill.errors import UserError
from distill.tasks.cells import names_of
from distill.text.example import Example


def hold_out(
    examples: Sequence[Example], count: int, seed: int, name: str, by_group: bool
) -> tuple[list[Example], list[Example]]:
    """Parts ``count`` examples, or a few more where groups stay together, from the others.

    By group: groups are shuffled and taken until the count is reached. Else: stratified by label (for tags and sets of
    labels by the rarest one; numbers and spans are one stratum), and the first two examples of each label are never
    taken.

    Returns (kept, held out), both in the order of ``examples``. ``name`` gives each split a shuffle of its own.
    Raises UserError when nothing would be kept, or nothing held out.
    """
    rng = random.Random(f"{name} {seed}")
    taken = _by_group(examples, count, rng) if by_group else _stratified(examples, count, rng)
    if not 0 < len(taken) < len(examples):
        rule = "groups stay together"
        if not by_group:
            labels = len({name for example in examples for name in names_of(example.label)})
            rule = f"two of each label stay in train, and there are {labels} labels" if labels else "at least one stays"
        raise UserError(
            f"{count} of {len(examples)} rows cannot be held out for {name} ({rule}); give more data, a {name} source,"
            f" or set data.{name}_share"
        )
    kept = [example for index, example in enumerate(examples) if index not in taken]
    return kept, [examples[index] for index in sorted(taken)]


def without_overlap(
    examples: list[Example], held_out: Mapping[str, Sequence[Example]], dropped: Counter[str], prefix: str
) -> list[Example]:
    """Without examples whose text, in whatever case and blanks, or whose group stands in another split, too.

    A pair is the same as its mirror image, and a single text must not be one side of a pair there, either. What is left
    out is counted.
    """
    for split, others in held_out.items():
        pieces = {(normal_form(piece),) for e in others for piece in pieces_of(e)}
        known = pieces.union(content_of(e) for e in others if e.pair is not None)
        groups = {e.group for e in others} - {None}
        apart = [e for e in examples if content_of(e) not in known]
        kept = [e for e in apart if e.group not in groups]
        for reason, count in (("also", len(examples) - len(apart)), ("of a group", len(apart) - len(kept))):
            if count:
                dropped[f"{prefix}{reason} in {split}"] += count
        examples = kept
    return examples


def sample(count: int, total: int, seed: int, name: str) -> set[int]:
    """A seeded choice of ``count`` of the indices below ``total``."""
    return set(random.Random(f"{name} {seed}").sample(range(total), count))


def with_each_label(chosen: set[int], examples: Sequence[Example], seed: int) -> set[int]:
    """``chosen`` indices of ``examples``, of which a seeded choice gives way to others until there are two of each
    label; ``chosen`` itself where there are, or where it is too small to hold so many."""
    rng = random.Random(f"each label {seed}")
    kept = sorted(chosen)
    others = sorted(set(range(len(examples))) - chosen)
    rng.shuffle(kept)
    rng.shuffle(others)
    seen: Counter[str] = Counter()
    needed: list[int] = []
    for index in [*kept, *others]:
        names = set(names_of(examples[index].label))
        if any(seen[name] < 2 for name in names):
            needed.append(index)
            seen.update(names)
    if len(needed) > len(chosen):
        return chosen
    taken = set(needed)
    free = [index for index in kept if index not in taken]
    return {*needed, *free[: len(chosen) - len(needed)]}


def _by_group(examples: Sequence[Example], count: int, rng: random.Random) -> set[int]:
    members: dict[object, list[int]] = {}
    for index, example in enumerate(examples):
        members.setdefault(example.group or index, []).append(index)  # a row without a group is one of its own
    groups = list(members.values())
    rng.shuffle(groups)
    taken: set[int] = set()
    for group in groups:
        if len(taken) >= count:
            break
        taken.update(group)
    return taken


def _stratified(examples: Sequence[Example], count: int, rng: random.Random) -> set[int]:
    frequency = Counter(name for e in examples for name in names_of(e.label))

    def stratum(example: Example) -> str:
        return min(names_of(example.label), key=lambda name: (frequency[name], name), default="")

    order = list(range(len(examples)))
    rng.shuffle(order)
    seen: Counter[str] = Counter()
    candidates: list[tuple[str, int]] = []
    for index in order:
        label = stratum(examples[index])
        seen[label] += 1
        if seen[label] > 2:
            candidates.append((label, index))
    candidates.sort(key=lambda candidate: candidate[0])  # stable: shuffled inside a label
    total = len(candidates)
    count = min(count, total)
    # every (total / count)th of them, so that each label gives its share
    return {candidates[i][1] for i in range(total) if (i + 1) * count // total > i * count // total}
