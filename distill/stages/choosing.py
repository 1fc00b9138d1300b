"""Which texts without labels students learn on, where there are more than are asked for and the teacher has a say."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from distill.stages.context import Lesson, Run, Signal, Texts, open_store, units_of
from distill.stages.importance import rank_parts
from distill.stages.signal import LabelTexts
from distill.stages.students import train_arm
from distill.stages.texts import prepare_student
from distill.stages.tokens import tokens_of
from distill.stages.vectors import make_vectors
from distill.tasks import Task
from distill.tasks.task import Logits, softmax

WHO = "first student"


def choose_transfer(this: Run, texts: Texts, signal: Signal) -> Texts:
    """With ``data.transfer_choice=unsure``, the ``data.transfer_limit`` texts without labels that a first student lacks
    most: those whose answer the teacher is surer of than it is.

    The first student is the recipe's own, trained on the soft labels of the labelled texts with the first seed. The
    teacher labels all texts, of which students then learn on the chosen ones; on the pairs that were made of training
    pairs, which the limit does not count, in any case.
    """
    made, limit = set(texts.dataset.recombined), this.config.data.transfer_limit
    pool = tuple(e for e in texts.dataset.transfer if e not in made)
    if this.config.data.transfer_choice != "unsure" or limit is None or limit >= len(pool):
        return texts
    aside = dataclasses.replace(this, config=dataclasses.replace(this.config, seeds=this.config.seeds[:1]))
    own = prepare_student(aside, texts, None)
    vectors, importance = make_vectors(aside, own, signal), rank_parts(aside, texts, signal)
    trained = train_arm(aside, Lesson(own, signal, None, vectors=vectors, importance=importance), "soft", WHO)
    tokens = tokens_of(aside, own, dataclasses.replace(own.dataset, transfer=pool).part("transfer"))
    asked = this.artifacts.get(LabelTexts(trained.models[0], own.reading, own.task, tokens, to_learn=True))
    assert signal.answers is not None
    teacher, student = (units_of(open_store(one), pool) for one in (signal.answers, asked))
    lack = lacking(texts.task, teacher, student)
    chosen = set(np.argsort(-lack, kind="stable")[:limit].tolist())
    note = (
        f"transfer: {limit} of {len(pool)} texts without labels used, those whose answer the teacher is surer of "
        f"than a student of the labelled texts: by {100 * lack[sorted(chosen)].mean():.0f} points on average, by "
        f"{100 * lack.mean():.0f} over all"
    )
    dataset = dataclasses.replace(
        texts.dataset,
        transfer=(*(e for index, e in enumerate(pool) if index in chosen), *texts.dataset.recombined),
        notes=(*texts.dataset.notes, note),
    )
    costs = (*texts.costs, *trained.costs, dataclasses.replace(asked.cost, stage=f"what the {WHO} says of all texts"))
    return dataclasses.replace(texts, dataset=dataset, costs=costs)


def lacking(task: Task, teacher: list[Logits], student: list[Logits]) -> NDArray[np.float64]:
    """[N]: the probability that the teacher gives to its answer minus what the student gives to that answer; where
    several labels may hold, the mean over labels; where words have labels, the mean over the words that both see, 0
    without any. ``teacher`` and ``student``: [U, C] of each text, NaN where a word has no piece."""
    counts = [min(map(len, both)) for both in zip(teacher, student, strict=True)]
    own, other = (
        softmax(either_or(task, np.concatenate([unit[:count] for unit, count in zip(units, counts, strict=True)])))
        for units in (student, teacher)
    )
    answer = other.argmax(-1)[..., None]
    lack = np.take_along_axis(other, answer, -1) - np.take_along_axis(own, answer, -1)
    of_units = lack.mean(axis=tuple(range(1, lack.ndim)))
    seen = ~np.isnan(of_units)
    texts = np.repeat(np.arange(len(counts)), counts)[seen]
    sums, words = (np.bincount(texts, weights, len(counts)) for weights in (of_units[seen], None))
    return np.asarray(sums / np.maximum(words, 1))


def either_or(task: Task, logits_NC: Logits) -> Logits:
    """[N, C] of labels of which one holds, or [N, C, 2] of labels that do not hold or do."""
    return np.stack([np.zeros_like(logits_NC), logits_NC], axis=-1) if task.kind == "bernoulli" else logits_NC
