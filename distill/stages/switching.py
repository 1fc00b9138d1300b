"""One classifier in the place of another: a cascade of both, and what changes for who replaces the teacher."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from distill.progress import say
from distill.results import Cascade, Estimate, Figure, Measurement, SwitchOver, VariantResult
from distill.stages.artifacts import load_units
from distill.stages.context import Run, Signal, open_store, units_of
from distill.stages.exporting import test_answers
from distill.stages.findings import Comparison, Exported, Joined
from distill.tasks import Task, gives_one_label
from distill.tasks.task import Logits, softmax
from distill.text import Example

if TYPE_CHECKING:
    from distill.evaluation.cascade import Threshold
    from distill.evaluation.switching import Said

Units = Sequence[Logits]


def join_models(
    this: Run, teachers: tuple[Exported, ...], student: Exported, variants: tuple[VariantResult, ...]
) -> Joined:
    """The default variants of teacher and student as a cascade, where the recipe asks for one and validation shows that
    it loses no more than allowed at fewer calls."""
    from distill.evaluation.cascade import choose_threshold

    if this.config.cascade is None:
        return Joined()
    larger, most = teachers[0] if teachers else None, this.config.cascade.max_drop
    if larger is None or not larger.default or not student.default:
        without = "student" if larger is not None and larger.default else "teacher"
        return no_cascade(f"no variant of the {without} passed")
    validation = student.texts.dataset.validation
    units = [on_validation_of(one) for one in (student, larger)]
    small_right, larger_right = (
        right_of(one, own, validation) for one, own in zip((student, larger), units, strict=True)
    )
    chosen = choose_threshold(confidences(units[0]), small_right, larger_right, most / 100)
    if chosen is None:
        return no_cascade(
            f"{len(validation):,} texts of validation do not show, at any threshold, that no more than {most:g} points "
            "are lost against the teacher; allow more (cascade.max_drop), or give more texts (data.validation_share)"
        )
    if not chosen.calls:
        return no_cascade(
            f"the student alone loses at most {100 * chosen.bound:.2f} points, {most:g} are allowed, so that nothing "
            "is to be asked of the teacher"
        )
    return Joined(larger, cascade_result(this, (student, larger), variants, chosen, most / 100))


def no_cascade(why: str) -> Joined:
    """The bundle holds the student alone, and the report says why."""
    warning = f"no cascade: {why}"
    say(warning)
    return Joined(warnings=(warning,))


def right_of(exported: Exported, units: Units, texts: Sequence[Example]) -> NDArray[np.bool_]:
    """[N] whether each answer is right."""
    task = exported.texts.task
    right: NDArray[np.bool_] = np.array(task.predictions(units, texts)) == np.array(task.gold(texts))
    return right


def confidences(units: Units) -> NDArray[np.float64]:
    """[N], the highest probability of each text, as the runtime compares it with the threshold."""
    return np.array([softmax(one)[0].max() for one in units])


def cascade_result(
    this: Run,
    both: tuple[Exported, Exported],
    variants: tuple[VariantResult, ...],
    chosen: "Threshold",
    max_drop: float,
) -> Cascade:
    """The cascade on test."""
    from distill.evaluation import paired_difference, score_over_seeds, wilson
    from distill.evaluation.cascade import METHOD
    from distill.metrics import accuracy

    test = both[0].texts.dataset.test
    small, larger = (test_answers(this, one, one.default) for one in both)
    told = in_cascade(small, larger, chosen.value)
    task = both[0].texts.task
    predictions = [task.predictions(units, test) for units in (small, larger, told)]
    of_small, of_larger, of_cascade = (accuracy.statistics(one, task.gold(test))[None] for one in predictions)
    share = wilson(int((confidences(small) < chosen.value).sum()), len(test))
    measured = [result_of(variants, one) for one in both]
    return Cascade(
        small=both[0].default,
        larger=both[1].default,
        threshold=chosen.value,
        max_drop=max_drop,
        drop=chosen.drop,
        bound=chosen.bound,
        method=METHOD,
        validation_calls=chosen.calls,
        calls=share,
        small_score=score_over_seeds(accuracy, of_small),
        larger_score=score_over_seeds(accuracy, of_larger),
        score=score_over_seeds(accuracy, of_cascade),
        difference=paired_difference(accuracy, of_cascade, of_larger),
        latency=expected([None if m is None else m.latency_p50 for m in measured], share, "ms"),
        energy=expected([None if m is None else m.energy for m in measured], share, "J per 1,000 texts"),
        size=Figure(sum(one.size(one.default) for one in both) / 1e6, "MB", "measured", "sizes of the files"),
    )


def result_of(variants: tuple[VariantResult, ...], exported: Exported) -> Measurement | None:
    """How its default variant was measured."""
    return next(v for v in variants if (v.model, v.variant) == (exported.who, exported.default)).measurement


def expected(figures: Sequence[Figure | None], share: Estimate, unit: str) -> Figure:
    """Of a text: the student's, and the teacher's for the share of texts that it is asked about."""
    small, larger = figures
    if small is None or larger is None or small.value is None or larger.value is None:
        return Figure(None, unit, "unavailable", "not measured of both models")
    method = f"that of the student ({small.how}) + {share.value:.3f} times that of the teacher ({larger.how})"
    return Figure(small.value + share.value * larger.value, unit, "estimated", method)


def switch_over(
    this: Run, signal: Signal, comparison: Comparison, shipped: Exported, joined: Joined
) -> SwitchOver | None:
    """What changes for who replaces the teacher by the bundle: the default variant of what is ``shipped``, or a
    cascade. None where answers are not one label a text, and where no variant is shipped."""
    from distill.evaluation.switching import carried, flipped_labels

    texts = shipped.texts
    if not gives_one_label(texts.task) or not shipped.default:
        return None
    validation, test = texts.dataset.validation, texts.dataset.test
    gold = np.array(texts.task.gold(test))
    on_validation = on_validation_of(shipped)
    on_test: Units = test_answers(this, shipped, shipped.default)
    if joined.larger is not None and joined.result is not None:
        threshold = joined.result.threshold
        on_validation = in_cascade(on_validation, on_validation_of(joined.larger), threshold)
        on_test = in_cascade(on_test, test_answers(this, joined.larger, joined.larger.default), threshold)
    before, after = said(signal.task, comparison.units["teacher"][0], test), said(texts.task, on_test, test)
    of_validation = (
        said(signal.task, units_of(open_store(signal.on_validation), validation), validation),
        said(texts.task, on_validation, validation),
    )
    labels = flipped_labels(before.labels, after.labels, gold, texts.task.labels)
    return SwitchOver(
        model="cascade" if joined.result else shipped.who,
        variant=shipped.default,
        texts=len(test),
        flips=sum(one.flips for one in labels),
        right_before=sum(one.right_before for one in labels),
        right_after=sum(one.right_after for one in labels),
        labels=labels,
        thresholds=carried(of_validation, (before, after), gold),
    )


def on_validation_of(exported: Exported) -> Units:
    """The answers of its default variant on validation."""
    return load_units(exported.artifact.directory / f"validation_{exported.default}.npz")


def in_cascade(small: Units, larger: Units, threshold: float) -> Units:
    """The student's answers where it is sure, else the teacher's."""
    asked = confidences(small) < threshold
    return [theirs if ask else own for own, theirs, ask in zip(small, larger, asked, strict=True)]


def said(task: Task, units: Units, texts: Sequence[Example]) -> "Said":
    """Answers and how sure they are."""
    from distill.evaluation.switching import Said

    return Said(np.array(task.predictions(units, texts)), confidences(units))
