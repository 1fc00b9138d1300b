"""What happens inside the teacher, kept on the disk in the place of a teacher that runs beside the students."""

import dataclasses
import json
import multiprocessing
import os
import random
import shutil
import signal as signals
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from little_world import review
from small_runs import SmallRun, config_of, run, teacher_in
from stopped_training import problem_of
from tokenizers import Tokenizer

from distill import tasks
from distill.config import Architecture
from distill.data import Dataset
from distill.measure import EnergyMeter
from distill.models import build_transformer, save_model
from distill.results import Figure, StageCost
from distill.stages import states
from distill.stages.artifacts import Artifact, Artifacts
from distill.stages.context import Lesson, open_run
from distill.stages.states import CompareLayers, KeepStates, keep_states
from distill.stages.students import TrainStudent, training_of
from distill.stages.tokens import ReadTexts, Tokens
from distill.tasks import Task
from distill.text import Example, Reading
from distill.training import Beside, SoftLabelStore
from distill.training import states as store_file
from distill.training.devices import Machine
from distill.training.signal import StoredInside, look, look_alone
from distill.training.states import Compared, Sizes, StateStore

CPU = Machine("cpu", "fp32", "as asked for", 1)
NO_COST = StageCost("", 0.0, Figure(0.0, "J", "estimated", ""))
COMPARED = Compared((0, 2), (1,), (2,), 16, 16)
ROUNDED = {"rtol": 2**-11 + 1e-5, "atol": 1e-5}
"""By float16, and by other texts in the same batch."""
WHOLE = tasks.build("text-classification", ("fresh", "rotten"))
WINDOWS = tasks.build("text-classification", ("fresh", "rotten"), "", tasks.Windows(3))
WORDS = tasks.build("token-classification", ("O", "X"))
FORK = multiprocessing.get_context("fork")


@dataclasses.dataclass
class World:
    """A teacher, and texts of one to four windows, some of them there twice."""

    task: Task
    reading: Reading
    teacher: Any
    kept: Any
    stage: KeepStates
    get: Callable[[Path], Artifact]
    """Under a folder of artifacts"""

    def signals(self, folder: Path) -> tuple[StoredInside, Beside]:
        """Both ways to ask the teacher."""
        examples = self.stage.texts.examples
        labels = [np.full((len(e.text) if self.task.words else 1, 2), 0, np.float32) for e in examples]
        SoftLabelStore.write(folder / "labels", examples, labels)
        store = StateStore(self.get(folder).directory / "store")
        stored = StoredInside(SoftLabelStore(folder / "labels"), examples, store)
        return stored, Beside(self.teacher, frozenset({"units", "hidden", "qkv"}), kept=self.kept)


@pytest.fixture
def world(encoder: Path, tmp_path: Path) -> Callable[..., World]:
    def make(task: Task = WHOLE, trimmed: bool = False, scale: float = 1.0) -> World:
        reading = Reading(Tokenizer.from_file(str(encoder / "tokenizer.json")), 12)
        small = Architecture(layers=2, hidden_size=16, heads=2, intermediate_size=32, initializer_range=0.2)
        teacher = build_transformer(small, reading.tokenizer, {}, task, 12, 0)
        with torch.no_grad():
            for name, weight in teacher.model.named_parameters():
                if "query" in name:
                    weight *= scale
        save_model(teacher, tmp_path / "teacher/model", 12)
        (tmp_path / "teacher/result.json").write_text('{"padding": ""}')
        (tmp_path / "vocabulary").mkdir(exist_ok=True)
        kept = None
        if trimmed:  # another id for each piece
            kept = np.random.default_rng(0).permutation(reading.vocabulary_size)
            np.save(tmp_path / "vocabulary/kept.npy", kept)
        generator = random.Random(4)
        texts = [" and ".join([f"film {i}", *(review(generator)[0] for _ in range(i % 4))]) for i in range(40)]
        examples = tuple(Example(tuple(text.split()) if task.words else text) for text in texts)
        part = Dataset((*examples, *examples[:5]), (), (), (), (), {}, "", "", ()).part("train")

        def artifacts(folder: Path) -> Artifacts:
            return Artifacts(folder, CPU, lambda: EnergyMeter("cpu", 1.0))

        read = Tokens(part, artifacts(tmp_path / "read").get(ReadTexts(reading, task, part)))
        model, vocabulary = (Artifact(tmp_path / name, name, NO_COST) for name in ("teacher", "vocabulary"))
        stage = KeepStates(model, COMPARED, vocabulary, reading, task, read)
        return World(task, reading, teacher.model, kept, stage, lambda folder: artifacts(folder).get(stage))

    return make


@pytest.mark.parametrize("task", [WHOLE, WINDOWS, WORDS], ids=["cut", "windows", "words"])
@pytest.mark.parametrize("trimmed", [False, True], ids=["whole", "trimmed"])
def test_stored_states_are_those_of_a_teacher_beside(
    world: Callable[..., World], task: Task, trimmed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_file, "SHARD", 20_000)
    now = world(task, trimmed)
    stored, beside = now.signals(tmp_path)
    assert len(stored.states.shards) > 3
    rows = now.stage.texts.rows(now.task, now.reading)
    assert (now.stage.texts.encoded.windows > 1).any() == (task is WINDOWS)
    order = np.random.default_rng(0).permutation(45)
    parts = [np.arange(0, 9), np.arange(9, 30), np.arange(30, 45)]  # a step in three forward passes
    for batch in rows.batches(order, parts, np.random.default_rng(0), stored):
        found, wanted = stored.of(batch), beside.of(batch)
        mask = batch.inputs["attention_mask"].bool()
        assert not mask.all()
        for layer in COMPARED.hidden:
            torch.testing.assert_close(found.hidden[layer][mask], wanted.hidden[layer][mask], **ROUNDED)
            assert not found.hidden[layer][~mask].any()
        torch.testing.assert_close(found.hidden[1], wanted.hidden[1][:, :1], **ROUNDED)
        torch.testing.assert_close(found.qkv[1][:, mask], wanted.qkv[1][:, mask], **ROUNDED)
        assert (found.qkv[0].numel(), len(found.hidden), len(found.qkv)) == (0, 3, 2)  # nothing else is there
        assert all(x.dtype == torch.float32 for x in (*found.hidden, *found.qkv))


@pytest.mark.parametrize("task", [WHOLE, WORDS], ids=["whole", "words"])
def test_a_teacher_that_does_not_bear_padding_says_the_same_stored_and_beside(
    world: Callable[..., World], task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here it reads padding as text."""
    now = world(task, trimmed=True)
    (tmp_path / "teacher/result.json").write_text('{"padding": "it answers otherwise where padded"}')

    def unmasked(module: Any, given: Any, inputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return given, {**inputs, "attention_mask": torch.ones_like(inputs["attention_mask"])}

    now.teacher.register_forward_pre_hook(unmasked, with_kwargs=True)
    monkeypatch.setattr("distill.models.load_model", lambda *_: SimpleNamespace(model=now.teacher))
    stored, together = now.signals(tmp_path)
    alone = Beside(now.teacher, together.needs, kept=now.kept, alone=True)
    rows = now.stage.texts.rows(now.task, now.reading)
    (batch,) = rows.batches(np.arange(12), [np.arange(12)], np.random.default_rng(0), stored)
    mask, units = batch.inputs["attention_mask"].bool(), batch.unit_mask
    assert not mask.all()
    kept, found, padded = (one.of(batch) for one in (stored, alone, together))
    torch.testing.assert_close(found.hidden[2][mask], kept.hidden[2][mask], **ROUNDED)
    torch.testing.assert_close(found.qkv[1][:, mask], kept.qkv[1][:, mask], **ROUNDED)
    assert not torch.allclose(padded.hidden[2][mask], kept.hidden[2][mask], **ROUNDED)
    for row, example in enumerate(now.stage.texts.examples[:12]):
        (ids,) = now.reading.encode([example])
        ids = torch.from_numpy(now.kept[ids.input_ids])[None]
        with torch.no_grad():
            logits = now.teacher(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        own = found.units[row][units[row]]
        if task is WORDS:
            (encoded,) = now.reading.encode([example])
            logits = logits[torch.from_numpy(encoded.word_starts[encoded.word_starts >= 0])]
        torch.testing.assert_close(own, logits.reshape(own.shape), rtol=1e-4, atol=1e-5)
    assert padded.units.shape == found.units.shape
    assert not torch.allclose(padded.units[units], found.units[units], rtol=1e-3, atol=1e-3)


def test_what_is_kept_is_no_more_than_was_said(world: Callable[..., World], tmp_path: Path) -> None:
    now = world(WINDOWS)
    folder = now.get(tmp_path).directory / "store"
    encoded = list(now.stage.texts.encoded)[:40]  # the last five are there twice
    tokens = sum(len(row.input_ids) for one in encoded for row in (one, *one.more))
    rows = sum(1 + len(one.more) for one in encoded)
    assert now.stage.bytes == 2 * (tokens * (2 * 16 + 3 * 16) + rows * 16)
    kept = sum(np.load(file).nbytes for file in folder.glob("[0-9]*.npy"))
    assert kept == now.stage.bytes
    assert all(np.load(file).dtype == np.float16 for file in folder.glob("[0-9]*.npy"))
    assert isinstance(StateStore(folder).shards[0], np.memmap)
    with pytest.raises(KeyError, match="other data"):
        StateStore(folder).rows_of([Example("unheard of")])


def test_shards_are_of_neighbouring_texts_and_hold_one_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_file, "SHARD", 2 * 16 * 10)  # ten tokens
    compared = Compared(hidden=(1,), state_size=16)
    sizes = Sizes(np.array([0, 4, 9, 30, 40, 41]), np.arange(6))
    assert sizes.shards(compared) == [(0, 2), (2, 3), (3, 4), (4, 5)]
    assert Sizes(np.array([0]), np.array([0])).shards(compared) == []


def logged(monkeypatch: pytest.MonkeyPatch, log: Path, dies_at: int = -1) -> None:
    """Each shard is told in a file; the process dies in the middle of the one with that number."""
    write = states.write_shard

    def told(folder: Path, first: int, of_texts: Sequence[Any]) -> None:
        with log.open("a") as file:
            file.write(f"{first}\n")
        if len(log.read_text().splitlines()) == dies_at:
            (folder / f".{first:012}.npy-{os.getpid()}").write_bytes(b"half")
            os.kill(os.getpid(), signals.SIGKILL)
        write(folder, first, of_texts)

    monkeypatch.setattr(states, "write_shard", told)


def test_a_run_that_was_killed_goes_on_behind_the_last_shard(
    world: Callable[..., World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_file, "SHARD", 20_000)
    now = world(WINDOWS)
    alone = now.get(tmp_path / "alone").directory / "store"
    logged(monkeypatch, tmp_path / "log", dies_at=3)
    killed = FORK.Process(target=now.get, args=(tmp_path / "killed",))
    killed.start()
    killed.join(120)
    assert killed.exitcode == -signals.SIGKILL
    found = now.get(tmp_path / "killed").directory
    shards = (tmp_path / "log").read_text().splitlines()
    assert len(shards) == len(set(shards)) + 1  # the one that was half written
    assert shards[2] == shards[3]
    files = sorted(path.name for path in alone.iterdir())
    assert len(files) == len(set(shards)) + 4
    assert sorted(path.name for path in (found / "store").iterdir()) == files
    for name in files:
        assert (found / "store" / name).read_bytes() == (alone / name).read_bytes()
    assert sorted(path.name for path in found.iterdir()) == ["done.json", "shape.json", "store"]


def test_numbers_that_float16_does_not_hold_are_not_kept(
    world: Callable[..., World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_file, "SHARD", 20_000)
    folder = world(WHOLE, scale=1e6).get(tmp_path).directory
    assert sorted(path.name for path in folder.iterdir()) == ["beyond", "done.json", "shape.json"]


INSIDE = {
    "terms": [
        {"name": "kl"},
        {"name": "hidden", "layers": [[1, 2], [0, 0]]},
        {"name": "cls", "layers": [[1, 1]]},
        {"name": "relations", "layers": [[1, 1]]},
    ],
}
SMALL = {"layers": 1, "hidden_size": 16, "heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="session")
def kept_run(tmp_path_factory: pytest.TempPathFactory, reviews: Path, encoder: Path) -> tuple[SmallRun, list[str]]:
    """A run with states on the disk and a trimmed vocabulary, and what it said."""
    changes: dict[str, Any] = {
        "teacher": {**teacher_in(encoder), "tries": 1},
        "student": {"name": "transformer", "architecture": SMALL, "vocabulary": {"trim": True}},
        "objective": {**INSIDE, "states_gb": 1},
        "arms": ["linear", "hard", "soft", "pseudo+transfer"],
        "export": {"variants": ["fp32"]},
    }
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(states, "say", said.append)
        patch.setattr(states, "ROOM", 0)
        found = run(config_of(reviews, tmp_path_factory.mktemp("kept"), "test A", **changes))
    return found, said


def test_arms_rates_and_seeds_share_one_store_and_no_teacher_runs_beside(
    kept_run: tuple[SmallRun, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, said = kept_run
    ((stage, artifact),) = now.of(KeepStates)
    assert stage.compared == Compared((0, 2), (1,), (1,), 32, 32)  # the teacher's layers of the pairs
    assert stage.texts.splits == ("train", "transfer")
    trainings = [one for one, _ in now.of(TrainStudent)]
    assert len(trainings) == 3 * 3
    for one in trainings:
        assert one.beside is None
        assert (one.states is None) == (one.arm == "hard")
        assert one.states is None or one.states.identity == artifact.identity
    (line,) = said
    assert "within objective.states_gb=1: kept on the disk" in line
    assert now.outcome is not None
    assert [cost.stage for cost in now.outcome.report.costs].count(stage.what) == 1
    (soft, *_) = [one for one in trainings if one.arm == "soft"]
    monkeypatch.setattr("distill.models.load_model", None)
    problem_of(soft, tmp_path)


def beside(now: SmallRun) -> tuple[Any, Lesson]:
    """The same run with the teacher beside."""
    objective = dataclasses.replace(now.config.objective, states_gb=0.0)
    this = open_run(dataclasses.replace(now.config, objective=objective))
    lesson = dataclasses.replace(now.values["keep_states"], states=None)
    assert keep_states(this, lesson) is lesson
    return this, lesson


def test_a_student_learns_the_same_with_states_and_with_the_teacher_beside(
    kept_run: tuple[SmallRun, list[str]],
) -> None:
    now, _ = kept_run
    this, lesson = beside(now)
    for arm in ("soft", "pseudo+transfer"):
        ((stage, artifact), *_) = [one for one in now.of(TrainStudent) if one[0].arm == arm]
        other = training_of(this, lesson, arm, stage.rate, stage.seed)
        assert (other.beside, other.states) == (lesson.signal.teacher.model, None)
        found, wanted = (one.read("result.json")["curve"] for one in (artifact, this.artifacts.get(other)))
        for mine, theirs in zip(found, wanted, strict=True):
            assert mine["train_loss"] == pytest.approx(theirs["train_loss"], rel=2e-3)
            assert mine["train_loss"] != theirs["train_loss"]  # rounded, so they are not one training


def test_each_term_is_what_it_is_with_the_teacher_beside(kept_run: tuple[SmallRun, list[str]], tmp_path: Path) -> None:
    now, _ = kept_run
    this, lesson = beside(now)
    stage = next(one for one, _ in now.of(TrainStudent) if one.arm == "pseudo+transfer")
    mine = problem_of(stage, tmp_path / "mine")
    theirs = problem_of(training_of(this, lesson, stage.arm, stage.rate, stage.seed), tmp_path / "theirs")
    rows = np.arange(len(mine.texts.lengths))
    for problem in (mine, theirs):
        assert problem.signal is not None
    (batch,) = mine.texts.batches(rows, [rows], np.random.default_rng(0), mine.signal)
    with torch.no_grad():
        student = look(mine.model.eval(), batch, mine.objective.needs)
    seen = [problem.signal.of(batch) for problem in (mine, theirs)]  # type: ignore[union-attr]
    torch.testing.assert_close(seen[0].units, seen[1].units)
    assert len(mine.objective.parts) == 4
    for term in mine.objective.parts:
        one, other = (float(term(student, each, batch).detach()) for each in seen)
        assert one == pytest.approx(other, rel=1e-3)
        assert one > 0


def test_beside_a_teacher_that_does_not_bear_padding_rows_are_run_by_themselves(
    kept_run: tuple[SmallRun, list[str]], tmp_path: Path
) -> None:
    this, lesson = beside(kept_run[0])
    stage = training_of(this, lesson, "soft", 1e-3, 0)
    assert stage.beside is not None
    shutil.copytree(stage.beside.directory, tmp_path / "teacher")
    for padding, look_as in (("", look), ("it answers otherwise where padded", look_alone)):
        result = {**stage.beside.read("result.json"), "padding": padding}
        (tmp_path / "teacher/result.json").write_text(json.dumps(result))
        other = dataclasses.replace(stage, beside=dataclasses.replace(stage.beside, directory=tmp_path / "teacher"))
        signal: Any = problem_of(other, tmp_path).signal
        assert signal.beside.look is look_as


@pytest.mark.parametrize(
    ("setting", "room", "why"), [(1e-6, 0.0, "more than objective.states_gb=1e-06"), (1.0, 1e30, "the disk of")]
)
def test_what_does_not_fit_is_not_kept_and_the_teacher_runs_beside(
    kept_run: tuple[SmallRun, list[str]], setting: float, room: float, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, _ = kept_run
    said: list[str] = []
    monkeypatch.setattr(states, "say", said.append)
    monkeypatch.setattr(states, "ROOM", room)
    _, lesson = beside(now)
    objective = dataclasses.replace(now.config.objective, states_gb=setting)
    this = open_run(dataclasses.replace(now.config, objective=objective))
    asked: list[Any] = []
    get = this.artifacts.get
    monkeypatch.setattr(this.artifacts, "get", lambda stage: (asked.append(type(stage)), get(stage))[1])
    assert keep_states(this, lesson).states is None
    assert KeepStates not in asked
    assert CompareLayers in asked
    (line,) = said
    assert why in line
    assert line.endswith("the teacher runs beside the students")
    assert training_of(this, lesson, "soft", 1e-3, 0).beside == lesson.signal.teacher.model


def test_nothing_is_kept_where_no_arm_looks_inside(kept_run: tuple[SmallRun, list[str]]) -> None:
    now, _ = kept_run
    this = open_run(dataclasses.replace(now.config, arms=("linear", "static", "hard")))
    lesson = beside(now)[1]
    assert keep_states(this, lesson) is lesson


def test_only_labelled_texts_are_asked_about_where_no_arm_learns_on_others(
    kept_run: tuple[SmallRun, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, _ = kept_run
    monkeypatch.setattr(states, "ROOM", 0)
    this, lesson = open_run(dataclasses.replace(now.config, arms=("linear", "soft"))), beside(now)[1]
    kept = keep_states(this, lesson).states
    assert kept is not None
    assert len(StateStore(kept.directory / "store")) == len(now.values["read_data"].train)


def test_what_is_on_the_disk_already_needs_no_room(kept_run: tuple[SmallRun, list[str]]) -> None:
    now, _ = kept_run
    ((stage, artifact),) = now.of(KeepStates)
    this = open_run(now.config)
    assert stage.bytes < this.artifacts.written(stage) < stage.bytes + 20_000
    assert this.artifacts.written(dataclasses.replace(stage, compared=Compared((1,), (), (), 32, 0))) == 0
    assert artifact.directory.is_dir()


def test_states_beyond_float16_leave_the_teacher_beside(
    kept_run: tuple[SmallRun, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, _ = kept_run
    ((_, artifact),) = now.of(KeepStates)
    said: list[str] = []
    monkeypatch.setattr(states, "say", said.append)
    monkeypatch.setattr(states, "ROOM", 0)
    this, lesson = open_run(now.config), beside(now)[1]
    assert getattr(keep_states(this, lesson).states, "directory", None) == artifact.directory
    (artifact.directory / states.BEYOND).touch()
    try:
        assert keep_states(this, lesson).states is None
    finally:
        (artifact.directory / states.BEYOND).unlink()
    assert "numbers that float16 does not hold" in said[-1]
