"""Whether the teacher had learnt enough to teach."""

from distill.evaluation.contrasts import paired_difference
from distill.formatting import point_bounds
from distill.metrics import Metric, Statistics
from distill.results import ArmResult, scale_of


def undertrained(metric: Metric, teacher: ArmResult, stacks: dict[str, Statistics]) -> tuple[str, ...]:
    """What speaks against the teacher, in words, each with the setting that mends it; empty where nothing does.

    ``stacks`` holds [S, n, K] of the primary metric on test for ``teacher`` and, where the run had them, ``linear`` and
    ``hard``. Soft labels of a teacher that has not learnt the task make any comparison with hard labels a comparison
    with that teacher.
    """
    found = []
    scale = scale_of(metric.name)
    digits = scale.digits
    seed = teacher.seeds[0]
    mend = "train it longer before, or give another one"
    if seed.curve:
        mend = "raise teacher.train.steps, or give other teacher.train.learning_rates"
    score = metric_mean(metric, stacks["teacher"])
    if score >= 1 and not scale.lower_is_better:  # nothing is left to learn
        return ()
    if "linear" in stacks and score <= (linear := metric_mean(metric, stacks["linear"])):
        found.append(
            f"the teacher ({scale.read(score):.{digits}f}) is not above the linear floor "
            f"({scale.read(linear):.{digits}f}) on test: {mend}, or label more texts"
        )
    if "hard" in stacks:
        ahead = paired_difference(metric, stacks["teacher"], stacks["hard"])
        if ahead.low <= 0:
            who = "the teacher is not shown to be ahead of the student on hard labels"
            if ahead.value <= 0:
                who = "the student reaches its teacher on hard labels alone"
            found.append(f"{who}: the teacher's lead is {point_bounds(ahead, scale.gains)}; {mend}")
    if seed.curve and seed.best_step == max(point.step for point in seed.curve) and len(seed.curve) > 1:
        found.append(
            f"the teacher was best on validation at its last step ({seed.best_step}) and might have become better: "
            "raise teacher.train.steps"
        )
    return tuple(found)


def metric_mean(metric: Metric, stack: Statistics) -> float:
    """Mean score over seeds of [S, n, K]."""
    return float(sum(float(metric.reduce(one)) for one in stack) / len(stack))
