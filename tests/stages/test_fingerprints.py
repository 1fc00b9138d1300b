"""What a stage is told by: each of its inputs, each of its rooms, and nothing else."""

import ast
import dataclasses
import importlib
import inspect
import os
import pkgutil
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from little_world import word_pieces
from small_runs import texts_in

from distill import stages, tasks
from distill.config import (
    AugmentConfig,
    DataConfig,
    ExportConfig,
    LayersStudent,
    LowRankStep,
    MaskedLmStep,
    MaskStep,
    MeasureConfig,
    ObjectiveConfig,
    PretrainedTeacher,
    PretrainingConfig,
    ProbabilitiesTeacher,
    PruneStep,
    RecurrentStudent,
    RecurrentTeacher,
    Source,
    StaticStudent,
    TrainConfig,
    TrainedTokenizer,
    TransformerStudent,
    TransformerTeacher,
    Vocabulary,
    WordStep,
)
from distill.data import Dataset, Part
from distill.data.stream import Known, ParquetFile, Stream
from distill.measure import EnergyMeter
from distill.results import Figure, StageCost
from distill.stages import stage as stage_file
from distill.stages.artifacts import Artifact, Artifacts
from distill.stages.augmentation import MakeTexts
from distill.stages.checkpoint import LookAtCheckpoint, TryTeacher
from distill.stages.comparison import AnswerHeldOut, AnswerLearnt
from distill.stages.compressible import TryCompression
from distill.stages.compressing import CutModel, RecoverStudent
from distill.stages.context import Streamed
from distill.stages.cross_fitting import MixLabels
from distill.stages.exporting import AnswerByGraph, ExportModel
from distill.stages.floor import FitLinear
from distill.stages.importance import RankParts
from distill.stages.looking import LookInside
from distill.stages.measuring import MeasureVariant
from distill.stages.pretraining import LookAtCorpora, PretrainStudent
from distill.stages.signal import ContinueTexts, LabelTexts, ReadLabels, WriteTexts
from distill.stages.stage import Stage, identity
from distill.stages.states import CompareLayers, KeepStates
from distill.stages.streaming import LabelStream, ReadStream, SieveStream
from distill.stages.students import TrainStudent
from distill.stages.teacher import TrainTeacher
from distill.stages.texts import MakeReading, MakeVocabulary
from distill.stages.tokens import ReadTexts, Tokens
from distill.stages.vectors import MakeVectors
from distill.tasks import Task
from distill.text import Example, Reading
from distill.training.devices import Machine
from distill.training.states import Compared

CPU = Machine("cpu", "fp32", "as asked for", 1)
ON_DEVICE = {
    MakeTexts,
    TrainTeacher,
    PretrainStudent,
    LabelTexts,
    KeepStates,
    LabelStream,
    WriteTexts,
    ContinueTexts,
    MakeVectors,
    RankParts,
    TrainStudent,
    CutModel,
    RecoverStudent,
    AnswerHeldOut,
    AnswerLearnt,
}
DO_NOT_MATTER = {"checkpoint_seconds", "licence", "enabled", "folds", "states_gb", "place", "sharded"}
"""Names of settings that change no result, wherever they stand."""
CHECKED_ALONE = {
    *((TrainTeacher, name) for name in ("students", "objective", "augment", "without", "key")),
    (TryTeacher, "key"),
    *((kind, name) for kind in (TrainStudent, RecoverStudent) for name in ("who", "fixed_rate")),
}
"""Fields that a stage only checks, or says."""


def concrete_stages() -> set[type[Stage]]:
    """Every stage of the package."""
    for module in pkgutil.iter_modules(stages.__path__):
        importlib.import_module(f"distill.stages.{module.name}")

    def below(kind: type) -> Iterator[type]:
        for own in kind.__subclasses__():
            yield own
            yield from below(own)

    return {one for one in below(Stage) if one.__module__.startswith("distill.") and not inspect.isabstract(one)}


@pytest.fixture
def table(tmp_path: Path) -> dict[type[Stage], Stage]:
    """One of each stage, no field of it empty."""
    for name in ("teacher", "tokenizer", "probabilities", "corpus"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)

    def source(name: str) -> Source:
        return Source(path=str(tmp_path / name), licence="MIT")

    def artifact(name: str) -> Artifact:
        return Artifact(tmp_path, name, StageCost("made", 1.0, Figure(None, "J", "unavailable", "no counter"), False))

    reading = Reading(word_pieces(["a film of note"]), 16, special_tokens={"cls_token": "[CLS]"})
    task = tasks.build("multi-label-classification", ("bad", "good"), "micro_f1", tasks.Windows(4))
    task = task.with_thresholds((0.5, -0.5))
    dataset = Dataset(
        *(
            tuple(Example(f"{split} {i}", f"pair {i}", ("good",), f"group {i}") for i in range(3))
            for split in ("train", "transfer", "validation", "test")
        ),
        labels=task.labels,
        dropped={},
        licence="",
        source="",
        notes=(),
        out_of_scope=(Example("elsewhere", "pair"), Example("elsewhere too", "pair")),
    )
    train, training, validation, test, held_out = (
        dataset.part(*splits)
        for splits in (("train",), ("train", "transfer"), ("validation",), ("test",), ("test", "out_of_scope"))
    )

    def read(part: Part) -> Tokens:
        return Tokens(part, artifact("tokens"))

    stream = Stream("here", "text", (ParquetFile("here/1", ("1", 9, "now"), 2), ParquetFile("here/2", ("2", 9, ""), 3)))
    teacher = PretrainedTeacher("pretrained", source("teacher"), label_map={"LABEL_0": "bad"})
    student = LayersStudent("layers", (1,), pretraining=PretrainingConfig((source("corpus"),), limit=5))
    made_texts = AugmentConfig((MaskStep("mask"), WordStep("words"), MaskedLmStep("masked_lm")))
    pruning = PruneStep("prune", parameters=0.5)
    of_student: dict[str, Any] = {
        "arm": "soft",
        "student": student,
        "start": artifact("teacher"),
        "importance": artifact("importance"),
        "objective": ObjectiveConfig(),
        "signal": artifact("signal"),
        "beside": artifact("teacher"),
        "states": artifact("states"),
        "thresholds": (0.5, 0.25),
        "budget": TrainConfig(),
        "seed": 0,
        "vocabulary": artifact("vocabulary"),
        "reading": reading,
        "task": task,
        "texts": read(training),
        "labelled": train,
        "validation": read(validation),
        "paired": False,
        "streamed": Streamed(stream, artifact("sieved"), artifact("labels"), artifact("tokens")),
        "who": "assistant",
    }
    made: list[Stage] = [
        MakeReading(TrainedTokenizer("trained"), source("tokenizer"), True, False, 16, "text-classification", training),
        LookAtCheckpoint(source("tokenizer"), False, "text-classification", student, False),
        TryTeacher(teacher, task, True, "ensemble.teachers[0]"),
        MakeVocabulary(Vocabulary(True), reading, training, validation),
        ReadTexts(reading, task, training),
        MakeTexts(
            made_texts,
            0,
            "[MASK]",
            artifact("teacher"),
            teacher,
            reading,
            task,
            training,
        ),
        TrainTeacher(
            teacher,
            0,
            False,
            reading,
            task,
            read(train),
            read(validation),
            False,
            (student,),
            ObjectiveConfig(),
            made_texts,
            "fold 1",
        ),
        LabelTexts(artifact("teacher"), reading, task, read(training), True),
        CompareLayers(artifact("teacher"), student, ObjectiveConfig(), task),
        KeepStates(
            artifact("teacher"),
            Compared((1, 2), (3,), (2,), 16, 16),
            artifact("vocabulary"),
            reading,
            task,
            read(training),
        ),
        SieveStream(stream, Known.of(dataset)),
        LabelStream(stream, artifact("sieved"), reading, task, artifact("teacher")),
        ReadStream(stream, artifact("sieved"), reading, task),
        MixLabels((artifact("one"), artifact("other")), task, training, (2.0, 1.0), True),
        WriteTexts(artifact("teacher"), reading, task, read(training)),
        ContinueTexts(artifact("teacher"), reading, task, read(training), 0),
        ReadLabels(
            ProbabilitiesTeacher("probabilities", source("probabilities")),
            DataConfig(pair="pair", label_map={"0": "bad"}, splits={"validation": "dev"}),
            task,
            training,
        ),
        MakeVectors(artifact("teacher"), "layers", 8, reading, task, read(training)),
        RankParts(artifact("teacher"), reading, task, read(train), True, False),
        LookAtCorpora(student.pretraining, validation),
        PretrainStudent(teacher, student, 0, reading, training, validation, 64, 300.0),
        TrainStudent(**of_student),
        RecoverStudent(**of_student, step=pruning),
        CutModel(
            artifact("student"),
            pruning,
            0,
            reading,
            task,
            read(train),
            read(validation),
            artifact("signal"),
            ObjectiveConfig(),
        ),
        TryCompression(
            (pruning, LowRankStep("low_rank")), student, teacher, artifact("vocabulary"), reading, task, False
        ),
        FitLinear(task, train, validation, held_out),
        AnswerHeldOut(artifact("student"), "soft, seed 0", reading, task, read(held_out)),
        AnswerLearnt(artifact("student"), "soft, seed 0", reading, task, read(training), (0, 2)),
        ExportModel("student", artifact("student"), ExportConfig(), reading, task, validation),
        LookInside(
            "student", artifact("student"), reading, task, test.examples[0], dataset.part("train", "validation", "test")
        ),
        AnswerByGraph("student", artifact("export"), ("model",), "int8", reading, task, test),
        MeasureVariant(
            "student",
            artifact("export"),
            "int8",
            ("model",),
            ("input_ids",),
            MeasureConfig(),
            {"processor": "some", "system": "any"},
            reading,
            task,
            test,
        ),
    ]
    return {type(one): one for one in made}


OTHER_KINDS: dict[type, tuple[Any, ...]] = {
    PretrainedTeacher: (TransformerTeacher("transformer"), RecurrentTeacher("recurrent")),
    LayersStudent: (TransformerStudent("transformer"), RecurrentStudent("recurrent"), StaticStudent("static")),
    TrainedTokenizer: (None,),
    Artifact: (None,),
}
"""What else may stand in a field."""


def changes(value: Any) -> Iterator[tuple[str, Any]]:
    """Every way to change a value a little, with the path to what is changed."""
    for other in OTHER_KINDS.get(type(value), ()):
        yield f"kind {type(other).__name__}", other
    if isinstance(value, Source):
        yield "licence", dataclasses.replace(value, licence="GPL")
        yield "path", dataclasses.replace(value, path=str(Path(str(value.path)).parent))
    elif isinstance(value, Artifact):
        yield "identity", dataclasses.replace(value, identity=value.identity + " of another stage")
    elif isinstance(value, Known):
        yield "more", Known(value.keys | {b"another"})
        yield "fewer", Known(frozenset(sorted(value.keys)[1:]))
    elif isinstance(value, Part):
        yield from changes_of_part(value)
    elif isinstance(value, Reading):
        yield from changes_of_reading(value)
    elif isinstance(value, Task):
        yield "labels", tasks.build(value.name, value.labels[::-1], value.metric.name, value.windows)
        yield "task", tasks.build("text-classification", value.labels, "", value.windows)
        yield "metric", type(value)(value.labels, "macro_f1", value.windows, value.thresholds)
        yield "stride", type(value)(value.labels, value.metric.name, tasks.Windows(5), value.thresholds)
        yield "pooling", type(value)(value.labels, value.metric.name, tasks.Windows(4, "max"), value.thresholds)
        yield "thresholds", value.with_thresholds(value.thresholds[::-1])
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            for path, changed in changes(getattr(value, field.name)):
                yield f"{field.name}.{path}", dataclasses.replace(value, **{field.name: changed})
    elif isinstance(value, dict):
        yield "more", {**value, "another": "one"}
        for key, own in value.items():
            for path, changed in changes(own):
                yield f"{key}.{path}", {**value, key: changed}
    elif isinstance(value, tuple):
        yield "more", (*value, "another")
        if value:
            yield "fewer", value[:-1]
        for i, own in enumerate(value):
            for path, changed in changes(own):
                yield f"{i}.{path}", (*value[:i], changed, *value[i + 1 :])
        if len(value) > 1:
            yield "order", value[::-1]
    else:
        yield "", other_scalar(value)


def other_scalar(value: Any) -> Any:
    """Another value of the kind."""
    if value is None:
        return 7
    if isinstance(value, bool):
        return not value
    return value + {int: 1, float: 0.5, str: "x"}[type(value)]


def changes_of_part(part: Part) -> Iterator[tuple[str, Part]]:
    """Another text, pair, label, group or order in each of its splits; fewer splits, and others."""

    def with_split(split: str, examples: tuple[Example, ...]) -> Part:
        return Part(dataclasses.replace(part.whole, **{split: examples}), part.splits)

    for split in part.splits:
        first, *others = part.of(split)
        yield f"{split}.order", with_split(split, (*others, first))
        yield f"{split}.fewer", with_split(split, tuple(others))
        for name, other in (("text", "other"), ("pair", "other"), ("label", ("bad",)), ("group", "other")):
            yield f"{split}.{name}", with_split(split, (dataclasses.replace(first, **{name: other}), *others))
    if len(part.splits) > 1:
        yield "splits", Part(part.whole, part.splits[:1])
    yield "another split", Part(part.whole, (*part.splits, "transfer" if "test" in part.splits else "test"))


def changes_of_reading(reading: Reading) -> Iterator[tuple[str, Reading]]:
    """Another maximum, padding, special token or vocabulary."""
    tokenizer, special = reading.tokenizer, reading.special_tokens
    yield "max_length", Reading(tokenizer, reading.max_length + 1, reading.pad_id, special)
    yield "pad_id", Reading(tokenizer, reading.max_length, reading.pad_id + 1, special)
    yield "special_tokens", Reading(tokenizer, reading.max_length, reading.pad_id, {"cls_token": "[SEP]"})
    yield "vocabulary", Reading(word_pieces(["another film"]), reading.max_length, reading.pad_id, special)


def matters(kind: type[Stage], path: str) -> bool:
    """Whether a change there is one of the result."""
    names = path.split(".")
    return not (DO_NOT_MATTER & set(names) or (kind, names[0]) in CHECKED_ALONE)


def test_every_stage_of_the_package_is_in_the_table(table: dict[type[Stage], Stage]) -> None:
    assert set(table) == concrete_stages()


@pytest.mark.parametrize("kind", sorted(concrete_stages(), key=lambda one: one.__name__))
def test_every_field_that_matters_changes_the_fingerprint(kind: type[Stage], table: dict[type[Stage], Stage]) -> None:
    stage = table[kind]
    before = stage.fingerprint(CPU)
    same, wrong = set(), []
    for path, changed in changes(stage):
        if (changed.fingerprint(CPU) != before) != matters(kind, path):
            wrong.append(path)
        if changed.fingerprint(CPU) == before:
            same.add(path.split(".")[0])
    assert not wrong
    assert {path.split(".")[0] for path, _ in changes(stage)} == {field.name for field in dataclasses.fields(stage)}
    assert dataclasses.replace(stage).fingerprint(CPU) == before


def test_changes_that_do_not_matter_were_tried(table: dict[type[Stage], Stage]) -> None:
    paths = {(kind, path) for kind, stage in table.items() for path, _ in changes(stage)}
    for kind, path in (
        (TrainStudent, "budget.checkpoint_seconds."),
        (TrainStudent, "objective.states_gb."),
        (TrainTeacher, "model.train.checkpoint_seconds."),
        (TrainTeacher, "model.source.licence"),
        (PretrainStudent, "student.pretraining.texts.0.licence"),
        (PretrainStudent, "checkpoint_seconds."),
        (MeasureVariant, "settings.enabled."),
        (TrainTeacher, "students.0.layers.0."),
        (TrainTeacher, "objective.on_policy."),
        (TrainTeacher, "model.folds."),
    ):
        assert (kind, path) in paths
        assert not matters(kind, path)


def part_of(value: Part | Tokens) -> Part:
    return value.texts if isinstance(value, Tokens) else value


def test_splits_that_a_stage_is_not_given_do_not_change_it(table: dict[type[Stage], Stage]) -> None:
    for stage in table.values():
        values = {f.name: getattr(stage, f.name) for f in dataclasses.fields(stage)}
        parts = {name: value for name, value in values.items() if isinstance(value, (Part, Tokens))}
        if not parts:  # it reads no texts, or those of files
            assert isinstance(
                stage,
                LookAtCheckpoint | TryTeacher | CompareLayers | TryCompression | SieveStream | LabelStream | ReadStream,
            )
            continue
        given = {split for one in parts.values() for split in part_of(one).splits}
        whole = part_of(next(iter(parts.values()))).whole
        others = dict.fromkeys(("train", "transfer", "validation", "test", "out_of_scope"), ())
        without = dataclasses.replace(whole, **{split: others[split] for split in others if split not in given})
        now = {name: Part(without, part_of(one).splits) for name, one in parts.items()}
        changed = dataclasses.replace(
            stage, **{n: Tokens(now[n], one.read) if isinstance(one, Tokens) else now[n] for n, one in parts.items()}
        )
        assert changed.fingerprint(CPU) == stage.fingerprint(CPU), stage.name


@pytest.mark.parametrize("kind", sorted(concrete_stages(), key=lambda one: one.__name__))
def test_device_and_precision_matter_where_a_model_runs_on_them(
    kind: type[Stage], table: dict[type[Stage], Stage]
) -> None:
    stage = table[kind]
    for other in (dataclasses.replace(CPU, device="cuda"), dataclasses.replace(CPU, precision="bf16")):
        assert (stage.fingerprint(other) != stage.fingerprint(CPU)) == (kind in ON_DEVICE)
    same = dataclasses.replace(CPU, threads=8, why="found by a probe")
    assert stage.fingerprint(same) == stage.fingerprint(CPU)


def test_libraries_matter_by_their_version(table: dict[type[Stage], Stage], monkeypatch: pytest.MonkeyPatch) -> None:
    before = {kind: stage.fingerprint(CPU) for kind, stage in table.items()}
    monkeypatch.setattr(stage_file, "library_versions", lambda names: dict.fromkeys(names, "0"))
    assert all(stage.fingerprint(CPU) != before[kind] for kind, stage in table.items())


FUNCTION = 'def double(x):\n    """Twice."""\n    return 2 * x\n'
SAME = '"""A docstring."""\n\n\ndef double(x):  # why\n    return (2\n        * x)\n'


def forget_sources() -> None:
    """As a new process reads them."""
    stage_file.source_fingerprint.cache_clear()
    stage_file.file_fingerprint.cache_clear()


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with a small file in each room and for each stage, and with a room that no stage names."""
    folder = tmp_path / "house"
    own = {kind: folder / "stages" / Path(inspect.getfile(kind)).name for kind in concrete_stages()}
    rooms = {room for kind in concrete_stages() for room in kind.rooms} | {"elsewhere"}
    inside = {folder / room if room.endswith(".py") else folder / room / "inside" / "file.py" for room in rooms}
    for file in (*own.values(), *inside):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(FUNCTION)
    monkeypatch.setattr(stage_file, "PACKAGE", folder)
    monkeypatch.setattr(stage_file, "inspect", SimpleNamespace(getfile=lambda kind: str(own[kind])))
    forget_sources()
    yield folder
    forget_sources()


def test_the_source_of_rooms_and_of_the_stage_matters_without_comments_and_layout(
    house: Path, table: dict[type[Stage], Stage]
) -> None:
    def fingerprints() -> dict[type[Stage], str]:
        forget_sources()
        return {kind: stage.fingerprint(CPU) for kind, stage in table.items()}

    def told_by(kind: type[Stage], name: str) -> bool:
        own = f"stages/{kind.__module__.rsplit('.', 1)[-1]}.py"
        return name == own or any(name == room or name.startswith(f"{room}/") for room in kind.rooms)

    before = fingerprints()
    for file in sorted(house.rglob("*.py")):
        name = file.relative_to(house).as_posix()
        file.write_text(SAME)
        assert fingerprints() == before, name
        file.write_text(FUNCTION.replace("2 *", "3 *"))
        after = fingerprints()
        assert {kind for kind in table if after[kind] != before[kind]} == {k for k in table if told_by(k, name)}, name
        file.write_text(FUNCTION)
    (house / "tasks" / "inside" / "file.py").rename(house / "tasks" / "inside" / "renamed.py")
    after = fingerprints()
    assert {kind for kind in table if after[kind] != before[kind]} == {k for k in table if "tasks" in k.rooms}


def test_rooms_are_there() -> None:
    for kind in concrete_stages():
        for room in kind.rooms:
            assert (stage_file.PACKAGE / room).exists(), (kind, room)


KNOWN_BY_VALUE = ("distill.config", "distill.errors", "distill.progress", "distill.results", "distill.sources")
"""What a stage may use without naming the room: settings and sources are told by their values, the others say and
keep what was found."""


@pytest.mark.parametrize("kind", sorted(concrete_stages(), key=lambda one: one.__name__))
def test_a_stage_names_every_room_that_it_computes_with(kind: type[Stage]) -> None:
    used = modules_used(kind)
    named = [f"distill.{room.removesuffix('.py').replace('/', '.')}" for room in kind.rooms]
    allowed = (*KNOWN_BY_VALUE, "distill.stages", *named)
    assert [m for m in sorted(used) if not any(m == one or m.startswith(f"{one}.") for one in allowed)] == []


@pytest.mark.parametrize("kind", [LookAtCorpora, PretrainStudent, ReadLabels])
def test_a_stage_that_reads_files_names_all_that_reads_them(kind: type[Stage]) -> None:
    named = {room for room in kind.rooms if room.startswith("data/")}
    assert {used for room in named for used in imported(room) if used.startswith("data/")} <= named
    assert "data/readers.py" in named


def imported(room: str) -> set[str]:
    """Files of the package that one of them imports from."""
    tree = ast.parse((stage_file.PACKAGE / room).read_text(encoding="utf-8"))
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {f"{module.removeprefix('distill.').replace('.', '/')}.py" for module in modules}


def modules_used(kind: type[Stage]) -> set[str]:
    """Modules of the package that a stage's class and the functions beside it that it calls import from; types in
    annotations are left out."""
    tree = ast.parse(Path(inspect.getfile(kind)).read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    imported = {name: module for node in tree.body for name, module in imports_of(node)}
    used: set[str] = set()
    todo, done = [kind.__name__], set()
    while todo:
        name = todo.pop()
        if name in done:
            continue
        done.add(name)
        own = dict(pair for node in ast.walk(functions[name]) for pair in imports_of(node))
        for found in names_in(functions[name]):
            if found in functions:
                todo.append(found)
            elif module := own.get(found) or imported.get(found):
                used.add(module)
    return {module for module in used if module.startswith("distill.")}


def imports_of(node: ast.AST) -> list[tuple[str, str]]:
    """(name, module where it is defined) of an import."""
    if not isinstance(node, ast.ImportFrom):
        return []
    found = []
    for alias in node.names:
        defined = getattr(importlib.import_module(str(node.module)), alias.name)
        found.append((alias.asname or alias.name, getattr(defined, "__module__", None) or str(node.module)))
    return found


def names_in(node: ast.AST) -> Iterator[str]:
    """Names that are read, without those in annotations."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.Name):
                yield child.id
            elif isinstance(child, ast.AST):
                yield from names_in(child)


def test_the_source_of_a_task_that_stands_elsewhere_matters(
    table: dict[type[Stage], Stage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    source = (
        "from distill.tasks.multi_label_classification import MultiLabelClassification\n\n\n"
        "class Elsewhere(MultiLabelClassification):\n"
        "    name = 'elsewhere'\n\n"
        "    def fit(self, units, examples):\n"
        "        return self.with_thresholds([0.5] * len(self.labels))\n"
    )
    file = tmp_path / "task_of_a_stranger.py"
    file.write_text(source)
    task = importlib.import_module(file.stem).Elsewhere(("bad", "good"))
    found = []
    for content in (source, f"# why\n{source}", source.replace("0.5", "0.25")):
        file.write_text(content)
        forget_sources()
        found.append(dataclasses.replace(table[TrainStudent], task=task).fingerprint(CPU))
    assert found[0] == found[1] != found[2]


def test_code_without_docstrings_is_told_apart_from_other_code() -> None:
    assert stage_file.code_of(SAME) == stage_file.code_of(FUNCTION)
    assert stage_file.code_of(FUNCTION.replace("double", "twice")) != stage_file.code_of(FUNCTION)


def test_a_teacher_that_was_moved_with_its_times_is_the_same(table: dict[type[Stage], Stage], tmp_path: Path) -> None:
    teacher = table[TrainTeacher]
    assert isinstance(teacher, TrainTeacher)
    assert isinstance(teacher.model, PretrainedTeacher)
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path / "teacher", moved)
    model = dataclasses.replace(teacher.model, source=Source(path=str(moved)))
    assert dataclasses.replace(teacher, model=model).fingerprint(CPU) == teacher.fingerprint(CPU)

    def told(content: str, name: str, time: int) -> str:
        shutil.rmtree(moved)
        moved.mkdir()
        (moved / name).write_text(content)
        os.utime(moved / name, ns=(time, time))
        return dataclasses.replace(teacher, model=model).fingerprint(CPU)

    before = told("abc", "file", 10**9)
    assert told("abc", "file", 10**9) == before
    assert len({before, told("abcd", "file", 10**9), told("abc", "other", 10**9), told("abc", "file", 10**9 + 1)}) == 4


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_teacher_whose_files_are_replaced_in_place_is_read_anew(
    name: str, table: dict[type[Stage], Stage], encoder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(encoder, tmp_path / "checkpoint"))
    teacher, reading, before = table[TrainTeacher], table[MakeReading], {}
    assert isinstance(teacher, TrainTeacher)
    assert isinstance(reading, MakeReading)
    model = PretrainedTeacher("pretrained", Source(path=str(folder)))
    with_teacher: list[Stage] = [
        dataclasses.replace(teacher, model=model),
        dataclasses.replace(reading, source=model.source, trained=None),
    ]
    before = [stage.fingerprint(CPU) for stage in with_teacher]
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    (folder / name).write_bytes(content)  # as large as before
    assert all(stage.fingerprint(CPU) != own for stage, own in zip(with_teacher, before, strict=True))


def test_a_tokenizer_that_is_replaced_in_place_is_read_anew(reviews: Path, encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(encoder, tmp_path / "checkpoint"))
    texts = texts_in(reviews, "train")
    dataset = Dataset(tuple(map(Example, texts)), (), (), (), (), {}, "", "", ())
    training = dataset.part("train", "transfer")
    stage = MakeReading(None, Source(path=str(folder)), False, False, None, "text-classification", training)
    artifacts = Artifacts(tmp_path / "artifacts", CPU, lambda: EnergyMeter("cpu", 1.0))

    def vocabulary() -> set[str]:
        return set(Reading.load(artifacts.get(stage).directory / "reading").tokenizer.get_vocab())

    assert "film" in vocabulary()
    assert artifacts.get(stage).cost.cached
    shutil.copy(folder / "tokenizer.json", tmp_path / "before.json")
    others = [text.replace("film", "world altogether") for text in texts]
    word_pieces(others).save(str(folder / "tokenizer.json"))
    assert "altogether" in vocabulary()
    assert "film" not in vocabulary()


def test_a_revision_of_the_hub_is_told_by_its_commit(
    table: dict[type[Stage], Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = table[MakeReading]
    source = Source(hub="someone/model", revision="main")
    found = []
    for commit in ("first", "first", "second"):
        monkeypatch.setattr("distill.sources.identity.commit_of", lambda *asked, commit=commit: commit)
        found.append(dataclasses.replace(stage, source=source).fingerprint(CPU))
    assert found[0] == found[1] != found[2]


def test_values_without_identity_are_refused(table: dict[type[Stage], Stage]) -> None:
    for value in ({1}, b"bytes", Path("x"), object(), Example):
        with pytest.raises(TypeError, match="has no identity; a stage cannot be told by it"):
            identity({"a": [value]})
        with pytest.raises(TypeError, match="has no identity; a stage cannot be told by it"):
            dataclasses.replace(table[TrainStudent], seed=value).fingerprint(CPU)
    assert identity({"a": [1, (2.5, None)], 3: "b"}) == {"a": [1, [2.5, None]], "3": "b"}
