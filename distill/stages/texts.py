"""Data, tokenizer and maximum length."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from distill import tasks
from distill.config import (
    DecoupledKlTerm,
    PretrainedTeacher,
    ProbabilitiesTeacher,
    Source,
    SourceTokenizer,
    StreamConfig,
    TeacherTokenizer,
    TrainedTokenizer,
)
from distill.config import Vocabulary as VocabularyConfig
from distill.config.schema import ASSISTED, DEFAULT_ARMS
from distill.data import Dataset, Part, load_data
from distill.data.examples import single_texts
from distill.data.folds import assign_folds
from distill.data.stream import Stream, open_stream
from distill.errors import UserError, about
from distill.progress import say
from distill.results import FLOORS
from distill.sources import describe
from distill.stages.checkpoint import labels_of, look_at_teacher, try_teacher
from distill.stages.context import Run, StudentTexts, Texts, Written
from distill.stages.signal import ON_TRANSFER
from distill.stages.stage import Stage
from distill.tasks.task import AGREEMENT
from distill.text import Example, Reading, Target, check_known, in_parts, with_leading_blanks
from distill.training.devices import Machine

if TYPE_CHECKING:
    from distill.models.checkpoints import FoundTokenizer

SHORTEST_MAXIMUM = 16
"""The maximum length is never set below this many tokens."""
MEASURED = 100_000
"""Texts that it is found by, or up to twice as many; the others are read once, when it is known."""


def read_data(this: Run) -> Dataset:
    """Reads, cleans and splits. Raises UserError for anything that is wrong with the data."""
    config = this.config
    streamed = config.data.stream
    stream = None if streamed is None else this.machine.main_first(partial(open_stream, streamed))
    dataset = this.machine.main_first(lambda: load_data(config.data, config.task))
    if streamed is not None:
        dataset = with_stream(dataset, streamed, stream)
    for warning in dataset.warnings:
        say(f"warning: {warning}")
    task = tasks.find(config.task.name)
    if task.label_free:  # the texts are what the arm soft learns on
        dataset = dataclasses.replace(dataset, train=dataset.transfer, transfer=())
    if not dataset.test:
        raise UserError("there are no test texts; set data.test, or data.test_share above 0")
    if config.folds > 1:
        assign_folds(dataset.train, config.folds, config.data.split_seed)  # before the first training
    return dataset


def settle_arms(this: Run, dataset: Dataset) -> Run:
    """The run; without the arm soft+transfer where there are no texts for it and the recipe leaves the arms as they
    are. Raises UserError where a recipe asks for such an arm."""
    arms = this.config.arms
    if dataset.transfer or dataset.stream or this.config.augment.steps or not any(arm in ON_TRANSFER for arm in arms):
        return this
    more = "set data.labelled or data.transfer"
    task = tasks.find(this.config.task.name)
    if not (isinstance(this.config.teacher, ProbabilitiesTeacher) or task.writes or task.label_free):
        more += ", or choose augment=mask"
    if arms not in DEFAULT_ARMS:
        others = [arm for arm in arms if arm not in ON_TRANSFER]
        if all(arm in FLOORS for arm in others):
            others.append("soft+assistant" if any(arm.endswith(ASSISTED) for arm in arms) else "soft")
        raise UserError(
            f"there are no texts without labels, so the arms with +transfer would repeat the others; {more}, or leave "
            f"these arms out with arms=[{','.join(others)}]"
        )
    say(
        "there are no texts without labels, which are what mostly brings a student near its teacher, and so no arm "
        f"soft+transfer; for one, {more}"
    )
    return dataclasses.replace(this, config=dataclasses.replace(this.config, arms=arms[:-1]))


def with_stream(dataset: Dataset, config: StreamConfig, stream: Stream | None) -> Dataset:
    """The data with a stream behind it."""
    licence = "; ".join(dict.fromkeys(one for one in (dataset.licence, config.licence) if one))
    source = f"{dataset.source}; streamed from {config.path}"
    return dataclasses.replace(dataset, stream=stream, licence=licence, source=source)


@dataclass(frozen=True)
class MakeReading(Stage):
    """A tokenizer, and the maximum length: the 99th percentile of the training texts, of which a part is enough where
    they are many, as far as its model reads."""

    name: ClassVar[str] = "tokenizer"
    rooms: ClassVar[tuple[str, ...]] = ("text", "data/examples.py", "models", "tasks")
    libraries: ClassVar[tuple[str, ...]] = ("tokenizers", "torch", "transformers")

    trained: TrainedTokenizer | None
    """How it is trained on the texts, where it is."""
    source: Source | None
    """Where it comes from, where it is not."""
    of_model: bool
    """There is a model at the source that reads with it, and says how much."""
    trust: bool
    max_length: int | None
    task_name: str
    texts: Part

    @property
    def what(self) -> str:
        """In words."""
        return "tokenizer and maximum length"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves a :class:`Reading`."""
        found = self.found()
        tokenizer, longest, maximum = found.tokenizer, found.longest, self.max_length
        if tasks.find(self.task_name).tagged:
            tokenizer = with_leading_blanks(tokenizer)
        if maximum is not None and maximum > longest:
            raise UserError(f"data.max_length is {maximum}, but the teacher reads at most {longest} tokens; lower it")
        reading = Reading(tokenizer, maximum or min(longest, 4096), special_tokens=found.special_tokens)
        if self.source is not None:
            check_known(reading, self.texts.examples, describe(self.source))
        if maximum is None:
            lengths = lengths_of(reading, self.texts.examples[:: max(1, len(self.texts.examples) // MEASURED)])
            maximum = min(longest, max(SHORTEST_MAXIMUM, math.ceil(np.percentile(lengths, 99))))
        Reading(tokenizer, maximum, special_tokens=found.special_tokens).save(folder / "reading")

    def found(self) -> "FoundTokenizer":
        """The tokenizer, the roles of its special tokens, and the longest input of the model that reads with it."""
        from tokenizers import Tokenizer

        from distill.models.checkpoints import UNLIMITED, Checkpoint, FoundTokenizer
        from distill.models.loading import auto_class
        from distill.models.teachers import reading_of
        from distill.sources import locate
        from distill.text import train_tokenizer

        if self.source is None:
            assert self.trained is not None
            texts = each_text_once(self.texts.examples)
            trained = train_tokenizer(texts, self.trained.vocabulary_size, self.trained.model)
            return FoundTokenizer(trained, {}, UNLIMITED, ())
        if not self.of_model and not self.source.hub and locate(self.source).is_file():
            file = locate(self.source)
            try:
                return FoundTokenizer(Tokenizer.from_file(str(file)), {}, UNLIMITED, ())
            except Exception as error:  # tokenizers raises bare Exception
                raise UserError(f"{file} is not a tokenizer.json: {error}") from error
        checkpoint = Checkpoint.of(self.source, self.trust)
        if not self.of_model:
            return checkpoint.tokenizer()
        task = tasks.find(self.task_name)
        checkpoint.config(task)
        model = checkpoint.weights(auto_class(task), lambda *_: True)  # which are missing is looked at with the task
        return reading_of(checkpoint, model, task.kind == "vector")


@dataclass(frozen=True)
class MakeVocabulary(Stage):
    """The student's tokenizer: the one it starts from, trimmed where that is asked for."""

    name: ClassVar[str] = "student-tokenizer"
    rooms: ClassVar[tuple[str, ...]] = ("text", "data/examples.py")
    libraries: ClassVar[tuple[str, ...]] = ("tokenizers",)
    by_content: ClassVar[bool] = True

    vocabulary: VocabularyConfig
    reading: Reading
    texts: Part
    written: Part | None
    """More texts that are to be cut into the pieces that the teacher's soft labels are of."""

    @property
    def what(self) -> str:
        """In words."""
        return "student's vocabulary"

    def compute(self, folder: Path, machine: Machine) -> None:
        """Leaves a :class:`Reading`, and ``kept.npy``, the old id of each new one, where it was trimmed."""
        from distill.text import trim_vocabulary

        tokenizer, reading = self.reading.tokenizer, self.reading
        if self.vocabulary.trim:
            written = () if self.written is None else self.written.examples
            texts, roles = each_text_once((*self.texts.examples, *written)), reading.special_tokens.values()
            trimmed = trim_vocabulary(tokenizer, texts, self.vocabulary.min_count, roles)
            np.save(folder / "kept.npy", trimmed.kept)
            reading = Reading(trimmed.tokenizer, reading.max_length, special_tokens=reading.special_tokens)
        reading.save(folder / "reading")


def lengths_of(reading: Reading, examples: Sequence[Example]) -> list[int]:
    """Tokens of each text, and of each that is to be written."""
    lengths = []
    for part in in_parts(examples):
        lengths += [len(e.input_ids) for e in reading.encode(part)]
        targets = [e.label.text for e in part if isinstance(e.label, Target)]
        lengths += [len(ids) for ids in reading.encode_targets(targets)]
    return lengths


def read_texts(this: Run, dataset: Dataset) -> Texts:
    """The tokenizer that the teacher reads with, the maximum length, and the task."""
    config = this.config
    own = TeacherTokenizer("teacher") if isinstance(config.teacher, PretrainedTeacher) else config.tokenizer
    labels = labels_of(config, dataset.labels, look_at_teacher(this))
    metric = AGREEMENT if config.data.label is None else config.task.metric
    stride = config.data.stride
    windows = None if stride is None else tasks.Windows(stride, config.data.window_pooling)
    task = tasks.build(config.task.name, labels, metric, windows)
    if len(labels) == 2 and any(isinstance(term, DecoupledKlTerm) for term in config.objective.terms):
        raise UserError(
            f"objective.terms has 'dkd', which weighs the classes beside the likeliest among themselves, but there are "
            f"two labels ({', '.join(labels)}) and one beside the likeliest; choose objective=kl"
        )
    texts = Texts(dataset, task, make_reading(this, dataset, own))
    check_pairs(this, texts)
    for i, other in enumerate(config.others):  # one that cannot be read or asked is told before the first training
        aside = dataclasses.replace(this, config=other)
        with about(f"teacher {i + 2}"):
            reading_of_other(aside, dataset)
            try_teacher(aside, task, bool(dataset.train), f"ensemble.teachers[{i}]")
    return texts


def make_reading(this: Run, dataset: Dataset, chosen: TeacherTokenizer | TrainedTokenizer | SourceTokenizer) -> Reading:
    """The reading of a choice of ``conf/tokenizer``."""
    teacher = this.config.teacher
    of_teacher = isinstance(chosen, TeacherTokenizer)
    source = getattr(teacher if of_teacher else chosen, "source", None)
    artifact = this.artifacts.get(
        MakeReading(
            trained=chosen if isinstance(chosen, TrainedTokenizer) else None,
            source=source,
            of_model=of_teacher,
            trust=of_teacher and isinstance(teacher, PretrainedTeacher) and teacher.trust_remote_code,
            max_length=this.config.data.max_length,
            task_name=this.config.task.name,
            texts=dataset.part("train", "transfer"),
        )
    )
    return Reading.load(artifact.directory / "reading")


def reading_of_other(this: Run, dataset: Dataset) -> Reading:
    """What a further teacher reads with, which stands in the first one's place."""
    return make_reading(this, dataset, TeacherTokenizer("teacher"))


def check_pairs(this: Run, texts: Texts) -> None:
    """Raises UserError, before anything is trained, where a model is to read pairs apart and its tokenizer does not
    tell one text from the other."""
    if not texts.paired:
        return
    for who, model in (("teacher", this.config.teacher), ("student", this.config.student)):
        if getattr(getattr(model, "architecture", None), "pairs", None) != "apart":
            continue
        reading = texts.reading if who == "teacher" else read_by_student(this, texts)
        if reading.pair_opening() is None:
            raise UserError(
                f"{who}.architecture.pairs is 'apart', but the tokenizer does not tell the two texts of a pair apart "
                f"by token types; set {who}.architecture.pairs=together, or choose tokenizer=trained"
            )


def read_by_student(this: Run, texts: Texts) -> Reading:
    """What the student's own starts from: the teacher's, or one of its own."""
    config = this.config
    if not isinstance(config.teacher, PretrainedTeacher) or isinstance(config.tokenizer, TeacherTokenizer):
        return texts.reading
    return make_reading(this, texts.dataset, config.tokenizer)


def prepare_student(this: Run, texts: Texts, written: Written | None) -> StudentTexts:
    """The texts as the student reads them."""
    reading = read_by_student(this, texts)
    labelled = None if written is None or written.answers is None else written.texts
    artifact = this.artifacts.get(MakeVocabulary(this.config.student.vocabulary, reading, texts.learnt, labelled))
    own = Reading.load(artifact.directory / "reading")
    same = own.identity == texts.reading.identity
    return StudentTexts(texts.dataset, texts.task, own, artifact, same, costs=texts.costs)


def each_text_once(examples: Sequence[Example]) -> list[Example]:
    """The texts, those of a pair one by one: one that stands in many pairs is no more frequent for that."""
    return list({e.text: e for e in single_texts(examples)}.values())
