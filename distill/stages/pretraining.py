"""DistilBERT's method: a student that knows the language before it sees the task."""

import json
import shutil
from pathlib import Path

from distill.config import LayersStudent, PretrainedTeacher
from distill.errors import UserError
from distill.stages.artifacts import Artifact, plain
from distill.stages.context import TRAINING_LIBRARIES, TRAINING_ROOMS, Run, Texts
from distill.stages.teacher import file_fingerprint

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
        from distill.data.corpus import load_corpus
        from distill.models import LoadedModel, save_model, student_from_layers
        from distill.models.masked import load_masked_lm
        from distill.models.students import chosen_layers
        from distill.text import Reading
        from distill.training import State, train
        from distill.training.pretraining import Corpus, masked_problem, masked_score

        dataset = texts.dataset
        found = load_corpus(settings, texts.training, [*dataset.validation, *dataset.test])
        held_out = max(1, min(MOST_HELD_OUT, len(found) // 20))
        if len(found) <= held_out:
            raise UserError(f"pretraining has {len(found)} texts; give more in student.pretraining.texts")
        encoder = Reading(texts.encoder.tokenizer, settings.max_length)
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
        (*TRAINING_ROOMS, "data/corpus.py"),
        TRAINING_LIBRARIES,
        compute,
    )


def in_words(artifact: Artifact) -> str:
    """What the report says of it."""
    result = artifact.read("result.json")
    scores = ", ".join(f"{who} {score['accuracy']:.1%}" for who, score in result["scores"].items())
    asked = result["scores"]["teacher"]["tokens"]
    return (
        f"pretraining on {result['texts']:,} texts, {result['tokens']:,} tokens; of {asked:,} masked tokens in texts "
        f"held out the models find: {scores}"
    )
