"""What a store gives back is what was put in, for every way in which a task reads its texts."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from distill import tasks
from distill.errors import UserError
from distill.tasks import Task, Windows
from distill.text import Encoded, Example, Reading, Target, TokenStore, train_tokenizer
from distill.text.token_store import FILES

LONG = "the unbelievable cat sat on the gorgeous mat and a dog on the log . " * 60
TEXTS = [
    Example(""),
    Example("mat"),
    Example(LONG),
    Example("a dog", "the log"),
    Example("", ""),
    Example(LONG, LONG),
    Example("\u200b"),
]
SENTENCES = [
    Example(("the", "", "unbelievable", "\u200b", "cat")),
    Example(()),
    Example(("mat",)),
    Example(("",)),
    Example(tuple(LONG.split())),
]
QUESTIONS = [Example("where ?", "the cat sat on the mat"), Example("", ""), Example("what ?", LONG)]
PAIRS = [Example(LONG, label=Target("mat")), Example("", label=Target("")), Example("a", label=Target(LONG))]
OF_TASK = {"token-classification": SENTENCES, "question-answering": QUESTIONS, "text-to-text": PAIRS}


@pytest.fixture(scope="module")
def reading() -> Reading:
    return Reading(train_tokenizer([Example(LONG), Example("where what ?")] * 2, 120), 512)


def assert_equal(found: Encoded, given: Encoded) -> None:
    for name in ("input_ids", "token_type_ids", "word_starts", "word_ends", "word_rows", "target_ids"):
        one, other = getattr(found, name), getattr(given, name)
        assert one.dtype == other.dtype == np.int64
        np.testing.assert_array_equal(one, other, err_msg=name)
    assert type(found.truncated) is bool
    assert found.truncated == given.truncated
    assert found.windows == given.windows
    for inner, expected in zip(found.more, given.more, strict=True):
        assert_equal(inner, expected)


def read(task: Task, reading: Reading) -> list[Encoded]:
    return task.encode(reading, OF_TASK.get(task.name, TEXTS))


@pytest.mark.parametrize("windows", [None, Windows(4)], ids=["cut", "windows"])
@pytest.mark.parametrize("name", tasks.TASKS)
def test_each_task_reads_the_same_from_a_store(
    name: str, windows: Windows | None, reading: Reading, tmp_path: Path
) -> None:
    for max_length in (16, 512):
        task = tasks.build(name, ("B-x", "O"), windows=windows)
        encoded = read(task, Reading(reading.tokenizer, max_length))
        assert max(len(e.input_ids) for e in encoded) == max_length
        if windows is not None and name not in ("sentence-embedding", "text-to-text"):
            assert max(e.windows for e in encoded) > 1
        folder = tmp_path / str(max_length)
        TokenStore.write(folder, encoded)
        store = TokenStore(folder)
        assert len(store) == len(encoded)
        for found, given in zip(store, encoded, strict=True):
            assert_equal(found, given)


def odd() -> list[Encoded]:
    """Rows that no tokenizer here makes: one token, large ids, flags that differ between windows."""
    none = np.zeros(0, dtype=np.int64)
    one = Encoded(np.array([70_000]), np.array([3]), none, False)
    other = Encoded(np.array([2**31 - 1, 0]), np.array([0, 1]), np.array([-1]), True, np.array([-1]), np.array([0]))
    return [one, other.followed_by(one), one.followed_by(other).followed_by(one), other]


def test_ids_of_any_size_and_windows_with_words_of_their_own_stay_as_they_are(tmp_path: Path) -> None:
    TokenStore.write(tmp_path, odd())
    for found, given in zip(TokenStore(tmp_path), odd(), strict=True):
        assert_equal(found, given)


def test_lengths_are_rows_times_the_longest_of_them(reading: Reading, tmp_path: Path) -> None:
    encoded = tasks.build("question-answering", (), windows=Windows(4)).encode(
        Reading(reading.tokenizer, 24), QUESTIONS
    )
    encoded += odd()
    TokenStore.write(tmp_path, encoded)
    store = TokenStore(tmp_path)
    rows = [[len(e.input_ids), *(len(row.input_ids) for row in e.more)] for e in encoded]
    assert store.windows.tolist() == [len(own) for own in rows]
    assert store.tokens.tolist() == [sum(own) for own in rows]
    assert store.longest.tolist() == [max(own) for own in rows]
    assert store.lengths.tolist() == [len(own) * max(own) for own in rows]
    assert max(store.windows) > 2


@pytest.mark.parametrize("name", ["language-modelling", "text-to-text"])
def test_pieces_are_counted_where_they_are_to_be_predicted(name: str, reading: Reading, tmp_path: Path) -> None:
    task = tasks.build(name, ())
    encoded = read(task, reading)
    TokenStore.write(tmp_path, encoded)
    rows = [row.target_ids if name == "text-to-text" else row.input_ids for e in encoded for row in (e, *e.more)]
    found = TokenStore(tmp_path).counts(200)
    assert found.tolist() == [int((np.concatenate(rows) == piece).sum()) for piece in range(200)]
    assert found.sum() > 100
    own = [[len(row.target_ids if name == "text-to-text" else row.input_ids) for row in (e, *e.more)] for e in encoded]
    assert TokenStore(tmp_path).predicted.tolist() == [sum(lengths) for lengths in own]


def test_an_empty_store_has_no_examples(tmp_path: Path) -> None:
    TokenStore.write(tmp_path, [])
    store = TokenStore(tmp_path)
    assert (len(store), store.lengths.tolist(), list(store)) == (0, [], [])


def test_joined_stores_are_the_store_of_all_texts(reading: Reading, tmp_path: Path) -> None:
    small = tasks.build("question-answering", (), windows=Windows(4)).encode(Reading(reading.tokenizer, 24), QUESTIONS)
    parts = [[], small[:1], odd(), [], small[1:]]
    for i, part in enumerate(parts):
        TokenStore.write(tmp_path / f"{i}", part)
    TokenStore.join(tmp_path / "joined", [tmp_path / f"{i}" for i in range(len(parts))])
    TokenStore.write(tmp_path / "whole", [e for part in parts for e in part])
    for file in FILES:
        one, other = (np.load(tmp_path / which / f"{file}.npy") for which in ("joined", "whole"))
        assert (one.dtype.itemsize, one.tolist()) == (other.dtype.itemsize, other.tolist()), file
    for i in (0, 3):
        assert len(TokenStore(tmp_path / f"{i}")) == 0
    TokenStore.join(tmp_path / "nothing", [tmp_path / "0", tmp_path / "3"])
    assert len(TokenStore(tmp_path / "nothing")) == 0


def test_it_is_asked_as_a_list_is(tmp_path: Path) -> None:
    TokenStore.write(tmp_path, (e for e in odd()))  # a generator is enough
    store = TokenStore(tmp_path)
    assert_equal(store[-1], odd()[-1])
    assert_equal(store[int(np.int64(1))], odd()[1])
    assert [e.windows for e in store[::-1]] == [1, 3, 2, 1]
    for outside in (4, -5):
        with pytest.raises(IndexError, match=r"of 4"):
            store[outside]


def test_opening_reads_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TokenStore.write(tmp_path, odd())
    opened: list[np.ndarray] = []
    load = np.load

    def spy(*arguments: object, **settings: object) -> np.ndarray:
        opened.append(load(*arguments, **settings))
        return opened[-1]

    monkeypatch.setattr(np, "load", spy)
    TokenStore(tmp_path)
    assert all(isinstance(array, np.memmap) for array in opened)
    assert len(opened) == len(list(tmp_path.iterdir()))


def test_windows_of_windows_are_refused(tmp_path: Path) -> None:
    one, two, *_ = odd()

    def nested() -> Iterator[Encoded]:
        yield one.followed_by(two)

    with pytest.raises(ValueError, match="one level"):
        TokenStore.write(tmp_path, nested())


@pytest.mark.parametrize("file", ["input_ids.npy", "rows_until.npy", "truncated.npy"])
def test_a_damaged_store_names_the_file_and_runs_no_code(file: str, tmp_path: Path) -> None:
    TokenStore.write(tmp_path, odd())
    (tmp_path / file).write_bytes(pickle.dumps([1]))
    with pytest.raises(UserError, match=rf"{file} is not an array"):
        TokenStore(tmp_path)
    np.save(tmp_path / file, np.array([{}], dtype=object))
    with pytest.raises(UserError, match=file):
        TokenStore(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(UserError, match=file):
        TokenStore(tmp_path)
