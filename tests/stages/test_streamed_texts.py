"""Texts that no memory holds: streamed from Parquet files, labelled shard by shard, learnt from."""

import dataclasses
import os
import random
import signal as signals
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from little_world import review
from pyarrow import parquet
from small_runs import SmallRun, config_of, run, teacher_in, texts_in
from stopped_training import problem_of
from test_shards_of_labels import FORK
from test_wiring import by_torch

from distill.config import Config, build_config
from distill.errors import UserError
from distill.models import load_model
from distill.runtime import load
from distill.stages import sharding, streaming
from distill.stages.artifacts import Artifact
from distill.stages.context import Lesson, Run, Streamed, StudentTexts, Texts, open_run
from distill.stages.signal import ask_teacher
from distill.stages.streaming import LabelStream, label_stream, sieve_stream
from distill.stages.students import TrainStudent, training_of
from distill.stages.teacher import prepare_teacher
from distill.stages.texts import prepare_student, read_data, read_texts
from distill.text import Example
from distill.training import Problem
from distill.training.signal import Along

SCRIPT = Path(__file__).with_name("memory_of_streams.py")
ARMS = ["linear", "soft", "soft+transfer", "pseudo+transfer"]


def write_parquet(file: Path, texts: Sequence[str | None], **how: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table({"text": pyarrow.array(texts, pyarrow.string())}), file, **how)


def fresh_reviews(count: int) -> list[str]:
    """No two alike, none of them in a split."""
    generator = random.Random(3)
    return list(
        dict.fromkeys(f"{review(generator)[0]} {'anew ' * generator.randrange(1, 4)}" for _ in range(3 * count))
    )[:count]


FRESH = fresh_reviews(50)


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory, reviews: Path) -> Path:
    """Two files and an empty one: 50 fresh texts, one of them in both files, and what is to be left out."""
    folder = tmp_path_factory.mktemp("stream")
    known = [texts_in(reviews, split)[0] for split in ("train", "transfer", "validation", "test A")]
    first = [FRESH[0], None, known[0], *FRESH[1:20], known[2].upper(), " ", f" {FRESH[5].upper()} ", known[3]]
    write_parquet(folder / "a.parquet", first, row_group_size=7)
    write_parquet(folder / "b.parquet", [])
    write_parquet(folder / "deeper/c.parquet", [known[1], *FRESH[20:], FRESH[0]], row_group_size=20)
    return folder


LEARNT = FRESH
"""What is left of them, in their order."""


def streamed_config(reviews: Path, encoder: Path, outputs: Path, place: Path, **changes: Any) -> Config:
    given = {"teacher": {**teacher_in(encoder), "tries": 1}, "student": {"name": "layers", "layers": [1]}, "arms": ARMS}
    config = config_of(reviews, outputs, "test A", **{"export": {"variants": ["fp32"]}, **given, **changes})
    stream = {"path": str(place)}
    return build_config({**dataclasses.asdict(config), "data": {**dataclasses.asdict(config.data), "stream": stream}})


@pytest.fixture(scope="session")
def twice(
    reviews: Path, encoder: Path, shards: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SmallRun, SmallRun]:
    """One recipe, run in two places."""
    folder = tmp_path_factory.mktemp("streamed")
    one, other = (run(streamed_config(reviews, encoder, folder / place, shards)) for place in "ab")
    return one, other


def rows_of(problem: Problem, signal: Any = None) -> Any:
    """All texts of a training as one batch, in their order."""
    count = len(problem.texts.lengths)
    (batch,) = problem.texts.batches(
        np.arange(count), [np.arange(count)], np.random.default_rng(0), problem.signal if signal is None else signal
    )
    return batch


def test_students_learn_on_the_streamed_texts_from_what_the_teacher_says_of_each(
    twice: tuple[SmallRun, SmallRun], tmp_path: Path
) -> None:
    now = twice[0]
    texts, teacher = now.values["read_texts"], now.values["prepare_teacher"].model
    others = [str(e.text) for e in texts.training.examples]
    for stage, _ in now.of(TrainStudent):
        problem = problem_of(stage, tmp_path / stage.arm)
        asked = (others + LEARNT) if "transfer" in stage.arm else [str(e.text) for e in texts.dataset.train]
        batch = rows_of(problem)
        wanted = [texts.reading.tokenizer.encode(text).ids for text in asked]
        mask = batch.inputs["attention_mask"].bool()
        assert [ids[own].tolist() for ids, own in zip(batch.inputs["input_ids"], mask, strict=True)] == wanted
        assert list(problem.texts.lengths) == [len(ids) for ids in wanted]
        assert set(batch.labels[len(texts.dataset.train) :].flatten().tolist()) <= {-100}
        again = by_torch(teacher, texts.task, texts.reading, list(map(Example, asked)))
        np.testing.assert_allclose(batch.teacher[:, 0].numpy(), again, atol=1e-5)
        assert np.abs(np.diff(again, axis=0)).max() > 1e-3  # neighbours differ, so a shifted row would show
        assert len(problem.validation.examples) == len(texts.dataset.validation)


def test_no_text_of_a_split_is_among_them(twice: tuple[SmallRun, SmallRun], tmp_path: Path) -> None:
    """By ids alone, of all that the stages left: written with other words than the code that leaves them out."""
    now = twice[0]
    ((_, labels),) = now.of(LabelStream)
    ids, until = (np.load(labels.directory / f"tokens/{name}.npy") for name in ("input_ids", "tokens_until"))
    streamed = {tuple(ids[a:b].tolist()) for a, b in pairwise(until)}
    texts = now.values["read_texts"]
    for split in ("train", "transfer", "validation", "test"):
        own = {tuple(texts.reading.tokenizer.encode(str(e.text)).ids) for e in getattr(texts.dataset, split)}
        assert len(own) > 30
        assert not own & streamed
    assert len(streamed) == len(until) - 1 == 50


def test_the_report_tells_what_was_streamed_and_what_was_left_out(twice: tuple[SmallRun, SmallRun]) -> None:
    outcome = twice[0].outcome
    assert outcome is not None
    data, arms = outcome.report.data, {arm.name: arm for arm in outcome.report.arms}
    assert data.dropped == {
        "stream: empty text": 2,
        "stream: also in train, transfer, validation or test": 4,
        "stream: duplicate": 2,
    }
    assert data.transfer == 40 + 50
    assert (arms["soft"].texts, arms["soft+transfer"].texts) == (80, 80 + 40 + 50)
    first, second = (note for note in data.notes if note.startswith("transfer: "))
    assert first.startswith("transfer: 50 texts of 58 rows streamed from 3 files of ")
    assert second == "transfer: a training draws 96 texts, 56.5% of the 170 that it learns on"
    assert "; streamed from " in data.source
    assert [cost.stage for cost in outcome.report.costs].count("soft labels of streamed texts") == 1
    assert load(outcome.bundle)(FRESH[0])[0].label in ("fresh", "rotten")


def test_the_same_run_twice_gives_the_same_to_the_bit(twice: tuple[SmallRun, SmallRun]) -> None:
    found = [[artifact.read("result.json") for _, artifact in one.of(TrainStudent)] for one in twice]
    for result in (result for results in found for result in results):
        result.pop("seconds")
    assert found[0] == found[1]
    weights = [
        [
            load_model(artifact.directory / "model", stage.task).model.state_dict()
            for stage, artifact in one.of(TrainStudent)
        ]
        for one in twice
    ]
    for one, other in zip(*weights, strict=True):
        assert all((one[name] == other[name]).all() for name in one)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A run up to what the teacher is asked of the stream."""

    this: Run
    texts: Texts
    own: StudentTexts
    lesson: Lesson

    @property
    def streamed(self) -> Streamed:
        assert self.lesson.streamed is not None
        return self.lesson.streamed

    def problem(self, folder: Path) -> Problem:
        return problem_of(training_of(self.this, self.lesson, "soft+transfer", 1e-3, 0), folder)


def prepared(config: Config) -> Prepared:
    this = open_run(config)
    texts = read_texts(this, read_data(this))
    teacher = prepare_teacher(this, texts)
    signal = ask_teacher(this, texts, teacher)
    own = prepare_student(this, texts, None)
    streamed = label_stream(this, texts, own, signal, sieve_stream(this, texts.dataset))
    return Prepared(this, texts, own, Lesson(own, signal, None, streamed=streamed))


RECURRENT = {"name": "recurrent", "architecture": {"embedding_size": 16, "hidden_size": 16}}


@pytest.mark.parametrize(
    "changes",
    [
        {"tokenizer": {"name": "trained", "vocabulary_size": 200}, "student": RECURRENT},
        {"student": {"name": "layers", "layers": [1], "vocabulary": {"trim": True, "min_count": 2}}},
    ],
    ids=["own tokenizer", "trimmed vocabulary"],
)
def test_a_student_with_other_tokens_reads_the_texts_that_its_teacher_labelled(
    changes: dict[str, Any],
    reviews: Path,
    encoder: Path,
    shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sharding, "SHARD", 9)
    monkeypatch.setattr("distill.data.stream.BATCH", 4)
    now = prepared(streamed_config(reviews, encoder, tmp_path, shards, **changes))
    reading, teacher = now.own.reading, now.lesson.signal.teacher.model
    assert reading.identity != now.texts.reading.identity
    assert teacher is not None
    learnt = [str(e.text) for e in now.texts.training.examples]
    others, batch = len(learnt), rows_of(now.problem(tmp_path / "work"))
    mask = batch.inputs["attention_mask"].bool()
    found = [ids[own].tolist() for ids, own in zip(batch.inputs["input_ids"], mask, strict=True)]
    streamed = FRESH
    assert found == [reading.encode([Example(text)])[0].input_ids.tolist() for text in learnt + streamed]
    assert found[others:] != [now.texts.reading.tokenizer.encode(text).ids for text in streamed]
    again = by_torch(teacher, now.texts.task, now.texts.reading, list(map(Example, streamed)))
    np.testing.assert_allclose(batch.teacher[others:, 0].numpy(), again, atol=1e-5)
    assert len(now.streamed.costs) == 3


def test_a_teacher_that_runs_along_sees_the_streamed_texts_too(
    reviews: Path, encoder: Path, shards: Path, tmp_path: Path
) -> None:
    inside = {"terms": [{"name": "kl"}, {"name": "hidden"}]}
    now = prepared(streamed_config(reviews, encoder, tmp_path, shards, objective=inside))
    stage = training_of(now.this, now.lesson, "soft+transfer", 1e-3, 0)
    problem = problem_of(stage, tmp_path / "work")
    assert isinstance(problem.signal, Along)
    seen = problem.signal.of(rows_of(problem))
    assert len(seen.units) == 120 + 50
    assert seen.hidden[0].shape[0] == 120 + 50
    assert now.this.artifacts.get(stage).read("result.json")["steps"] == 6


Label = Callable[[Path], Artifact]


@pytest.fixture
def label(reviews: Path, encoder: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Label:
    """Labels the stream under a folder of artifacts, by one teacher."""
    monkeypatch.setattr(sharding, "SHARD", 7)
    now = prepared(streamed_config(reviews, encoder, tmp_path, shards))
    stream, model = now.streamed.stream, now.lesson.signal.teacher.model
    assert model is not None
    stage = LabelStream(stream, now.streamed.sieved, now.texts.reading, now.texts.task, model)

    def get(folder: Path) -> Artifact:
        return open_run(dataclasses.replace(now.this.config, outputs=str(folder))).artifacts.get(stage)

    return get


def contents(artifact: Artifact) -> dict[str, bytes]:
    """Of each file but the one that tells the time it took."""
    files = (file for file in artifact.directory.rglob("*") if file.is_file() and file.name != "done.json")
    return {file.relative_to(artifact.directory).as_posix(): file.read_bytes() for file in files}


def logged(monkeypatch: pytest.MonkeyPatch, log: Path, dies_at: int = -1) -> None:
    """Each shard is told in a file, and takes a while; the process dies before it keeps the one with that number."""
    keep = streaming.keep_folder

    def slowly(aside: Path, folder: Path) -> None:
        with log.open("a") as told:
            told.write(f"{folder.name} {os.getpid()}\n")
        if len(log.read_text().splitlines()) == dies_at:
            os.kill(os.getpid(), signals.SIGKILL)
        time.sleep(0.3)
        keep(aside, folder)

    monkeypatch.setattr(streaming, "keep_folder", slowly)


@pytest.mark.parametrize("dies_at", [-1, 4])
def test_two_runs_share_the_shards_and_take_over_that_of_one_that_was_killed(
    label: Label, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    alone = contents(label(tmp_path / "alone"))
    assert {"logits.npy", "tokens/input_ids.npy"} < set(alone)
    logged(monkeypatch, tmp_path / "log", dies_at)
    runs = [FORK.Process(target=label, args=(tmp_path / "both",)) for _ in range(2)]
    for one in runs:
        one.start()
    for one in runs:
        one.join(240)
    assert sorted(one.exitcode or 0 for one in runs) == [0 if dies_at < 0 else -signals.SIGKILL, 0]
    done = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert len({shard for shard, _ in done}) == 9
    assert sorted(Counter(shard for shard, _ in done).values()) == [1] * 8 + [1 if dies_at < 0 else 2]
    assert len({pid for _, pid in done}) == 2
    assert contents(label(tmp_path / "both")) == alone
    assert not list((tmp_path / "both").rglob("*.partial"))


def test_a_second_process_that_did_the_same_shard_leaves_what_is_there(tmp_path: Path) -> None:
    for name in ("first", "second"):
        aside = sharding.new_folder(tmp_path / "shard")
        (aside / "file").write_text(name)
        sharding.keep_folder(aside, tmp_path / "shard")
    assert [file.name for file in tmp_path.iterdir()] == ["shard"]
    assert (tmp_path / "shard/file").read_text() == "first"


def test_a_stream_without_a_text_to_learn_on_says_what_was_left_out(
    reviews: Path, encoder: Path, tmp_path: Path
) -> None:
    write_parquet(tmp_path / "x/a.parquet", [None, "", texts_in(reviews, "train")[3]])
    config = streamed_config(reviews, encoder, tmp_path, tmp_path / "x")
    with pytest.raises(UserError, match=r"no text of .*x is left to learn on; left out: .*'stream: empty text': 2"):
        prepared(config)


def test_a_file_that_is_damaged_is_told_before_a_teacher_is_trained(
    reviews: Path, encoder: Path, tmp_path: Path
) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a.parquet").write_bytes(b"PAR1 no table PAR1")
    with pytest.raises(UserError, match=r"a\.parquet cannot be read as Parquet"):
        read_data(open_run(streamed_config(reviews, encoder, tmp_path, tmp_path / "x")))


@pytest.mark.slow
def test_four_times_as_many_texts_take_hardly_more_memory(encoder: Path, tmp_path: Path) -> None:
    """In files of 2,500 rows, which are shards: what is held of one is the same, whatever their number. A text alone
    would be 1,500 bytes; pages of the files that were touched are some 90, and the rest is what a process takes more or
    less from one time to the next: up to 400 have been seen."""
    generator, found = random.Random(1), {}
    for files in (4, 16):
        for number in range(files):
            texts = [f"{review(generator)[0]} {number} {row} {'witty film ' * 130}" for row in range(2500)]
            write_parquet(tmp_path / f"stream-{files}/{number:02}.parquet", texts)
        (tmp_path / f"work-{files}").mkdir()
        command = [sys.executable, str(SCRIPT), encoder, tmp_path / f"stream-{files}", tmp_path / f"work-{files}"]
        count, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        assert int(count) == 2 + files * 2500
        found[files] = float(peak) * 1e6
    assert (found[16] - found[4]) / 30_000 < 800, found


def test_the_static_floor_learns_on_them_too(
    reviews: Path, encoder: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.config.schema.STATIC_STEPS", 6)
    arms = ["linear", "static", "soft+transfer"]
    now = run(streamed_config(reviews, encoder, tmp_path, shards, arms=arms, seeds=[0]))
    [floor, *_] = [stage for stage, _ in now.of(TrainStudent) if stage.who]
    [arm, *_] = [stage for stage, _ in now.of(TrainStudent) if not stage.who]
    assert floor.streamed == arm.streamed
    assert floor.streamed is not None
    own, other = (problem_of(one, tmp_path / one.who).texts.lengths for one in (floor, arm))
    assert list(own) == list(other)
