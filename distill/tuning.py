"""The search of sizes and learning rates with Optuna: what ``distill search RECIPE`` runs.

A trial is a run of the pipeline: a kind of student, its sizes and a learning rate, with one seed and the recipe's last
arm. Three things are minimised at once: the drop to the teacher on validation, the size, and the latency of the
student's default file. Every trial is drawn by a sampler that is seeded anew with the number of trials before it, so
that a search that was stopped goes on, and ends, as one that was not.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.config import Config, TargetConfig
from distill.errors import UserError
from distill.evaluation.choice import choose, key_of
from distill.ladder import Trained, layers_of, rung_of, teachers_of, with_settled_arms
from distill.measure import machine, versions
from distill.pipeline import Outcome, run
from distill.progress import say
from distill.results import SEARCH, Offer, Rung, Search, from_plain, to_json, write_aside
from distill.sources import identity_of
from distill.stages.checks import check_choices, check_task, sources_of
from distill.stages.context import open_run
from distill.stages.stage import identity, source_fingerprint
from distill.stages.texts import read_data
from distill.tasks import find
from distill.training.devices import processes_of_run
from distill.training.shards import claimed

if TYPE_CHECKING:
    from optuna import Study, Trial

ANY_SIZE = 1e12
"""MB; a target that every file meets, for a recipe without one."""


def tune(config_of: Callable[[Sequence[str]], Config], trials: int) -> tuple[Search, Outcome | None]:
    """All trials, and the run of what meets the recipe's target best; None where it has none.

    Raises UserError where Optuna is not installed, nothing is measured, another search is at it, or no trial could be
    trained.
    """
    if (processes := processes_of_run()) > 1:
        raise UserError(
            f"a launcher started {processes} processes, but a search is one; start `distill search` without it"
        )
    begun, base = time.monotonic(), config_of(())
    if not base.measure.enabled:
        raise UserError("measure.enabled is false, but a search minimises latency, too; set measure.enabled=true")
    folder, layers = Path(base.outputs) / base.name, layers_of(base)
    tried = kinds(config_of, layers)
    config_of = with_settled_arms(config_of)
    base = config_of(())
    with alone(folder):
        study = open_study(base, folder)
        while (before := len(settled(study))) < trials:
            study.sampler = sampler(base.seeds[0], before)
            trial = study.ask()
            sets = space(trial, tried, layers, narrow=not find(base.task.name).label_free)
            trial.set_user_attr("sets", sets)
            name = f"trial {before + 1}"  # in the study it has another number, where one before it was stopped
            say(f"{name} of {trials}: {' '.join(sets)}")
            attempt(study, trial, partial(config_of, sets), name, str(folder / "bundles"))
        return conclude(study, config_of, base, begun)


def conclude(
    study: "Study", config_of: Callable[[Sequence[str]], Config], base: Config, begun: float
) -> tuple[Search, Outcome | None]:
    """What the trials of a study found, and the run of what meets the target best."""
    folder = Path(base.outputs) / base.name
    limits = {} if base.target is None else base.target.limits
    rungs = [rung_from(number, one) for number, one in enumerate(settled(study), start=1)]
    trained = [rung for rung in rungs if rung.trained == "full"]
    if not trained:
        raise UserError(f"no trial could be trained; the first: {rungs[0].reason}")
    teachers = offers_in(study.user_attrs["teacher"])
    result = choose([*teachers, *(offer for rung in trained for offer in rung.offers)], limits)
    seconds, training = time.monotonic() - begun, math.fsum(rung.training_seconds for rung in rungs)
    found = Search(base.name, study.user_attrs["metric"], result, tuple(rungs), seconds, training)
    outcome = None
    if limits:
        chosen = next((rung for rung in trained if rung.name == result.taken.model), trained[-1])
        config = rung_of(config_of(chosen.reason.split(" ")), "", base.exports)
        outcome = run(dataclasses.replace(config, name=base.name), found)
    write_aside(folder / SEARCH, to_json(found))
    shutil.rmtree(folder / "bundles", ignore_errors=True)  # their graphs are artifacts
    return found, outcome


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps other searches out of a folder. Raises UserError where one is at it: each would take the trial that the
    other is in for one that was stopped."""
    folder.mkdir(parents=True, exist_ok=True)
    with claimed(folder / "trials.log", wait=False) as mine:
        if not mine:
            raise UserError(f"another search is at {folder}; wait for its end, or give this one a name= of its own")
        yield


def open_study(base: Config, folder: Path) -> "Study":
    """The study of this recipe on these data and this machine, as far as it went. A trial that was stopped is tried
    again first."""
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ModuleNotFoundError as error:
        raise UserError(f"`distill search` needs {error.name}; install distill[search]") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / "trials.log"))),
        study_name=fingerprint(base),
        directions=["minimize"] * 3,
        load_if_exists=True,
    )
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        if not is_settled(trial):
            study.enqueue_trial(trial.params)
        tell(study, trial.number, trial.user_attrs.get("values"))
    return study


def fingerprint(base: Config) -> str:
    """Of what the figures of a trial depend on beside its overrides: the recipe, its texts, the state of the models
    that it names, the machine that latencies are measured on, and the code."""
    data = read_data(open_run(rung_of(base, "", base.exports)))
    models = {where: identity_of(source) for where, source in sources_of(base).items()}
    code = versions(), source_fingerprint((".",))
    content = [dataclasses.asdict(base), data.fingerprint, identity(data.stream), models, machine(), code]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def sampler(seed: int, before: int) -> Any:
    """Of the trial behind so many."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed + before)


def settled(study: "Study") -> list[Any]:
    """Trials that came to an end, in their order; not those that were stopped."""
    return [one for one in study.get_trials(deepcopy=False) if is_settled(one)]


def is_settled(trial: Any) -> bool:
    """Whether it is known what came of it."""
    return "offers" in trial.user_attrs or "why" in trial.user_attrs


def tell(study: "Study", number: int, values: list[float] | None) -> None:
    """What a trial costs; None where it has no figures to go by."""
    from optuna.trial import TrialState

    known = values is not None and all(map(math.isfinite, values))
    study.tell(number, values if known else None, state=None if known else TrialState.FAIL)


def kinds(config_of: Callable[[Sequence[str]], Config], layers: int) -> list[str]:
    """Of students, for a teacher of so many layers (0 where they cannot be made of them), without those that the task
    cannot have.

    Raises UserError where it can have none, and for a recipe that does not compose with one of them.
    """
    found, refused = list[str](), dict[str, str]()
    for kind in (*(["layers"] if layers else []), "lstm", "static"):
        try:
            config = config_of([f"student={kind}"])
        except UserError as error:  # such as a key of the recipe that another kind of student does not have
            raise UserError(f"the search also tries student={kind}: {error}") from error
        config = rung_of(config, kind, config.exports)
        try:
            check_task(config)
            check_choices(config)
        except UserError as error:
            refused[kind] = str(error)
        else:
            found.append(kind)
    if not found:
        raise UserError(next(iter(refused.values())))
    for kind, why in refused.items():
        say(f"student={kind} is left out: {why}")
    return found


def space(trial: "Trial", tried: Sequence[str], layers: int, narrow: bool) -> list[str]:
    """The overrides of a trial of these kinds, for a teacher of so many layers. ``narrow``: whether layers may be
    narrower than the teacher's, for which there have to be labels."""
    kind = trial.suggest_categorical("student", tried)

    def one_of(key: str, *values: float) -> str:
        return f"student.{key}={trial.suggest_categorical(f'{kind}.{key}', values)}"

    def rate(low: float, high: float) -> str:
        return f"train.learning_rates=[{trial.suggest_float(f'{kind}.learning_rate', low, high, log=True):.3g}]"

    if kind == "layers":
        count = f"student.count={trial.suggest_int('layers.count', 1, layers)}"
        shares = {"width_share": (0.5, 0.75, 1.0), "feed_forward_share": (0.25, 0.5, 1.0)} if narrow else {}
        return ["student=layers", count, *(one_of(key, *values) for key, values in shares.items()), rate(1e-4, 1e-3)]
    sizes = one_of("architecture.embedding_size", 32, 64, 128, 256), one_of("architecture.hidden_size", 64, 128, 256)
    return [f"student={kind}", *sizes, rate(5e-4, 5e-3)]


def attempt(study: "Study", trial: "Trial", config_of: Callable[[], Config], name: str, exports: str) -> None:
    """Trains, exports and measures a trial, and tells the study what it found out."""
    try:
        config = rung_of(config_of(), name, exports)
        target = config.target or TargetConfig(size_mb=ANY_SIZE)
        one = Trained("student", config, run(dataclasses.replace(config, target=target)).report)
        if not one.offers:
            raise UserError("no file passed parity and its gate")
    except UserError as error:
        trial.set_user_attr("why", str(error))
        return tell(study, trial.number, None)
    study.set_user_attr("teacher", [json.loads(to_json(offer)) for offer in teachers_of(one.report)])
    study.set_user_attr("metric", one.report.metric)
    best = min(one.offers, key=lambda offer: key_of(offer, target.limits)).figures
    values = [best[name] for name in ("drop", "size_mb", "latency_ms")]
    trial.set_user_attr("values", values)
    trial.set_user_attr("seconds", one.seconds)
    trial.set_user_attr("offers", [json.loads(to_json(offer)) for offer in one.offers])  # settled from here on
    return tell(study, trial.number, values)


def offers_in(values: Sequence[Any]) -> tuple[Offer, ...]:
    """As they were kept."""
    return tuple(from_plain(Offer, value) for value in values)


def rung_from(number: int, trial: Any) -> Rung:
    """A trial as a rung of a search, its overrides as the reason."""
    attributes, name = trial.user_attrs, f"trial {number}"
    sets = " ".join(attributes["sets"])
    if "why" in attributes:
        return Rung(name, "failed", f"{sets}: {attributes['why']}")
    offers = tuple(dataclasses.replace(offer, model=name) for offer in offers_in(attributes["offers"]))
    return Rung(name, "full", sets, offers, attributes["seconds"])
