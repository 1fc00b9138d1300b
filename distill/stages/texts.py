"""Data, tokenizer and maximum length."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from distill import tasks
from distill.config import Config, PretrainedTeacher, SourceTokenizer, TeacherTokenizer, TrainedTokenizer
from distill.data import Dataset, load_data
from distill.data.examples import single_texts
from distill.errors import UserError, nearest
from distill.stages.artifacts import Artifact
from distill.stages.context import Run, Texts
from distill.tasks.task import AGREEMENT
from distill.text import Example, Reading, with_leading_blanks

SHORTEST_MAXIMUM = 16
"""The maximum length is never set below this many tokens."""


def read_data(config: Config) -> Dataset:
    """Reads, cleans and splits. Raises UserError for anything that is wrong with the data."""
    dataset = load_data(config.data, config.task)
    task = tasks.find(config.task.name)
    if task.label_free:  # the texts are what the arm soft learns on
        dataset = dataclasses.replace(dataset, train=dataset.transfer, transfer=())
    if not dataset.test:
        raise UserError("there are no test texts; set data.test, or data.test_share above 0")
    if not dataset.transfer and any(arm.endswith("+transfer") for arm in config.arms):
        raise UserError(
            "there are no texts without labels, so the arms with +transfer would repeat the others; set data.labelled "
            "or data.transfer, or leave these arms out with arms=[linear,hard,soft]"
        )
    if task.one_label:
        for label in config.data.drop_labels:
            if not any(reason.endswith(f"label '{label}'") for reason in dataset.dropped):
                raise UserError(
                    f"data.drop_labels names '{label}', but no row has this label"
                    f"{nearest(label, config.data.label_map or dataset.labels)}"
                )
    if config.data.label is None and "hard" in config.arms:
        raise UserError("data.label is null, so there are no labels for the arm hard; set arms=[linear,soft]")
    return dataset


def prepare_texts(this: Run, dataset: Dataset) -> Texts:
    """The tokenizer that the teacher reads with, and the maximum length."""
    config = this.config
    own = TeacherTokenizer("teacher") if isinstance(config.teacher, PretrainedTeacher) else config.tokenizer
    artifact = prepare_tokenizer(this, dataset, own)
    settings = artifact.read("tokenizer_settings.json")
    encoder = Reading.from_file(artifact.directory / "tokenizer.json", settings["max_length"])
    labels = dataset.labels
    if not labels and tasks.find(config.task.name).labelled:
        labels = teacher_labels(config)
    metric = AGREEMENT if config.data.label is None else config.task.metric
    stride = config.data.stride
    windows = None if stride is None else tasks.Windows(stride, config.data.window_pooling)
    task = tasks.build(config.task.name, labels, metric, windows)
    return Texts(dataset, task, encoder, settings["special"], artifact)


def check_pairs(this: Run, texts: Texts) -> None:
    """Raises UserError, before anything is trained, where a model is to read pairs apart and its tokenizer does not
    tell one text from the other."""
    if not texts.paired:
        return
    for who, model in (("teacher", this.config.teacher), ("student", this.config.student)):
        if getattr(getattr(model, "architecture", None), "pairs", None) != "apart":
            continue
        encoder = (texts if who == "teacher" else read_by_student(this, texts)).encoder
        if encoder.pair_opening() is None:
            raise UserError(
                f"{who}.architecture.pairs is 'apart', but the tokenizer does not tell the two texts of a pair apart "
                f"by token types; set {who}.architecture.pairs=together, or choose tokenizer=trained"
            )


def prepare_tokenizer(
    this: Run, dataset: Dataset, chosen: TeacherTokenizer | TrainedTokenizer | SourceTokenizer
) -> Artifact:
    """A tokenizer, and the maximum length: the 99th percentile of the training texts, as far as its model reads."""
    config = this.config

    def compute(directory: Path) -> None:
        from tokenizers import Tokenizer

        from distill.sources import locate
        from distill.text import train_tokenizer

        special: dict[str, str] = {}
        longest = 10**6
        if isinstance(chosen, TrainedTokenizer):
            texts = each_text_once([*dataset.train, *dataset.transfer])
            tokenizer = train_tokenizer(texts, chosen.vocabulary_size, chosen.model)
        else:
            from distill.models.loading import load_config, load_tokenizer
            from distill.models.teachers import longest_input

            trust = False
            if isinstance(chosen, SourceTokenizer):
                source = chosen.source
            else:
                assert isinstance(config.teacher, PretrainedTeacher)
                source, trust = config.teacher.source, config.teacher.trust_remote_code
            location = source.hub or str(locate(source))
            if Path(location).is_file():
                try:
                    tokenizer = Tokenizer.from_file(location)
                except Exception as error:  # tokenizers raises bare Exception
                    raise UserError(f"{location} is not a tokenizer.json: {error}") from error
            else:
                tokenizer, special, longest = load_tokenizer(location, source.revision, trust)
            if isinstance(chosen, TeacherTokenizer):
                longest = min(longest, longest_input(load_config(location, source.revision, trust)))
        if tasks.find(config.task.name).tagged:
            tokenizer = with_leading_blanks(tokenizer)
        maximum = config.data.max_length
        if maximum is not None and maximum > longest:
            raise UserError(f"data.max_length is {maximum}, but the teacher reads at most {longest} tokens; lower it")
        if maximum is None:
            encoder = Reading(tokenizer, min(longest, 4096))
            lengths = [len(e.input_ids) for e in encoder.encode([*dataset.train, *dataset.transfer])]
            maximum = min(longest, max(SHORTEST_MAXIMUM, math.ceil(np.percentile(lengths, 99))))
        tokenizer.save(str(directory / "tokenizer.json"))
        (directory / "tokenizer_settings.json").write_text(json.dumps({"max_length": maximum, "special": special}))

    return this.artifacts.stage(
        "tokenizer",
        "tokenizer and maximum length",
        {
            "tokenizer": chosen,
            "teacher": getattr(config.teacher, "source", None)
            if isinstance(config.teacher, PretrainedTeacher)
            else None,
            "max_length": config.data.max_length,
            "data": dataset.fingerprint,
        },
        ("text",),
        ("tokenizers", "transformers"),
        compute,
    )


def teacher_labels(config: Config) -> tuple[str, ...]:
    """The labels of a fine-tuned teacher, for data that has none."""
    from distill.models.loading import load_config
    from distill.sources import locate

    assert isinstance(config.teacher, PretrainedTeacher)
    source = config.teacher.source
    settings = load_config(source.hub or str(locate(source)), source.revision, config.teacher.trust_remote_code)
    return tuple(config.teacher.label_map.get(name, name) for _, name in sorted(settings.id2label.items()))


def read_by_student(this: Run, texts: Texts) -> Texts:
    """The texts with the tokenizer that the student starts from: the one they come with, or one of its own."""
    config = this.config
    if not isinstance(config.teacher, PretrainedTeacher) or isinstance(config.tokenizer, TeacherTokenizer):
        return texts
    own = prepare_tokenizer(this, texts.dataset, config.tokenizer)
    settings = own.read("tokenizer_settings.json")
    encoder = Reading.from_file(own.directory / "tokenizer.json", settings["max_length"])
    return dataclasses.replace(texts, encoder=encoder, special_tokens=settings["special"], tokenizer=own)


def each_text_once(examples: Sequence[Example]) -> list[Example]:
    """The texts, those of a pair one by one: one that stands in many pairs is no more frequent for that."""
    return list({e.text: e for e in single_texts(examples)}.values())


def prepare_student(this: Run, texts: Texts) -> tuple[Texts, Artifact]:
    """The student's tokenizer: the teacher's, or one of its own; trimmed where that is asked for."""
    vocabulary = this.config.student.vocabulary
    texts = read_by_student(this, texts)

    def compute(directory: Path) -> None:
        from distill.text import trim_vocabulary

        tokenizer = texts.encoder.tokenizer
        if vocabulary.trim:
            trimmed = trim_vocabulary(tokenizer, each_text_once(texts.training), vocabulary.min_count)
            tokenizer = trimmed.tokenizer
            np.save(directory / "kept.npy", trimmed.kept)
        tokenizer.save(str(directory / "tokenizer.json"))

    artifact = this.artifacts.stage(
        "student-tokenizer",
        "student's vocabulary",
        {"vocabulary": vocabulary, "tokenizer": texts.tokenizer.fingerprint, "data": texts.dataset.fingerprint},
        ("text",),
        ("tokenizers",),
        compute,
    )
    encoder = Reading.from_file(artifact.directory / "tokenizer.json", texts.encoder.max_length)
    return dataclasses.replace(texts, encoder=encoder), artifact
