from collections import Counter

import pytest

from distill.data.splits import hold_out, sample, with_each_label
from distill.errors import UserError
from distill.text import Example, Span


def films() -> list[Example]:
    """400 texts of 40 films of very different sizes."""
    return [Example(f"text {i}", label="ab"[i % 2], group=str(int(40 * (i / 400) ** 2))) for i in range(400)]


def test_no_group_stands_on_two_sides_and_the_share_is_reached():
    seen = set()
    for seed in range(10):
        kept, held = hold_out(films(), 60, seed, "test", by_group=True)
        seen.add(frozenset(e.group for e in held))
        assert {e.group for e in kept}.isdisjoint({e.group for e in held})
        assert sorted(e.text for e in [*kept, *held]) == sorted(e.text for e in films())
        largest = max(Counter(e.group for e in films()).values())
        assert 60 <= len(held) < 60 + largest
    assert len(seen) == 10


def test_rows_without_a_group_are_groups_of_their_own():
    kept, held = hold_out([Example(str(i), label="a") for i in range(20)], 5, 0, "test", by_group=True)
    assert (len(kept), len(held)) == (15, 5)


def test_same_seed_gives_the_same_split_and_another_seed_another():
    first, again, other = (hold_out(films(), 60, seed, "test", by_group=False)[1] for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert first != hold_out(films(), 60, 0, "validation", by_group=False)[1]


def test_every_label_gives_its_share():
    labels = ["common"] * 600 + ["rare"] * 200 + ["rarest"] * 40
    kept, held = hold_out([Example(str(i), label=x) for i, x in enumerate(labels)], 84, 3, "test", by_group=False)
    counts = Counter(e.label for e in held)
    assert len(held) == 84
    assert abs(counts["common"] - 60) <= 2
    assert abs(counts["rare"] - 20) <= 2
    assert abs(counts["rarest"] - 4) <= 1
    assert [int(e.text) for e in kept] == sorted(int(e.text) for e in kept)


def test_two_examples_of_each_label_stay():
    examples = [Example(str(i), label=f"intent {i % 50}") for i in range(150)]
    kept, held = hold_out(examples, 50, 0, "test", by_group=False)
    assert len(held) == 50
    assert min(Counter(e.label for e in kept).values()) == 2


def test_rare_tags_stay_in_the_training_part():
    examples = [Example(("a", "b"), label=("O", "B-rare" if i < 2 else "B-common")) for i in range(100)]
    for seed in range(10):
        kept, _ = hold_out(examples, 90, seed, "test", by_group=False)
        assert sum("B-rare" in (e.label or ()) for e in kept) == 2


def test_holding_everything_out_is_refused():
    one_film = [Example(str(i), label="a", group="film") for i in range(10)]
    with pytest.raises(UserError, match=r"1 of 10 rows cannot be held out for test .groups stay together."):
        hold_out(one_film, 1, 0, "test", by_group=True)


def test_sample_is_seeded():
    assert len(sample(5, 100, 0, "labelled")) == 5
    assert sample(5, 100, 0, "labelled") == sample(5, 100, 0, "labelled") != sample(5, 100, 1, "labelled")


def test_rare_labels_of_sets_stay_in_the_training_part():
    sets = [("common", "rare") if i < 2 else (("common",), ())[i % 2] for i in range(100)]
    examples = [Example(str(i), label=label) for i, label in enumerate(sets)]
    for seed in range(10):
        kept, held = hold_out(examples, 90, seed, "test", by_group=False)
        counts = Counter(e.label for e in kept)
        assert counts == {("common", "rare"): 2, ("common",): 4, (): 4}
        assert len(held) == 90


def test_numbers_and_spans_are_held_out_at_random():
    for label in (2.5, (Span("a", 0),), None):
        examples = [Example(str(i), label=label) for i in range(50)]
        parts = [hold_out(examples, 10, seed, "test", by_group=False)[1] for seed in range(5)]
        assert {len(part) for part in parts} == {10}
        assert len({tuple(e.text for e in part) for part in parts}) == 5


def test_a_draw_gets_two_of_each_label_and_changes_no_more_than_it_must():
    examples = [Example(str(i), label=f"intent {i % 50}") for i in range(1500)]
    for seed in range(10):
        plain = sample(150, 1500, seed, "labelled")
        found = with_each_label(plain, examples, seed)
        before, after = (Counter(examples[i].label for i in indices) for indices in (plain, found))
        too_few = sum(max(0, 2 - before[f"intent {k}"]) for k in range(50))
        assert too_few > 0  # so that the plain draw would not do
        assert (len(found), len(after), len(found - plain)) == (150, 50, too_few)
        assert min(after.values()) >= 2
        assert found == with_each_label(plain, examples, seed)
        many = sample(900, 1500, seed, "labelled")
        assert with_each_label(many, examples, seed) == many
        small = sample(99, 1500, seed, "labelled")
        assert with_each_label(small, examples, seed) == small  # it cannot hold so many


def test_a_draw_gets_two_of_each_label_of_sets_of_labels():
    labels = [("rare", "joy") if i % 100 == 0 else ("joy",) if i % 2 else () for i in range(1000)]
    examples = [Example(str(i), label=one) for i, one in enumerate(labels)]
    for seed in range(20):
        found = with_each_label(sample(20, 1000, seed, "labelled"), examples, seed)
        assert len(found) == 20
        assert sum("rare" in examples[i].label for i in found) >= 2
