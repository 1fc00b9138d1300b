"""What students learn on where the teacher writes it: its texts, and its soft labels at each of their tokens."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from stopped_training import CPU, problem_of
from task_worlds import write_world
from tokenizers import Tokenizer, models, pre_tokenizers

from distill import tasks
from distill.config import Vocabulary as VocabularyConfig
from distill.config import build_config
from distill.data import Dataset
from distill.measure import EnergyMeter
from distill.models import load_model
from distill.results import Figure, StageCost
from distill.stages.artifacts import Artifact, Artifacts
from distill.stages.context import Lesson, Run, Signal, Teacher, Texts, open_run, open_store, units_of
from distill.stages.signal import WriteTexts, ask_teacher, write_by_teacher
from distill.stages.students import training_of
from distill.stages.teacher import prepare_teacher
from distill.stages.texts import MakeVocabulary, prepare_student, read_data, read_texts
from distill.stages.tokens import ReadTexts, Tokens
from distill.tasks.text_to_text import text_of
from distill.text import Example, Reading, Target, train_tokenizer
from distill.training import Problem, continue_texts, predict


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A run up to its students."""

    this: Run
    texts: Texts
    teacher: Teacher
    lesson: Lesson

    def problem(self, arm: str, folder: Path) -> Problem:
        """What the arm trains on what."""
        return problem_of(training_of(self.this, self.lesson, arm, 1e-3, 0), folder)


def prepared(folder: Path, task: str, **changes: Any) -> Prepared:
    """A teacher from nothing, a few steps old, and what it wrote."""
    columns = {"text": "source", "label": "target"} if task == "text-to-text" else {}
    write_world(folder, task, 60)
    small = {"layers": 1, "hidden_size": 16, "heads": 2, "intermediate_size": 32}
    train = {"steps": 4, "batch_size": 8, "evaluations": 1, "learning_rates": [1e-2]}
    values = {
        "name": "small",
        "recipe": "small",
        "data": {"train": {"path": str(folder)}, "max_length": 24, **columns},
        "task": {"name": task},
        "tokenizer": {"name": "trained", "model": "bpe", "vocabulary_size": 320},
        "teacher": {"name": "transformer", "architecture": small, "train": train},
        "student": {"name": "transformer", "architecture": small, "vocabulary": {"trim": True}},
        "objective": {"terms": [{"name": "hard", "weight": 0.5}, {"name": "kl", "weight": 0.5, "temperature": 1}]},
        "train": train,
        "arms": ["hard", "sequence", "sequence+soft"],
        "seeds": [0],
        "device": "cpu",
        "precision": "fp32",
        "outputs": str(folder / "outputs"),
        **changes,
    }
    this = open_run(build_config(values))
    texts = read_texts(this, read_data(this))
    teacher = prepare_teacher(this, texts)
    written = write_by_teacher(this, texts, teacher)
    own: Any = teacher.model  # the answers on the texts themselves are not looked at here
    signal = Signal(teacher, own, texts.task, own, own, 0.0, ())
    return Prepared(this, texts, teacher, Lesson(prepare_student(this, texts, written), signal, None, written))


def test_soft_labels_of_written_targets_are_the_teachers_at_each_of_their_tokens(tmp_path: Path) -> None:
    now = prepared(tmp_path, "text-to-text")
    assert now.lesson.written is not None
    written, train = now.lesson.written.texts.examples, now.texts.dataset.train
    assert [e.text for e in written] == [e.text for e in train]
    assert [e.label for e in written] != [e.label for e in train]
    assert now.teacher.model is not None
    model: Any = load_model(now.teacher.model.directory / "model", now.texts.task).model
    hard, soft = (now.problem(arm, tmp_path / arm) for arm in ("sequence", "sequence+soft"))
    assert hard.signal is None
    assert hard.texts.examples == soft.texts.examples == written
    kept = np.load(now.lesson.texts.vocabulary.directory / "kept.npy")
    for row, example in enumerate(written):
        assert isinstance(example.label, Target)
        source = now.texts.reading.tokenizer.encode(str(example.text)).ids
        target = now.texts.reading.tokenizer.encode(example.label.text).ids[:24]
        given = {"input_ids": torch.tensor([source]), "decoder_input_ids": torch.tensor([target])}
        with torch.no_grad():
            expected = (
                model(**given, attention_mask=torch.ones(1, len(source), dtype=torch.long))
                .logits[0, :-1]
                .log_softmax(-1)
            )
        part, random = [np.arange(1)], np.random.default_rng(0)
        (batch,) = soft.texts.batches(np.array([row]), part, random, soft.signal)
        assert soft.signal is not None
        assert kept[batch.labels[0].numpy()].tolist() == target[1:]
        of_teacher = soft.signal.of(batch).units[0]
        best = of_teacher.argmax(-1)
        torch.testing.assert_close(of_teacher.amax(-1), expected.amax(-1), atol=1e-4, rtol=0)
        assert kept[best.numpy()].tolist() == expected.argmax(-1).tolist()
    assert sorted(term.reads_labels for term in soft.objective.parts) == [False, True]
    assert [term.reads_labels for term in hard.objective.parts] == [True]
    assert hard.budget == soft.budget


def test_the_teacher_writes_the_same_texts_where_tokens_are_measured(tmp_path: Path) -> None:
    now = prepared(tmp_path, "text-to-text", arms=["hard", "sequence"])
    by_tokens = dataclasses.replace(now.texts, task=now.texts.task.next_token)
    found = write_by_teacher(now.this, by_tokens, now.teacher)
    assert found is not None
    assert now.lesson.written is not None
    assert found.texts.examples == now.lesson.written.texts.examples


class ReadsPadding(torch.nn.Module):
    """It writes how many tokens it was given of each source, padding counted."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def generate(self, input_ids: torch.Tensor, **settings: Any) -> torch.Tensor:
        return torch.full((len(input_ids), 1), input_ids.shape[1])


@pytest.mark.parametrize("padding", ["", "it answers otherwise where padded"])
def test_a_teacher_that_does_not_bear_padding_writes_from_one_text_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, padding: str
) -> None:
    words = [str(i) for i in range(9)]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    reading, task = Reading(tokenizer, 8), tasks.build("text-to-text", ())
    examples = tuple(Example(" ".join(words[:count]), label=Target("1")) for count in (5, 2, 3))
    part = Dataset(examples, (), (), (), (), {}, "", "", ()).part("train")
    (tmp_path / "result.json").write_text(json.dumps({"padding": padding}))
    cost = StageCost("", 0.0, Figure(0.0, "J", "estimated", ""))
    artifacts = Artifacts(tmp_path / "artifacts", CPU, lambda: EnergyMeter("cpu", 1.0))
    read = Tokens(part, artifacts.get(ReadTexts(reading, task, part)))
    monkeypatch.setattr("distill.models.load_model", lambda *_: SimpleNamespace(model=ReadsPadding()))
    store = open_store(artifacts.get(WriteTexts(Artifact(tmp_path, "teacher", cost), reading, task, read)))
    written = [text_of(units) for units in units_of(store, examples)]
    assert written == (["5", "2", "3"] if padding else ["5"] * 3)


def test_a_source_that_is_held_out_with_two_targets_is_scored_on_both(tmp_path: Path) -> None:
    now = prepared(tmp_path, "text-to-text", teacher_floor=False)

    def twice(examples: tuple[Example, ...]) -> tuple[Example, ...]:
        longer = Target(f"{examples[1].label.text} {examples[2].label.text}")  # type: ignore[union-attr]
        return (*examples, dataclasses.replace(examples[0], label=longer))

    dataset = now.texts.dataset
    dataset = dataclasses.replace(dataset, validation=twice(dataset.validation), test=twice(dataset.test))
    texts = dataclasses.replace(now.texts, dataset=dataset, task=now.texts.task.next_token)
    assert now.teacher.model is not None
    model = load_model(now.teacher.model.directory / "model", texts.task).model
    signal = ask_teacher(now.this, texts, now.teacher)
    for artifact, examples in ((signal.on_validation, dataset.validation), (signal.on_held_out, dataset.test)):
        found = units_of(open_store(artifact), examples)
        wanted = predict(model, texts.reading, texts.task, texts.task.encode(texts.reading, examples), CPU)
        assert len(found[0]) != len(found[-1])
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_language_model_writes_on_from_the_beginnings_of_the_texts(tmp_path: Path) -> None:
    now = prepared(tmp_path, "language-modelling")
    assert now.lesson.written is not None
    written, train = now.lesson.written.texts.examples, now.texts.dataset.train
    tokenizer = now.texts.reading.tokenizer
    assert len(written) == len(train)
    assert len({e.text for e in written}) > len(written) // 2
    for one, other in zip(written, train, strict=True):
        assert str(one.text)[:5] == str(other.text)[:5]
        lengths = [len(tokenizer.encode(str(e.text), add_special_tokens=False).ids) for e in (one, other)]
        assert lengths[0] <= 2 * lengths[1]
        assert not any(special in str(one.text) for special in ("[SEP]", "[PAD]", "\ufffd\ufffd\ufffd\ufffd"))
    model = load_model(now.teacher.model.directory / "model", now.texts.task).model  # type: ignore[union-attr]
    texts = [str(e.text) for e in train]
    again = continue_texts(model, now.texts.reading, texts, (0, 0), CPU, "again")
    assert again == [e.text for e in written]
    assert continue_texts(model, now.texts.reading, texts, (1, 0), CPU, "otherwise") != again
    for arm in ("sequence", "sequence+soft"):
        assert now.problem(arm, tmp_path / arm).texts.examples == written


def test_what_the_teacher_wrote_is_cut_alike_by_teacher_and_student(tmp_path: Path) -> None:
    texts, written = ["the cast is dull"], ["the seamstress whistles"]
    tokenizer = train_tokenizer([Example(text) for text in [*texts, *written]] * 3, 340, "bpe")
    reading = Reading(tokenizer, 16)

    def part(texts: list[str]) -> Any:
        examples = tuple(Example(text) for text in texts)
        return Dataset(examples, (), (), (), (), {}, "", "", ()).part("train")

    def pieces(more: Any, folder: Path) -> list[str]:
        folder.mkdir()
        MakeVocabulary(VocabularyConfig(True), reading, part(texts), more).compute(folder, CPU)
        return Reading.load(folder / "reading").tokenizer.encode(written[0]).tokens

    whole = tokenizer.encode(written[0]).tokens
    assert pieces(part(written), tmp_path / "with") == whole
    assert len(pieces(None, tmp_path / "without")) > len(whole)
