"""The search for the smallest or fastest model that meets a target: what ``distill compress MODEL --target`` runs.

On a ladder stand students of every kind, from averaged token vectors to the teacher with half of its width; the
teacher's own files stand beside them. Each rung is trained for a quarter of its steps first, exported and measured:
size, latency and memory hardly depend on weights, and its learning curve bounds what its full training can win back.
Rungs are then trained fully in the order of the best that can come of them, until what was found is better than
the best that can come of any other: those are cut off (branch and bound). So the choice is that of training every rung
fully, as far as :func:`hoped_for` hopes for enough.

Every training is a run of the pipeline under the same ``outputs``, so that the teacher is read, asked and exported
once, and a search that was stopped goes on where it was.
"""

import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from distill.config import Config, PretrainedTeacher
from distill.errors import UserError
from distill.evaluation.choice import Key, choose, key_of
from distill.pipeline import Outcome, run
from distill.progress import say
from distill.report.target import points
from distill.results import (
    FLOORS,
    SEARCH,
    ArmResult,
    Estimate,
    Offer,
    Report,
    Rung,
    Search,
    scale_of,
    to_json,
    write_aside,
)
from distill.stages.context import open_run
from distill.stages.texts import read_data, settle_arms

SHORT = 4
"""The first training of a rung takes one step in so many."""
HOPE = 2.0
"""So many times what the last doubling of the steps won, each further one may win."""
LEAST_WON = 0.5
"""Points that a doubling may always have won, since validation is small."""
NO_DROP = -100.0
"""Points that nothing loses less than."""
NOISE = {"latency_ms": 0.7, "memory_mb": 0.95}
"""Figures of a full training may be so much of those of the short one: another process measures them."""


@dataclass(frozen=True)
class Trained:
    """A run of a rung."""

    rung: str
    config: Config
    report: Report

    @property
    def offers(self) -> tuple[Offer, ...]:
        """What the student offers, under the rung's name."""
        found = () if self.report.target is None else self.report.target.offers
        return tuple(replace(one, model=self.rung) for one in found if one.model == "student")

    @property
    def seconds(self) -> float:
        """Of its trainings, also those of an earlier run that it shares them with."""
        return math.fsum(
            cost.seconds for cost in self.report.costs if cost.stage.startswith(("student", "compression"))
        )

    @property
    def arm(self) -> ArmResult:
        """What was trained."""
        return next(arm for arm in self.report.arms if arm.name == self.report.exported_arm)


def ladder(layers: int) -> dict[str, tuple[str, ...]]:
    """The overrides of each rung, for a teacher of so many layers."""
    counts = {f"{n} layer{'s' * (n > 1)}": ("student=layers", f"student.count={n}") for n in range(1, layers)}
    whole = ("student=whole", "compression=prune", "arms=[linear,soft+transfer]")  # untrained, it has one arm
    pruned = {"thin": ("student=thin",), "pruned": whole}
    return {"static": ("student=static",), "LSTM": ("student=lstm",), **counts, **pruned}


def layers_of(config: Config) -> int:
    """Of the teacher; 0 where it is no checkpoint, or has none."""
    from distill.models.checkpoints import Checkpoint
    from distill.tasks import find

    if not isinstance(config.teacher, PretrainedTeacher):
        return 0
    checkpoint = Checkpoint.of(config.teacher.source, config.teacher.trust_remote_code)
    return int(getattr(checkpoint.config(find(config.task.name)), "num_hidden_layers", 0))


def search(config_of: Callable[[Sequence[str]], Config]) -> tuple[Search, Outcome]:
    """The search, and the run of what it chose, whose bundle is kept. ``config_of`` composes the recipe with the
    overrides of a rung.

    Raises UserError where no rung can be trained.
    """
    begun, config_of = time.monotonic(), with_settled_arms(config_of)
    base = config_of(())
    assert base.target is not None
    limits, aside = base.target.limits, Path(base.outputs) / base.name / "bundles"
    short, failed = try_rungs(config_of, ladder(layers_of(base)), str(aside))
    full = climb(short, limits)
    teachers = teachers_of(short[0].report)
    offers = [*teachers, *(offer for one in full for offer in one.offers)]
    if not offers:
        raise UserError("no student of the ladder has a file that keeps within export.max_drop; allow more there")
    result = choose(offers, limits)
    of_floors = short[0].report.target
    result = replace(result, floors={} if of_floors is None else of_floors.floors)
    rungs = (*rungs_of(short, full, limits), *(Rung(name, "failed", why) for name, why in failed.items()))
    last = full[-1].config if full else brief(short[0].config)  # where a file of the teacher is chosen
    chosen = next((one.config for one in full if one.rung == result.taken.model), last)
    found = Search(
        name=base.name,
        metric=short[0].report.metric,
        target=result,
        rungs=rungs,
        seconds=time.monotonic() - begun,
        training_seconds=math.fsum(one.seconds for one in (*short, *full)),
    )
    outcome = run(replace(chosen, name=base.name, exports=base.exports), found)
    write_aside(outcome.directory / SEARCH, to_json(found))
    shutil.rmtree(aside, ignore_errors=True)  # their graphs are artifacts
    return found, outcome


def try_rungs(
    config_of: Callable[[Sequence[str]], Config], rungs: Mapping[str, tuple[str, ...]], exports: str
) -> tuple[list[Trained], dict[str, str]]:
    """(short trainings, why there is none of a rung that this teacher or task does not have)."""
    found, errors = list[Trained](), dict[str, UserError]()
    for name, sets in rungs.items():
        try:
            config = rung_of(config_of(sets), name, exports)
            short = brief(config)
            say(f"{name}: {steps_of(short)} of {steps_of(config)} steps")
            report = run(short).report
        except UserError as error:
            if not found and str(error) in map(str, errors.values()):
                raise  # what two rungs have in common is no rung's own, such as a teacher that has not learnt the task
            say(f"{name}: left out ({error})")
            errors[name] = error
            continue
        found.append(Trained(name, config, report))
    if not found:
        raise next(iter(errors.values()))
    return found, {name: str(error) for name, error in errors.items()}


def with_settled_arms(config_of: Callable[[Sequence[str]], Config]) -> Callable[[Sequence[str]], Config]:
    """The same with the arms that the recipe's data has texts for. Raises UserError as
    :func:`distill.stages.texts.settle_arms` does."""
    this = open_run(config_of(()))
    arms = settle_arms(this, read_data(this)).config.arms
    return lambda sets: replace(config_of(sets), arms=arms)


def rung_of(config: Config, name: str, exports: str) -> Config:
    """The floor and the last arm of a student alone, with one seed, under a name of its own."""
    last = [arm for arm in config.arms if arm not in FLOORS][-1]
    arms = tuple(arm for arm in config.arms if arm in ("linear", last))
    own = f"{config.name}-{name.replace(' ', '-').lower()}"
    return replace(config, name=own, exports=exports, arms=arms, seeds=config.seeds[:1])


def brief(config: Config) -> Config:
    """The same with a part of the steps, also of those in which a compressed model recovers."""
    shorter = [
        replace(train, steps=math.ceil(train.steps / SHORT)) for train in (config.train, config.compression.train)
    ]
    compression = replace(config.compression, train=shorter[1])
    return replace(config, name=f"{config.name}-short", train=shorter[0], compression=compression)


def steps_of(config: Config) -> int:
    """Of the student's training, and of those in which it recovers from a compression."""
    return config.train.steps + len(config.compression.steps) * config.compression.train.steps


def climb(short: Sequence[Trained], limits: Mapping[str, float]) -> list[Trained]:
    """Full trainings, the most hopeful first, until none of the others can be better than what was found."""
    best = min((key_of(offer, limits) for offer in teachers_of(short[0].report)), default=None)
    found = []
    for one in sorted(short, key=lambda one: bound(one, limits)):
        if best is not None and best[:2] <= bound(one, limits)[:2]:
            break
        say(f"{one.rung}: {steps_of(one.config)} steps")
        whole = replace(one, report=run(one.config).report)
        found.append(whole)
        best = min(
            [*([] if best is None else [best]), *(key_of(offer, limits) for offer in whole.offers)], default=None
        )
    return found


def bound(short: Trained, limits: Mapping[str, float]) -> Key:
    """The best that can come of a rung, as offers are compared; nothing where it has no file."""
    keys = (key_of(offer, limits) for offer in hoped_for(short))
    return min(keys, default=(math.inf, math.inf, short.rung))


def hoped_for(short: Trained) -> Iterator[Offer]:
    """Each file of a rung as it may be at best after its full training.

    Its drop: the lower end of the interval of what the short training lost, less what the further doublings of the
    steps may win. Learning curves flatten out over the logarithm of the steps, so a doubling wins no more than the one
    before it; it is taken for ``HOPE`` times that of the short training's second half, which counts as ``LEAST_WON``
    points at least. A file that fell at its gate is hoped for, too, since the full training may pass.
    """
    lows = [offer.drop.low for offer in short.offers]
    won = None if short.config.compression.steps else last_doubling(short.arm)  # no curve of a recovery is kept
    lost = NO_DROP
    if lows and won is not None and math.isfinite(min(lows)):
        lost = max(NO_DROP, min(lows) - math.log2(SHORT) * HOPE * max(100 * won, LEAST_WON))
    for variant in short.report.variants:
        if variant.model == "student" and variant.file_bytes and not variant.needs:
            measured = variant.measurement
            figures = [None, None] if measured is None else [measured.latency_p50.value, measured.memory_peak.value]
            latency, memory = (math.nan if value is None else value for value in figures)
            yield Offer(
                model=short.rung,
                variant=variant.variant,
                drop=Estimate(lost, lost, lost, "hoped for"),
                size_mb=variant.file_bytes / 1e6,
                latency_ms=NOISE["latency_ms"] * latency,
                memory_mb=NOISE["memory_mb"] * memory,
            )


def last_doubling(arm: ArmResult) -> float | None:
    """What the second half of the steps won on validation; None where nothing was evaluated in the first."""
    curve = arm.seeds[0].curve
    half = max((point.step for point in curve), default=0) / 2
    before = [point.validation for point in curve if point.step <= half]
    return max(point.validation for point in curve) - max(before) if before else None


def teachers_of(report: Report) -> list[Offer]:
    """The teacher's own files."""
    return [] if report.target is None else [one for one in report.target.offers if one.model == "teacher"]


def rungs_of(short: Sequence[Trained], full: Sequence[Trained], limits: Mapping[str, float]) -> Iterator[Rung]:
    """What became of each rung."""
    whole = {one.rung: one for one in full}
    for one in short:
        if one.rung in whole:
            seconds = one.seconds + whole[one.rung].seconds
            yield Rung(one.rung, "full", "", whole[one.rung].offers, seconds)
            continue
        hoped = min(hoped_for(one), key=lambda offer: key_of(offer, limits), default=None)
        at_best = "no file" if hoped is None else f"{hoped.size_mb:.3g} MB"
        if hoped is not None and math.isfinite(hoped.latency_ms):
            at_best += f", {hoped.latency_ms:.3g} ms"
        if hoped is not None and hoped.drop.value > NO_DROP:
            scale = scale_of(one.report.metric)
            at_best += f", {points(max(0.0, hoped.drop.value), scale)} lost"
        steps = steps_of(brief(one.config))
        yield Rung(one.rung, "short", f"cut off after {steps} steps: at best {at_best}", one.offers, one.seconds)
