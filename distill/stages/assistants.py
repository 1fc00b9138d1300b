"""Assistants: models between teacher and student."""

import dataclasses

from distill.config.schema import ASSISTED
from distill.stages.artifacts import Artifact
from distill.stages.context import Assistant, Lesson, Run, Signal, Texts
from distill.stages.importance import rank_parts
from distill.stages.signal import LabelTexts
from distill.stages.students import part_of, train_arm
from distill.stages.texts import prepare_student
from distill.stages.tokens import tokens_of
from distill.stages.vectors import make_vectors


def train_assistants(this: Run, texts: Texts, signal: Signal) -> dict[str, tuple[Assistant, ...]]:
    """For each arm that ends with ``+assistant`` the models that stand between the teacher and its students.

    A student that is far smaller than its teacher may learn more from a model of middle size, which learnt from the
    teacher: Mirzadeh et al. (2020, arXiv:1902.03393). So an assistant is trained as the students of the arm without it
    are: from the same soft labels on the same texts, with the same budget and rates, with the first seed. What it then
    says of these texts is what the arm's students learn from; all else, their first weights included, is as without
    it. Of several assistants each learns from the one before it, as the generations of born-again networks do
    (Furlanello et al. 2018).
    """
    return {arm: chain_of(this, texts, signal, arm) for arm in this.config.arms if arm.endswith(ASSISTED)}


def chain_of(this: Run, texts: Texts, signal: Signal, arm: str) -> tuple[Assistant, ...]:
    """The assistants of an arm, from the teacher's to that of its students."""
    base, found = arm.removesuffix(ASSISTED), list[Assistant]()
    for number, config in enumerate(this.config.assisted, start=1):
        aside = dataclasses.replace(this, config=config)
        name = f"assistant {number} {base}" if len(this.config.assisted) > 1 else f"assistant {base}"
        own = prepare_student(aside, texts, None)
        vectors, importance = make_vectors(aside, own, signal), rank_parts(aside, texts, signal)
        lesson = Lesson(own, signal, None, vectors=vectors, importance=importance)
        trained = dataclasses.replace(train_arm(aside, lesson, base, name), name=name)
        what = (
            f"between teacher and student: trained as {base} is, with one seed, on the soft labels of "
            + (f"assistant {number - 1}" if number > 1 else "the teacher")
            + (f"; teaches {arm}" if number == len(this.config.assisted) else f"; teaches assistant {number + 1}")
        )
        found.append(Assistant(trained, what, own, ask_assistant(aside, lesson, base, trained.models[0])))
        signal = dataclasses.replace(signal, answers=found[-1].answers)
    return tuple(found)


def ask_assistant(this: Run, lesson: Lesson, base: str, model: Artifact) -> Artifact:
    """What an assistant says of the texts that its students learn on."""
    own = lesson.texts
    tokens = tokens_of(this, own, part_of(lesson, base))
    return this.artifacts.get(LabelTexts(model, own.reading, own.task, tokens, to_learn=True))
