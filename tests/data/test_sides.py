"""No text, mirrored pair, group or variant in case and blanks stands on two sides, transfer texts included."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill.config.data import DataConfig, Source, TaskConfig
from distill.data import Dataset, load_data
from distill.data.variants import alike, content_of, normal_form
from distill.errors import UserError
from distill.text import Example

CLASSIFICATION = TaskConfig()
Row = dict[str, Any]


def source(path: Path, rows: list[Row]) -> Source:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return Source(path=str(path))


def reviews(start: int, stop: int, **more: Any) -> list[Row]:
    return [{"text": f"Review No {i}", "label": ("fresh", "rotten")[i % 2], **more} for i in range(start, stop)]


def load(tmp_path: Path, splits: dict[str, list[Row]], **more: Any) -> Dataset:
    given: dict[str, Any] = {name: source(tmp_path / f"{name}.jsonl", rows) for name, rows in splits.items()}
    if "transfer" in given:
        given["transfer"] = (given["transfer"],)
    return load_data(DataConfig(**given, **more), CLASSIFICATION)


def sides(data: Dataset) -> dict[str, tuple[Example, ...]]:
    return {"train": (*data.train, *data.transfer), "validation": data.validation, "test": data.test}


def meet(data: Dataset) -> set[Any]:
    """What stands on two sides: contents and groups."""
    found: set[Any] = set()
    known: set[Any] = set()
    for examples in sides(data).values():
        here = {content_of(e) for e in examples} | {e.group for e in examples if e.group is not None}
        found |= known & here
        known |= here
    return found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A  gorgeous film", "a gorgeous\tFILM "),
        ("Stra\u00dfe", "STRASSE"),
        ("caf\u00e9", "CAFE\u0301"),
        ("\u00a0film", "film"),
    ],
)
def test_variants_in_case_blanks_and_unicode_form_are_one_text(one: str, other: str) -> None:
    assert normal_form(one) == normal_form(other)
    assert content_of(Example(one, "x")) == content_of(Example("X", other)) != content_of(Example(one))
    assert content_of(Example(tuple(one.split()))) == content_of(Example(other))


def test_other_texts_stay_others() -> None:
    assert len({normal_form(t) for t in ("film", "films", "film.", "fi lm", "f\u00eclm")}) == 5


def test_variants_of_held_out_texts_are_not_learnt_on(tmp_path: Path) -> None:
    train = reviews(0, 40)
    train += [{"text": "REVIEW no 100", "label": "rotten"}, {"text": " review  no 200", "label": "fresh"}]
    transfer = [{"text": "review NO 101"}, {"text": "Review No\n201"}, {"text": "new"}]
    validation = [*reviews(100, 104), {"text": "review no 200", "label": "fresh"}]
    data = load(tmp_path, {"train": train, "validation": validation, "test": reviews(200, 204), "transfer": transfer})
    assert not meet(data)
    assert [e.text for e in data.transfer] == ["new"]
    assert data.dropped == {
        "also in test": 1,
        "also in validation": 1,
        "transfer: also in test": 1,
        "transfer: also in validation": 1,
        "validation: also in test": 1,
    }


def test_variants_in_one_table_do_not_cross_the_splits_made_of_it(tmp_path: Path) -> None:
    rows = reviews(0, 100) + [{**row, "text": f"  {row['text'].upper()}"} for row in reviews(0, 100)]
    for seed in range(3):
        data = load(tmp_path, {"train": rows}, split_seed=seed, labelled=60)
        assert not meet(data)
        left_out = data.dropped["also in test"] + data.dropped["also in validation"]
        assert left_out > 20
        assert sum(map(len, sides(data).values())) + left_out == 200


def test_a_mirrored_pair_is_the_same_pair(tmp_path: Path) -> None:
    rows = [{"text": f"one {i}", "other": f"two {i}", "label": "ab"[i % 2]} for i in range(60)]
    rows += [{**row, "text": row["other"], "other": row["text"]} for row in rows[:40]]
    data = load(tmp_path, {"train": rows}, pair="other")
    assert not meet(data)
    assert data.dropped["also in test"] > 0
    mirrored = [{**row, "text": row["other"].title(), "other": row["text"]} for row in rows[:8]]
    held_out = {"validation": mirrored[:4], "test": mirrored[4:]}
    data = load(tmp_path, {"train": rows[:60], **held_out, "transfer": rows[2:6]}, pair="other")
    assert not meet(data)
    assert len(data.train) == 52
    assert data.dropped == {
        "also in test": 4,
        "also in validation": 4,
        "transfer: also in test": 2,
        "transfer: also in validation": 2,
    }


def films(rows: list[Row], first: int, count: int) -> list[Row]:
    return [{**row, "film": f"film {first + i % count}"} for i, row in enumerate(rows)]


def test_groups_bind_the_transfer_texts(tmp_path: Path) -> None:
    train = films(reviews(0, 120), 0, 12)
    transfer = [*films([{"text": f"new {i}"} for i in range(24)], 0, 12), {"text": "a", "film": None}, {"text": "b"}]
    data = load(tmp_path, {"train": train, "transfer": transfer}, group="film")
    assert not meet(data)
    films_of = {split: {e.group for e in examples} for split, examples in sides(data).items()}
    assert len(data.transfer) == 2 + 2 * len(films_of["train"] - {None})
    assert data.dropped == {
        "transfer: of a group in test": 2 * len(films_of["test"]),
        "transfer: of a group in validation": 2 * len(films_of["validation"]),
    }


def test_groups_bind_splits_that_are_given(tmp_path: Path) -> None:
    splits = {
        "train": films(reviews(0, 60), 0, 6),
        "validation": films(reviews(100, 112), 4, 3),
        "test": films(reviews(200, 208), 5, 4),
        "out_of_scope": films([{"text": f"news {i}"} for i in range(10)], 0, 10),
    }
    data = load(tmp_path, splits, group="film")
    assert not meet(data)
    assert {e.group for e in data.train} == {f"film {i}" for i in range(4)}
    assert {e.group for e in data.validation} == {"film 4"}
    assert {e.group for e in data.out_of_scope} == {f"film {i}" for i in range(4, 10)}
    assert data.dropped == {
        "validation: of a group in test": 8,
        "of a group in test": 10,
        "of a group in validation": 10,
        "out of scope: of a group in train": 4,
    }
    assert data.notes == ()


@pytest.mark.parametrize("nothing", [None, "", " ", float("nan")])
def test_rows_without_a_group_are_no_group_together(tmp_path: Path, nothing: Any) -> None:
    rows = [*films(reviews(0, 60), 0, 6), *reviews(60, 120, film=nothing)]
    data = load(tmp_path, {"train": rows, "validation": reviews(200, 206, film=nothing)}, group="film")
    assert not meet(data)
    assert data.dropped == {}
    assert {e.group for e in data.validation} == {None}


def test_a_split_without_groups_is_told(tmp_path: Path) -> None:
    splits = {"train": films(reviews(0, 60), 0, 6), "test": reviews(200, 206), "transfer": [{"text": "new"}]}
    notes = load(tmp_path, splits, group="film").notes
    assert [note.split(":")[0] for note in notes if "no row has a film" in note] == ["test", "transfer"]


def test_validation_that_is_test_is_refused(tmp_path: Path) -> None:
    same = source(tmp_path / "same.jsonl", reviews(0, 10))
    config = DataConfig(train=source(tmp_path / "a.jsonl", reviews(20, 60)), validation=same, test=same)
    with pytest.raises(UserError, match=r"same.jsonl is left for validation; left out: {'also in test': 10}"):
        load_data(config, CLASSIFICATION)


def test_labels_that_look_alike_are_told(tmp_path: Path) -> None:
    labels = ["caf\u00e9", "cafe\u0301", "tea", "Sci  Fi", "sci fi"]
    rows = [{"text": f"text {i}", "label": labels[i % 5]} for i in range(100)]
    first, second = load(tmp_path, {"train": rows}).warnings
    assert r"the labels 'cafe\u0301' and 'caf\xe9' differ in case, blanks or Unicode form alone" in second
    assert "the labels 'Sci  Fi' and 'sci fi' differ" in first
    assert "data.label_map" in first
    mended = {"cafe\u0301": "caf\u00e9", "sci fi": "Sci  Fi"}
    assert load(tmp_path, {"train": rows}, label_map=mended).warnings == ()
    assert alike(["a", "b", "A ", "c"]) == [["a", "A "]]


def test_many_texts_with_two_labels_are_told(tmp_path: Path) -> None:
    long = "sö " * 30
    rows = [{"text": long if i == 7 else f"text {i}", "label": i % 2} for i in range(95)]
    equal = [{**row, "text": " "} for row in rows[:4]] + rows[:1]  # empty texts, and one of the same label
    twice = [{**row, "label": 1 - row["label"]} for row in rows[7:13]]
    assert load(tmp_path, {"train": [*rows, *equal, *twice[:5]]}).warnings == ()  # 5 of 105
    data = load(tmp_path, {"train": [*rows, *equal, *twice]})
    assert data.warnings == (
        f"6 of 106 rows of train have a text that an earlier row gives another label, such as {long[:60]!r}; the first "
        "label counts, so decide for one and mend the others",
    )
    assert data.dropped["duplicate with another label"] == 6
    assert load(tmp_path, {"train": rows}).warnings == ()


def test_a_key_of_the_label_map_that_no_row_has_is_refused(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": i % 2} for i in range(40)]
    test = [*({"text": f"other {i}", "label": i} for i in (0, 1)), {"text": "x", "label": 2}]
    with pytest.raises(UserError, match=r"data.label_map names 'O', but no row has this label; known: 0, 1"):
        load(tmp_path, {"train": rows}, label_map={"O": "neg", "1": "pos"})
    names = {"0": "neg", "1": "pos", "2": "pos"}
    with pytest.raises(UserError, match="names '2', but no row"):
        load(tmp_path, {"train": rows}, label_map=names)
    assert load(tmp_path, {"train": rows, "test": test}, label_map=names).labels == ("neg", "pos")
    dropped = load(tmp_path, {"train": rows, "test": test}, label_map={"2": "else"}, drop_labels=("2",))
    assert dropped.labels == ("0", "1")
    tagged = [{"text": ["a", "b"], "label": ["O", f"B-{i % 2}"]} for i in range(2)] * 20
    for i, row in enumerate(tagged):
        tagged[i] = {**row, "text": ["a", f"b{i}"]}
    config = DataConfig(train=source(tmp_path / "tags.jsonl", tagged), label_map={"B-0": "B-x", "b-1": "B-y"})
    with pytest.raises(UserError, match="names 'b-1', but no row has this label; did you mean 'B-1'"):
        load_data(config, TaskConfig(name="token-classification"))
    unlabelled = replace(config, label=None, label_map={"x": "y"})
    assert load_data(unlabelled, TaskConfig(name="token-classification")).train == ()


def test_labels_are_dropped_by_the_name_that_they_have_or_get(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": i % 3} for i in range(40)] + [{"text": "x", "label": 3}]
    names = {"1": "pos", "3": "cancel"}
    with pytest.raises(UserError, match=r"only one example of 'cancel' .*, or leave the label out with data.drop"):
        load(tmp_path, {"train": rows}, label_map=names)
    for dropped in ("3", "cancel"):
        data = load(tmp_path, {"train": rows}, label_map=names, drop_labels=(dropped,))
        assert data.dropped == {f"label '{dropped}'": 1}
        assert data.labels == ("0", "2", "pos")
    with pytest.raises(UserError, match=r"drop_labels names 'cancle', but no row has this .*; did you mean 'cancel'"):
        load(tmp_path, {"train": rows}, label_map=names, drop_labels=("cancle",))


def test_a_name_that_two_labels_have_before_and_behind_the_map_is_not_dropped_twice(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": i % 4} for i in range(40)]
    swapped = {"1": "2", "2": "1"}
    with pytest.raises(UserError, match=r"'1', which the data writes where data.label_map says '2', .* says of '2'"):
        load(tmp_path, {"train": rows}, label_map=swapped, drop_labels=("1",))
    merged = load(tmp_path, {"train": rows}, label_map={"1": "2"}, drop_labels=("2",))
    assert merged.labels == ("0", "3")
    data = load(tmp_path, {"train": rows}, label_map={"1": "else", "2": "1"}, drop_labels=("else",))
    assert data.labels == ("0", "1", "3")


@pytest.mark.parametrize(
    ("task", "labels", "name", "message"),
    [
        ("multi-label-classification", [["joy", "love"], ["joy"], []], "lov", "names 'lov'.*; did you mean 'love'"),
        ("token-classification", ["O B-x", "O O"], "B-y", "names 'B-y', but no row has this label; did you mean 'B-x'"),
        ("regression", [1.5, 2, 3], "-1", "names '-1', but no row has this label; known: 1.5, 2, 3"),
    ],
)
def test_a_label_to_drop_that_no_row_has_is_refused(
    tmp_path: Path, task: str, labels: list[Any], name: str, message: str
) -> None:
    rows = [{"text": f"some text{i}", "label": labels[i % len(labels)]} for i in range(40)]
    config = DataConfig(train=source(tmp_path / "a.jsonl", rows), drop_labels=(name,))
    with pytest.raises(UserError, match=rf"data\.drop_labels {message}"):
        load_data(config, TaskConfig(name=task))
    with pytest.raises(UserError, match=r"data\.label is null, so no row has a label for data\.drop_labels to find"):
        load_data(replace(config, label=None), TaskConfig(name=task))


def test_several_labels_to_drop_may_stand_in_one_row(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "label": [["joy", "love"], ["hate"], []][i % 3]} for i in range(40)]
    config = DataConfig(train=source(tmp_path / "a.jsonl", rows), drop_labels=("love", "joy"))
    assert load_data(config, TaskConfig(name="multi-label-classification")).dropped == {"label 'joy'": 14}


def test_a_label_twice_in_task_labels_is_refused(tmp_path: Path) -> None:
    config = DataConfig(train=source(tmp_path / "a.jsonl", reviews(0, 40)))
    with pytest.raises(UserError, match=r"task.labels has 'fresh' twice; give each label once"):
        load_data(config, TaskConfig(labels=("fresh", "rotten", "fresh")))
