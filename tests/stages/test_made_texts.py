"""Texts that are made: which texts they are made of, who labels them, and which arms learn on them."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from little_world import word_pieces, write_masked_bert
from small_runs import SmallRun, config_of, run, teacher_in

from distill import tasks
from distill.config import (
    AugmentConfig,
    MaskedLmStep,
    PretrainedTeacher,
    Source,
    TeacherTokenizer,
    WordStep,
    build_config,
)
from distill.config.compose import choices_of, run_with_hydra
from distill.config.schema import Config
from distill.data import Dataset
from distill.data.variants import content_of
from distill.data.word_methods import Blank
from distill.errors import UserError
from distill.results import Figure, StageCost
from distill.stages.artifacts import Artifact, Artifacts
from distill.stages.augmentation import MakeTexts, augment_texts
from distill.stages.checks import check_task
from distill.stages.context import Run, Teacher, Texts
from distill.stages.signal import LabelTexts
from distill.stages.stage import Stage
from distill.stages.students import TrainStudent
from distill.stages.teacher import TrainTeacher
from distill.stages.texts import make_reading, read_data
from distill.tasks import Task
from distill.text import Example, Reading
from distill.training.devices import Machine

Pair = tuple[SmallRun, SmallRun]
CHAIN = [
    {"name": "mask", "share": 0.2},
    {"name": "words", "share": 0.2, "neighbours": 3},
    {"name": "ngrams", "shortest": 3, "longest": 5, "chance": 0.25},
]
LEARNT = ("train", "transfer", "augmented")
CPU = Machine("cpu", "fp32", "as asked for", 1)


@pytest.fixture(scope="session")
def of_made_texts(tmp_path_factory: pytest.TempPathFactory, reviews: Path, encoder: Path) -> Pair:
    """A chain of methods, with test files A and B."""
    train = {"steps": 4, "evaluations": 2, "batch_size": 16, "learning_rates": [2e-3]}
    changes = {
        "teacher": {**teacher_in(encoder), "train": train, "tries": 1},
        "student": {"name": "layers", "layers": [1], "vocabulary": {"trim": True}},
        "train": train,
        "arms": ["linear", "hard", "hard+augmented", "soft", "soft+transfer", "pseudo+transfer"],
        "augment": {"steps": CHAIN, "factor": 3},
        "seeds": [0],
        "export": {"variants": ["fp32"]},
    }
    folder = tmp_path_factory.mktemp("of-made-texts")
    a, b = (run(config_of(reviews, folder / test, f"test {test}", **changes)) for test in "AB")
    return a, b


def dataset_of(now: SmallRun) -> Dataset:
    """With the texts that were made."""
    found: Dataset = now.values["prepare_student"].dataset
    return found


def test_texts_are_made_once_of_train_and_transfer_alone(of_made_texts: Pair) -> None:
    (a, made_a), (b, made_b) = (now.of(MakeTexts)[0] for now in of_made_texts)
    assert a.texts.splits == b.texts.splits == ("train", "transfer")
    assert a.mask == "[MASK]"
    assert all(len(now.of(MakeTexts)) == 1 for now in of_made_texts)
    assert made_a.identity == made_b.identity  # nothing of test is part of it
    files = [(one.directory / "made.jsonl").read_bytes() for one in (made_a, made_b)]
    assert files[0] == files[1]


def test_no_made_text_is_one_of_a_split(of_made_texts: Pair) -> None:
    dataset = dataset_of(of_made_texts[0])
    made = [content_of(e) for e in dataset.augmented]
    assert len(made) > 200
    assert len(set(made)) == len(made)
    splits = ("train", "transfer", "validation", "test")
    assert not {content_of(e) for split in splits for e in getattr(dataset, split)} & set(made)
    assert {e.label for e in dataset.augmented} == {None}


def test_the_teacher_labels_each_text_once(of_made_texts: Pair) -> None:
    now = of_made_texts[0]
    dataset = dataset_of(now)
    ((stage, artifact),) = [one for one in now.of(LabelTexts) if one[0].to_learn]
    assert stage.texts.splits == LEARNT
    keys = np.load(artifact.directory / "store" / "keys.npy")
    learnt = (*dataset.train, *dataset.transfer, *dataset.augmented)
    assert [key.tobytes() for key in keys] == [e.key for e in learnt]


def test_arms_learn_on_what_they_should(of_made_texts: Pair) -> None:
    now = of_made_texts[0]
    dataset = dataset_of(now)
    asked = {stage.arm: stage for stage, _ in now.of(TrainStudent)}
    assert {arm: stage.texts.splits for arm, stage in asked.items()} == {
        "hard": ("train",),
        "hard+augmented": ("train", "inherited"),
        "soft": ("train",),
        "soft+transfer": LEARNT,
        "pseudo+transfer": LEARNT,
    }
    assert len({stage.budget for stage in asked.values()}) == 1
    hard, control = asked["hard"], asked["hard+augmented"]
    assert dataclasses.replace(control, arm="hard", texts=hard.texts).fingerprint(CPU) == hard.fingerprint(CPU)
    by_key = {e.key: e.label for e in dataset.inherited}
    assert len(dataset.inherited) == len(by_key) < len(dataset.augmented)
    assert set(by_key) < {e.key for e in dataset.augmented}
    assert {str(label) for label in by_key.values()} == {"fresh", "rotten"}
    assert {stage.vocabulary.identity for stage in asked.values()} == {hard.vocabulary.identity}


def test_the_students_vocabulary_has_the_words_that_were_put_in(of_made_texts: Pair) -> None:
    now = of_made_texts[0]
    dataset, reading = dataset_of(now), now.values["prepare_student"].reading
    of_teacher = now.values["read_texts"].reading
    known = {word for e in (*dataset.train, *dataset.transfer) for word in str(e.text).split()}
    new = [e for e in dataset.augmented if set(str(e.text).split()) - known - {"[MASK]"}]
    for e in (*new, *dataset.augmented[:50]):
        pieces = [one.encode(str(e.text)).tokens for one in (reading.tokenizer, of_teacher.tokenizer)]
        assert pieces[0] == pieces[1]


def test_the_report_says_how_many_texts_were_made_by_what(of_made_texts: Pair) -> None:
    now = of_made_texts[0]
    assert now.outcome is not None
    data, count = now.outcome.report.data, len(dataset_of(now).augmented)
    (note,) = [note for note in data.notes if note.startswith("augmented: ")]
    assert note.startswith(f"augmented: {count:,} texts made of 120 training texts: ")
    numbers = [int(part.split()[0].replace(",", "")) for part in note.split(": ")[2].split(", ")]
    assert sum(numbers) == count
    assert " by mask and words" in note
    assert " by mask and words and ngrams" in note
    assert count + data.dropped.get("augmented: duplicate", 0) == 3 * 120
    assert now.outcome.report.costs[0].stage == "texts made by mask and words and ngrams"
    arms = {arm.name: arm for arm in now.outcome.report.arms}
    assert {(c.arm, c.against) for c in now.outcome.report.contrasts} >= {
        ("soft+transfer", "hard+augmented"),
        ("hard+augmented", "hard"),
    }
    assert "label of the text" in arms["hard+augmented"].differs_in


class Left:
    """Stands in for the artifacts of a run: the stage left these texts."""

    def __init__(self, folder: Path, made: list[Example]) -> None:
        self.folder, self.asked = folder, []
        rows = [{"text": e.text, "pair": e.pair, "label": e.label, "by": "mask"} for e in made]
        (folder / "made.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        (folder / "counts.json").write_text('{"duplicates": 2}', encoding="utf-8")

    def get(self, stage: MakeTexts) -> Artifact:
        self.asked.append(stage)
        return Artifact(self.folder, "made", StageCost("made", 1.0, Figure(None, "J", "unavailable", ""), False))


def given(config: Config, encoder: Path, folder: Path, made: list[Example]) -> tuple[Run, Texts]:
    this = Run(config, CPU)
    this.__dict__["artifacts"] = Left(folder, made)
    dataset = read_data(this)
    return this, Texts(dataset, tasks.build("text-classification", dataset.labels), Reading.from_file(encoder, 24))


def test_made_texts_that_stand_in_validation_or_test_are_left_out_and_counted(
    reviews: Path, encoder: Path, tmp_path: Path
) -> None:
    changes = {
        "teacher": teacher_in(encoder),
        "student": {"name": "recurrent"},
        "augment": {"steps": [{"name": "mask"}]},
    }
    config = config_of(reviews, tmp_path, "test A", **changes)
    this, texts = given(config, encoder / "tokenizer.json", tmp_path, [])
    test, validation = texts.dataset.test[0], texts.dataset.validation[0]
    made = [Example(str(test.text).upper(), None, "fresh"), Example(validation.text), Example("new", None, "fresh")]
    this, texts = given(config, encoder / "tokenizer.json", tmp_path, made)
    dataset = augment_texts(this, texts, Teacher(None, (), {}, ())).dataset
    assert dataset.augmented == (Example("new"),)
    assert dataset.inherited == (Example("new", None, "fresh"),)
    assert dataset.dropped == {
        "augmented: duplicate": 2,
        "augmented: also in test": 1,
        "augmented: also in validation": 1,
    }
    this, texts = given(config, encoder / "tokenizer.json", tmp_path, made[:2])
    with pytest.raises(UserError, match="augment made no text of the 120 training texts that is not there already"):
        augment_texts(this, texts, Teacher(None, (), {}, ()))


def test_without_augment_nothing_is_asked_for(reviews: Path, encoder: Path, tmp_path: Path) -> None:
    config = config_of(reviews, tmp_path, "test A", teacher=teacher_in(encoder), student={"name": "recurrent"})
    this, texts = given(config, encoder / "tokenizer.json", tmp_path, [])
    assert augment_texts(this, texts, Teacher(None, (), {}, ())) is texts
    assert not this.artifacts.asked  # type: ignore[attr-defined]
    assert texts.learnt.identity == texts.training.identity


@pytest.mark.parametrize(
    ("task", "label", "wanted"),
    [
        (tasks.build("regression", ()), 2.5, None),
        (tasks.build("question-answering", ()), None, None),
        (tasks.build("multi-label-classification", ("a", "b")), ("a",), ("a",)),
        (tasks.build("token-classification", ("N", "V")), ("N", "V", "N", "V"), ("N", "V", "N", "V")),
    ],
)
def test_a_label_is_taken_over_where_that_has_a_meaning(task: Task, label: Any, wanted: Any, tmp_path: Path) -> None:
    text: Any = ("w1", "w2", "w3", "w4") if task.tagged else "w1 w2 w3 w4"
    pair = "the passage stays" if task.pair_holds else None
    dataset = Dataset((Example(text, pair, label),), (), (), (), task.labels, {}, "", "", ())
    reading = Reading.from_file(tokenizer_in(tmp_path), 24)
    config = AugmentConfig(build_config({**RECIPE, "augment": {"steps": [{"name": "mask"}]}}).augment.steps, 9)
    MakeTexts(config, 0, "[MASK]", None, None, reading, task, dataset.part("train", "transfer")).compute(tmp_path, CPU)
    rows = [json.loads(line) for line in (tmp_path / "made.jsonl").read_text().splitlines()]
    assert rows
    assert all(row["label"] == (list(wanted) if wanted else None) for row in rows)
    assert all(row["pair"] == pair for row in rows)
    assert all("[MASK]" in row["text"] for row in rows)


def test_a_mask_that_was_put_in_is_not_replaced_by_a_near_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = word_pieces(["a film of a mask"])
    weight = torch.randn(tokenizer.get_vocab_size(), 4)
    model = SimpleNamespace(get_input_embeddings=lambda: SimpleNamespace(weight=weight))
    monkeypatch.setattr("distill.models.load_model", lambda *_: SimpleNamespace(model=model))
    task = tasks.build("text-classification", ("fresh", "rotten"))
    dataset = Dataset((Example("a film of a mask"),), (), (), (), task.labels, {}, "", "", ())
    teacher = Artifact(tmp_path, "teacher", StageCost("made", 1.0, Figure(None, "J", "unavailable", ""), False))
    words = AugmentConfig((WordStep("words"),))
    stage = MakeTexts(words, 0, None, teacher, None, Reading(tokenizer, 16), task, dataset.part("train", "transfer"))
    assert set(stage.near()) == {"a", "film", "of", "mask"}
    assert set(dataclasses.replace(stage, mask="<mask>").near()) == {"a", "film", "of"}


def of_another_mask(encoder: Path, folder: Path) -> Path:
    """The same checkpoint with ``<mask>`` in the place of ``[MASK]``."""
    shutil.copytree(encoder, folder)
    for file in folder.glob("tokenizer*.json"):
        file.write_text(file.read_text(encoding="utf-8").replace("[MASK]", "<mask>"), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("reads", "mask"),
    [
        ("the student its own", "[MASK]"),
        ("the student another", None),
        ("a teacher the same", "[MASK]"),
        ("a teacher another", None),
        ("the first teacher another", "<mask>"),
    ],
)
def test_a_mask_is_put_in_where_each_tokenizer_that_reads_it_has_it(
    reads: str, mask: str | None, reviews: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = of_another_mask(encoder, tmp_path / "other")
    changes: dict[str, Any] = {"teacher": teacher_in(encoder), "student": {"name": "recurrent"}}
    if reads == "the student its own":
        changes["tokenizer"] = {"name": "trained", "vocabulary_size": 300}
    if reads == "the student another":
        changes["tokenizer"] = {"name": "source", "source": {"path": str(other / "tokenizer.json")}}
    if reads.startswith("a teacher"):
        further = encoder if reads == "a teacher the same" else other
        changes["ensemble"] = {"teachers": [{"name": "pretrained", "source": {"path": str(further)}}]}
    if reads == "the first teacher another":
        changes["teacher"] = teacher_in(other)
    this = Run(config_of(reviews, tmp_path, "test A", augment={"steps": [{"name": "mask"}]}, **changes), CPU)
    dataset = read_data(this)
    reading = make_reading(this, dataset, TeacherTokenizer("teacher"))
    texts = Texts(dataset, tasks.build("text-classification", dataset.labels), reading)
    asked, get = list[MakeTexts](), Artifacts.get

    def stopped(self: Artifacts, stage: Stage) -> Artifact:
        if isinstance(stage, MakeTexts):
            asked.append(stage)
            raise InterruptedError
        return get(self, stage)

    monkeypatch.setattr(Artifacts, "get", stopped)
    with pytest.raises(InterruptedError):
        augment_texts(this, texts, Teacher(None, (), {}, ()))
    assert [stage.mask for stage in asked] == [mask]


@pytest.fixture
def of_masked_words(tmp_path: Path) -> MakeTexts:
    """Asks a checkpoint with a random head; of pairs that are questions."""
    texts = ["what was the film about ?", "who made a movie about the film ?", "which cast and what plot ?"]
    checkpoint = write_masked_bert(tmp_path / "checkpoint", texts)
    task = tasks.build("question-answering", ())
    dataset = Dataset(tuple(Example(text, "the passage  stays") for text in texts), (), (), (), (), {}, "", "", ())
    return MakeTexts(
        augment=AugmentConfig((MaskedLmStep("masked_lm", 0.3, 2),), 3),
        seed=0,
        mask="[MASK]",
        model=None,
        masked_lm=PretrainedTeacher("pretrained", Source(path=str(checkpoint))),
        reading=Reading.from_file(checkpoint / "tokenizer.json", 24, special_tokens={"mask_token": "[MASK]"}),
        task=task,
        texts=dataset.part("train", "transfer"),
    )


def test_the_checkpoint_says_which_words_are_put_in_the_same_at_every_run(
    of_masked_words: MakeTexts, tmp_path: Path
) -> None:
    found = []
    for _ in range(2):
        of_masked_words.compute(tmp_path, CPU)
        found.append((tmp_path / "made.jsonl").read_bytes())
    assert found[0] == found[1]
    rows = [json.loads(line) for line in found[0].splitlines()]
    assert len(rows) > 4
    assert {row["pair"] for row in rows} == {"the passage  stays"}
    likely = of_masked_words.likely(CPU)
    assert likely is not None
    originals = [str(e.text).split() for e in of_masked_words.texts.examples]
    for row in rows:
        words = row["text"].split()
        (text,) = [one for one in originals if sum(a == b for a, b in zip(one, words, strict=False)) >= len(one) / 2]
        assert len(text) == len(words)
        places = [i for i, word in enumerate(text) if words[i] != word]
        assert len(places) == round(0.3 * len(text))
        blanks = [Blank(" ".join([*text[:i], ""]), text[i], " ".join(["", *text[i + 1 :]])) for i in places]
        assert all(words[i] in candidates for i, candidates in zip(places, likely(blanks, 2), strict=True))


@pytest.mark.parametrize(("step", "asks"), [("masked_lm", True), ("mask", False)])
def test_of_the_teacher_its_checkpoint_alone_is_asked(
    step: str, asks: bool, reviews: Path, encoder: Path, tmp_path: Path
) -> None:
    teacher = {**teacher_in(encoder), "trust_remote_code": True, "tries": 7}
    changes = {"teacher": teacher, "student": {"name": "recurrent"}, "augment": {"steps": [{"name": step}]}}
    config = config_of(reviews, tmp_path, "test A", **changes)
    this, texts = given(config, encoder / "tokenizer.json", tmp_path, [Example("new")])
    texts = augment_texts(this, texts, Teacher(None, (), {}, ()))
    (stage,) = this.artifacts.asked  # type: ignore[attr-defined]
    source = Source(path=str(encoder))
    assert stage.masked_lm == (PretrainedTeacher("pretrained", source, trust_remote_code=True) if asks else None)
    assert stage.model is None
    assert [cost.stage for cost in texts.costs] == ["made"]


def test_another_checkpoint_makes_other_texts(of_masked_words: MakeTexts, tmp_path: Path) -> None:
    texts = [str(e.text) for e in of_masked_words.texts.examples]
    other = write_masked_bert(tmp_path / "other", texts, seed=1)
    made = []
    for stage in (
        of_masked_words,
        dataclasses.replace(of_masked_words, masked_lm=PretrainedTeacher("pretrained", Source(path=str(other)))),
    ):
        stage.compute(tmp_path, CPU)
        made.append((tmp_path / "made.jsonl").read_bytes())
    assert made[0] != made[1]


def test_a_checkpoint_without_the_head_is_refused_before_the_teacher_is_trained(
    of_masked_words: MakeTexts, reviews: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = (
        r"augment\.steps has 'masked_lm', .* but it has no head for that \(it is BertModel\); choose augment=words"
    )
    bare = PretrainedTeacher("pretrained", Source(path=str(encoder)))
    without = Reading(of_masked_words.reading.tokenizer, 24)
    with pytest.raises(UserError, match=refused):
        dataclasses.replace(of_masked_words, masked_lm=bare).compute(tmp_path, CPU)
    with pytest.raises(UserError, match="its tokenizer has no mask token; choose augment=words"):
        dataclasses.replace(of_masked_words, reading=without).compute(tmp_path, CPU)
    changes = {"augment": FILL["augment"], "student": {"name": "recurrent"}, "teacher": teacher_in(encoder)}
    monkeypatch.setattr(TrainTeacher, "start", lambda self: pytest.fail("the teacher was read"))
    with pytest.raises(UserError, match=refused):
        run(config_of(reviews, tmp_path, "test A", **changes))


def tokenizer_in(folder: Path) -> Path:
    word_pieces(["w1 w2 w3 w4"]).save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


RECIPE: dict[str, Any] = {
    "name": "small",
    "recipe": "small",
    "data": {"train": {"path": "x.csv"}},
    "teacher": {"name": "pretrained", "source": {"path": "folder"}},
    "student": {"name": "recurrent"},
}
MASK = {"augment": {"steps": [{"name": "mask"}]}}
FILL = {"augment": {"steps": [{"name": "mask"}, {"name": "masked_lm"}]}}
MSE = {"terms": [{"name": "mse"}]}
WITH_CONTROL = {"arms": ["linear", "hard", "hard+augmented", "soft+transfer"]}


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("text-classification", WITH_CONTROL, r"arms has 'hard\+augmented', but no text is made; choose augment=mask"),
        (
            "text-classification",
            {**MASK, "arms": ["linear", "hard", "soft"]},
            r"augment\.steps has 'mask', but no arm of .* learns on texts that are made; add 'soft\+transfer'",
        ),
        (
            "text-classification",
            {**MASK, "teacher": {"name": "probabilities", "source": {"path": "x"}}},
            "no file of probabilities knows texts that are made; set augment=none",
        ),
        (
            "text-classification",
            {**MASK, **WITH_CONTROL, "data": {"train": {"path": "x"}, "label": None}},
            r"arms has 'hard\+augmented', but data\.label is null",
        ),
        ("sentence-embedding", {**MASK, "arms": ["linear", "soft"], "objective": MSE}, "in sentence-embedding no arm"),
        ("language-modelling", {**MASK, "arms": ["hard", "soft+transfer"]}, "the models of language-modelling write"),
        ("text-to-text", {**MASK, "arms": ["hard", "soft"]}, "the models of text-to-text write"),
        (
            "question-answering",
            {"augment": {"steps": [{"name": "mask"}, {"name": "ngrams"}]}, "arms": ["hard", "soft+transfer"]},
            r"augment\.steps has 'ngrams', which would part a question from its passage",
        ),
        (
            "question-answering",
            {"augment": {"steps": [{"name": "splice"}]}, "arms": ["hard", "soft+transfer"]},
            r"augment\.steps has 'splice', which would part",
        ),
        (
            "question-answering",
            {**MASK, "arms": ["hard", "hard+augmented"]},
            r"in question-answering a text that is made does not have the label",
        ),
        (
            "text-classification",
            {**FILL, **WITH_CONTROL, "teacher": {"name": "transformer"}, "tokenizer": {"name": "trained"}},
            r"augment\.steps has 'masked_lm', .* this one starts from random weights; choose augment=words",
        ),
        (
            "regression",
            {**MASK, **WITH_CONTROL, "objective": MSE},
            r"in regression a text that is made does not have the label of the one that it was made of",
        ),
    ],
)
def test_what_a_task_cannot_have_made_is_refused(task: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_task(build_config({**RECIPE, "task": {"name": task}, **changes}))


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        ("text-classification", {**MASK, **WITH_CONTROL}),
        ("multi-label-classification", {**MASK, **WITH_CONTROL}),
        ("token-classification", {**MASK, **WITH_CONTROL}),
        ("regression", {**MASK, "arms": ["linear", "hard", "soft+transfer"], "objective": MSE}),
        ("question-answering", {**MASK, "arms": ["hard", "soft+transfer"]}),
        ("question-answering", {**FILL, "arms": ["hard", "soft+transfer"]}),
        ("token-classification", {**FILL, **WITH_CONTROL}),
        (
            "text-classification",
            {**MASK, "data": {"train": {"path": "x"}, "label": None}, "arms": ["linear", "soft", "soft+transfer"]},
        ),
    ],
)
def test_what_a_task_can_have_made_is_taken(task: str, changes: dict[str, Any]) -> None:
    check_task(build_config({**RECIPE, "task": {"name": task}, **changes}))


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ({"factor": 0}, r"augment\.factor is 0; give at least 1"),
        ({"steps": [{"name": "mask", "share": 0}]}, r"augment\.steps\[0\]\.share is 0\.0"),
        ({"steps": [{"name": "words", "share": 1.5}]}, r"augment\.steps\[0\]\.share is 1\.5"),
        ({"steps": [{"name": "words", "neighbours": 0}]}, r"augment\.steps\[0\]\.neighbours is 0"),
        ({"steps": [{"name": "masked_lm", "share": 0}]}, r"augment\.steps\[0\]\.share is 0\.0"),
        ({"steps": [{"name": "masked_lm", "candidates": 0}]}, r"augment\.steps\[0\]\.candidates is 0"),
        ({"steps": [{"name": "ngrams", "shortest": 4, "longest": 3}]}, r"shortest is 4 and longest is 3"),
        ({"steps": [{"name": "mask"}, {"name": "ngrams", "chance": 0}]}, r"augment\.steps\[1\]\.chance is 0\.0"),
        ({"steps": [{"name": "masks"}]}, r"augment\.steps\[0\]\.name is 'masks'; did you mean 'mask'\?"),
    ],
)
def test_values_out_of_range_are_refused(augment: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_config({**RECIPE, "augment": augment})


@pytest.mark.parametrize("choice", choices_of("augment"))
def test_every_choice_composes(choice: str) -> None:
    composed: list[Config] = []
    run_with_hydra("quickstart", [f"augment={choice}"], [], composed.append)
    assert "_".join(step.name for step in composed[0].augment.steps) == ("" if choice == "none" else choice)
    check_task(composed[0])
