"""Folds: nothing that belongs together is divided, and each is like the whole."""

from collections import Counter

import pytest

from distill.data.folds import assign_folds
from distill.errors import UserError
from distill.text import Example, Span


def per_fold(examples: list[Example], count: int, seed: int = 0) -> list[list[Example]]:
    folds = assign_folds(examples, count, seed)
    return [[e for e, fold in zip(examples, folds, strict=True) if fold == own] for own in range(count)]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_each_label_gives_its_share_to_every_fold(count: int) -> None:
    labels = ["common"] * 61 + ["rare"] * 11 + ["rarest"] * count
    folds = per_fold([Example(f"text {i}", label=label) for i, label in enumerate(labels)], count)
    for label, total in Counter(labels).items():
        assert {sum(e.label == label for e in fold) for fold in folds} <= {total // count, -(-total // count)}
    assert max(map(len, folds)) - min(map(len, folds)) <= 2


def test_sets_of_labels_and_tags_are_divided_by_each_label() -> None:
    sets = [("a",), ("a", "b"), ("b",), ("a", "b", "c"), ()] * 12
    for labels in (sets, [(*one, "O", "O") for one in sets]):
        folds = per_fold([Example(str(i), label=label) for i, label in enumerate(labels)], 3)
        for name in "abc":
            counts = [sum(name in e.label for e in fold) for fold in folds]
            assert max(counts) - min(counts) <= 2, (name, counts)


@pytest.mark.parametrize("label", [0.5, (Span("a", 0),)])
def test_numbers_and_spans_are_divided_by_count_alone(label: object) -> None:
    folds = per_fold([Example(str(i), label=label) for i in range(10)], 3)  # type: ignore[arg-type]
    assert sorted(map(len, folds)) == [3, 3, 4]


def test_groups_stand_in_one_fold_and_give_labels_their_share_all_the_same() -> None:
    films = [Example(f"text {i}", label="ab"[i % 2], group=str(int(40 * (i / 400) ** 2))) for i in range(400)]
    folds = per_fold(films, 4)
    groups = [{e.group for e in fold} for fold in folds]
    assert sum(map(len, groups)) == len(set.union(*groups))
    for fold in folds:
        assert abs(len(fold) - 100) <= 10
        assert abs(sum(e.label == "a" for e in fold) - 50) <= 10


def test_variants_of_a_text_and_mirrored_pairs_stand_in_one_fold() -> None:
    texts = [Example(f"Text {i}", "other", "a") for i in range(20)]
    variants = [Example(f" text  {i}", "OTHER", "a") for i in range(20)]
    mirrored = [Example("other", f"Text {i}", "b") for i in range(20)]
    folds = assign_folds([*texts, *variants, *mirrored], 3, 0)
    assert folds[:20] == folds[20:40] == folds[40:]


def test_the_seed_alone_decides() -> None:
    examples = [Example(str(i), label="ab"[i % 2]) for i in range(60)]
    assert assign_folds(examples, 3, 0) == assign_folds(examples, 3, 0) != assign_folds(examples, 3, 1)


@pytest.mark.parametrize("count", [2, 3, 6])
def test_no_fold_is_empty_where_there_are_just_enough_texts(count: int) -> None:
    for labels in ("aaaaaa", "ababab", "abcdef", "aaaaab"):
        examples = [Example(str(i), label=label) for i, label in enumerate(labels)]
        assert all(per_fold(examples, count))


def test_fewer_texts_or_groups_than_folds_are_refused() -> None:
    few = [Example(str(i), label="a") for i in range(4)]
    with pytest.raises(UserError, match=r"teacher\.folds is 5, but the labelled training texts are 4 texts; set it to"):
        assign_folds(few, 5, 0)
    grouped = [Example(str(i), label="a", group=str(i % 2)) for i in range(40)]
    with pytest.raises(UserError, match=r"teacher\.folds is 3, but the labelled training texts are 2 groups"):
        assign_folds(grouped, 3, 0)
