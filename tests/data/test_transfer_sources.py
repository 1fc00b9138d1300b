"""Texts without labels from several sources, and those that are near to the task."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from distill.config import DataConfig, Source, TaskConfig, build_config
from distill.data import load_data
from distill.data.closeness import nearest_to
from distill.errors import UserError
from distill.text import Example


def source(path: Path, texts: list[str], **columns: Any) -> Source:
    path.write_text("".join(json.dumps({"text": text, **columns}) + "\n" for text in texts), "utf-8")
    return Source(path=str(path))


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    """Train and test, and three sources that overlap."""
    rows = [{"text": f"review of film {i}", "label": ("fresh", "rotten")[i % 2]} for i in range(40)]
    splits = {"train": rows[:24], "validation": rows[24:30], "test": rows[30:]}
    for split, own in splits.items():
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in own))
    return DataConfig(
        **{split: Source(path=str(tmp_path / f"{split}.jsonl")) for split in splits},
        transfer=(
            source(tmp_path / "a.jsonl", ["new one", "new two", "review of film 3", "review of film 31"]),
            source(tmp_path / "b.txt.jsonl", ["NEW  one", "new three", "new three", "review of film 25"]),
            source(tmp_path / "c.jsonl", ["new four", "new two", ""]),
        ),
    )


def test_several_sources_are_freed_of_each_other_and_of_all_splits(config: DataConfig, tmp_path: Path) -> None:
    data = load_data(config, TaskConfig())
    assert [e.text for e in data.transfer] == ["new one", "new two", "new three", "new four"]
    assert data.dropped == {
        "transfer: also in train": 1,
        "transfer: also in test": 1,
        "transfer: also in validation": 1,
        "transfer: duplicate": 1,
        "transfer: empty text": 1,
        "transfer: also in an earlier source": 2,
    }
    files = [f"file {tmp_path / name}" for name in ("a.jsonl", "b.txt.jsonl", "c.jsonl")]
    assert data.notes[-1] == f"transfer: 2 texts of {files[0]}, 1 texts of {files[1]}, 1 texts of {files[2]}"
    assert all(file in data.source for file in files)


def test_the_share_of_each_source_is_that_of_what_is_used(config: DataConfig) -> None:
    data = load_data(dataclasses.replace(config, labelled=20, transfer_limit=5), TaskConfig())
    assert len(data.transfer) == 5
    note = data.notes[-1].removeprefix("transfer: ")
    counts = [int(part.split()[0]) for part in note.split(", ")]
    of_train = sum(str(e.text).startswith("review") for e in data.transfer)
    assert 0 < of_train < 5
    assert len(counts) == 4
    assert (counts[0], sum(counts)) == (of_train, 5)


def test_one_source_says_no_more_than_before(config: DataConfig) -> None:
    assert config.transfer is not None
    data = load_data(dataclasses.replace(config, transfer=config.transfer[:1]), TaskConfig())
    assert [e.text for e in data.transfer] == ["new one", "new two"]
    assert data.notes == ()


def test_sources_of_one_group_stay_beside_each_other(tmp_path: Path, config: DataConfig) -> None:
    several = (
        source(tmp_path / "a.jsonl", ["new one"], film="x"),
        source(tmp_path / "b.jsonl", ["new two"], film="x"),
    )
    rows = [{"text": f"review {i}", "label": ("fresh", "rotten")[i % 2], "film": f"film {i % 12}"} for i in range(60)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    own = dataclasses.replace(config, transfer=several, group="film", validation=None, test=None)
    assert [e.text for e in load_data(own, TaskConfig()).transfer] == ["new one", "new two"]


def test_a_source_of_several_that_is_none_is_named(config: DataConfig) -> None:
    assert config.transfer is not None
    with pytest.raises(UserError, match=r"data\.transfer\[1\]: none is set"):
        load_data(dataclasses.replace(config, transfer=(config.transfer[0], Source())), TaskConfig())


@pytest.mark.parametrize(
    ("given", "paths"),
    [({"path": "a"}, ["a"]), ([{"path": "a"}, {"path": "b"}], ["a", "b"]), (None, []), ([], [])],
)
def test_a_recipe_gives_one_source_or_a_list(given: Any, paths: list[str]) -> None:
    made = build_config(
        {
            "name": "small",
            "recipe": "small",
            "data": {"train": {"path": "x.csv"}, "transfer": given},
            "teacher": {"name": "pretrained", "source": {"path": "folder"}},
            "student": {"name": "recurrent"},
        }
    )
    assert [one.path for one in made.data.transfer or ()] == paths


FILMS = [Example("a witty film about a heist"), Example("the cast is dull")]
OTHERS = [
    Example("quarterly revenue rose by four percent"),
    Example("a dull cast"),
    Example("boil the rice for ten minutes"),
    Example("another heist film"),
]


def test_those_are_near_that_share_rare_words_with_one_text() -> None:
    assert nearest_to(FILMS, OTHERS, 2) == {1, 3}
    assert nearest_to(FILMS, OTHERS, 4) == {0, 1, 2, 3}
    assert nearest_to(FILMS, [Example("zzz"), Example("qqq"), Example("witty")], 2) == {0, 2}  # of equals the first


def test_pairs_and_words_are_near_by_all_they_say() -> None:
    pairs = [Example("who is it ?", "the cast is dull"), Example("who is it ?", "boil the rice")]
    assert nearest_to(FILMS, pairs, 1) == {0}
    assert nearest_to([Example(("a", "heist"))], [Example(("rice",)), Example(("the", "heist"))], 1) == {1}


def test_close_texts_are_taken_where_there_are_more_than_asked_for(config: DataConfig, tmp_path: Path) -> None:
    far = [f"quarterly revenue of company {i}" for i in range(20)]
    near = [f"another review of a film number {i}" for i in range(10)]
    own = dataclasses.replace(config, transfer=(source(tmp_path / "d.jsonl", [*far, *near]),), transfer_limit=10)
    data = load_data(dataclasses.replace(own, transfer_choice="close"), TaskConfig())
    assert [e.text for e in data.transfer] == near
    assert data.notes[-1] == "transfer: 10 of 30 texts without labels used, those nearest to the labelled texts"
    drawn = load_data(own, TaskConfig())
    assert {e.text for e in drawn.transfer} & set(far)
    assert drawn.notes[-1] == "transfer: 10 of 30 texts without labels used"
