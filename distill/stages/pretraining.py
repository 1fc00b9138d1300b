"""DistilBERT's method: a student that knows the language before it sees the task."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from distill.config import DataConfig, LayersStudent, PretrainedTeacher, PretrainingConfig, TaskConfig
from distill.errors import UserError
from distill.stages.artifacts import Artifact, plain
from distill.stages.context import TRAINING_LIBRARIES, TRAINING_ROOMS, Run, Texts
from distill.stages.teacher import file_fingerprint
from distill.text import Example

MOST_HELD_OUT = 500
"""Texts that masked tokens are looked for in afterwards."""


def pretrain_student(this: Run, texts: Texts) -> Artifact:
    """A student of chosen layers, trained on masked language modelling beside the teacher's checkpoint.

    A checkpoint without a head for masked tokens gets one first, trained on the same texts.
    """
    config, student, source = this.config, this.config.student, this.config.teacher
    assert isinstance(student, LayersStudent)
    assert isinstance(source, PretrainedTeacher)
    settings = student.pretraining

    def compute(directory: Path) -> None:
        from distill.models import LoadedModel, save_model, student_from_layers
        from distill.models.masked import load_masked_lm
        from distill.models.students import chosen_layers
        from distill.text import Encoder
        from distill.training import State, train
        from distill.training.pretraining import Corpus, masked_problem, masked_score

        found = corpus_of(settings, texts)
        held_out = max(1, min(MOST_HELD_OUT, len(found) // 20))
        if len(found) <= held_out:
            raise UserError(f"pretraining has {len(found)} texts; give more in student.pretraining.texts")
        encoder = Encoder(texts.encoder.tokenizer, settings.max_length)
        seen, unseen = (Corpus(part, encoder, settings.masked) for part in (found[held_out:], found[:held_out]))
        teacher, has_head = load_masked_lm(source, config.seeds[0])
        if not has_head:
            learns = masked_problem(teacher, None, seen, settings, config.seeds[0], this.machine)
            train(learns, State(directory / "work" / "teacher"), this.machine)
        layers = chosen_layers(student, teacher.config.num_hidden_layers)
        small = student_from_layers(teacher, layers)
        scores = {"teacher": masked_score(teacher, unseen, this.machine)}
        scores["student before"] = masked_score(small, unseen, this.machine)
        problem = masked_problem(small, teacher, seen, settings, config.seeds[0], this.machine)
        train(problem, State(directory / "work" / "student"), this.machine)
        shutil.rmtree(directory / "work", ignore_errors=True)
        scores["student after"] = masked_score(small, unseen, this.machine)
        save_model(LoadedModel(small.cpu(), texts.encoder.tokenizer, texts.special_tokens), directory / "model", 512)
        result = {"texts": len(seen.encoded), "tokens": sum(seen.lengths), "scores": plain(scores)}
        (directory / "result.json").write_text(json.dumps(result))

    return this.artifacts.stage(
        "pretraining",
        "pretraining of the student",
        {
            "teacher": source.source,
            "student": [student.layers, student.count],
            "pretraining": settings,
            "files": [file_fingerprint(one) for one in settings.texts],
            "data": texts.dataset.fingerprint,
            "tokenizer": texts.tokenizer.fingerprint,
            "seed": config.seeds[0],
            **this.compute,
        },
        TRAINING_ROOMS,
        TRAINING_LIBRARIES,
        compute,
    )


def corpus_of(settings: PretrainingConfig, texts: Texts) -> Sequence[Example]:
    """The texts to pretrain on, each once, none of them in validation or test; the first ones are as good as any."""
    from distill.data import load_texts

    found: list[Example] = list(texts.training)
    if settings.texts:
        columns = DataConfig(text=settings.text, label=None)
        found = [e for source in settings.texts for e in load_texts(source, columns, TaskConfig())]
    known = {piece for e in (*texts.dataset.validation, *texts.dataset.test) for piece in pieces_of(e)}
    unique = dict.fromkeys(piece for e in found for piece in pieces_of(e) if piece.strip() and piece not in known)
    order = sorted(unique, key=lambda text: Example(text).key)  # shuffled by content, the same at every run
    return [Example(text) for text in order[: settings.limit]]


def pieces_of(example: Example) -> list[str]:
    """Its texts, one or two, as plain strings."""
    text = " ".join(example.text) if isinstance(example.text, tuple) else example.text
    return [text] if example.pair is None else [text, example.pair]


def in_words(artifact: Artifact) -> str:
    """What the report says of it."""
    result = artifact.read("result.json")
    scores = ", ".join(f"{who} {score['accuracy']:.1%}" for who, score in result["scores"].items())
    asked = result["scores"]["teacher"]["tokens"]
    return (
        f"pretraining on {result['texts']:,} texts, {result['tokens']:,} tokens; of {asked:,} masked tokens in texts "
        f"held out the models find: {scores}"
    )
