"""What the values of a recipe must keep, each by itself and among each other, whatever the task: the recipe as a whole,
its data, its export and its target."""

import dataclasses
import math
from collections.abc import Callable

from distill.config.model_rules import check_ensemble, check_models
from distill.config.models import ProbabilitiesTeacher
from distill.config.schema import Config
from distill.config.training import TrainConfig
from distill.config.training_rules import check_augment, check_compression, check_terms, check_train, check_untrained
from distill.errors import UserError, about, nearest
from distill.results import FLOORS

VARIANT_NAMES = ("fp32", "int8", "int4", "int8_weights", "fp16", "int8_static", "int8_vnni")
OPSETS = {"legacy": (14, 20), "dynamo": (18, 23)}
"""First and last that an exporter writes."""


def check(config: Config) -> None:
    """Rules over several values, and ranges."""

    def require(holds: bool, message: str) -> None:
        if not holds:
            raise UserError(message)

    require(bool(config.seeds), "seeds is empty; give at least one")
    for seed in config.seeds:
        require(0 <= seed < 2**32, f"seeds has {seed}; give whole numbers from 0 to {2**32 - 1}")
    require(len(set(config.seeds)) == len(config.seeds), f"seeds is {list(config.seeds)}; give each once")
    require(len(set(config.arms)) == len(config.arms), f"arms is {list(config.arms)}; give each once")
    require(any(arm not in FLOORS for arm in config.arms), "arms has no student; add 'hard', 'soft' or 'soft+transfer'")
    check_data(config, require)
    trains: dict[str, TrainConfig] = {"train": config.train}
    if not isinstance(config.teacher, ProbabilitiesTeacher):
        trains["teacher.train"] = config.teacher.train
        require(config.teacher.tries > 0, f"teacher.tries is {config.teacher.tries}; give at least 1")
        require(config.folds > 0, f"teacher.folds is {config.folds}; give 1 for none, or a number of folds, such as 3")
    check_ensemble(config.ensemble, require)
    for where, train in trains.items():
        if train is config.train and train.steps == 0:
            check_untrained(config, require)
            train = dataclasses.replace(train, steps=1)
        check_train(train, where, require)
    check_export(config, require)
    drop = 1.0 if config.cascade is None else config.cascade.max_drop
    require(0 < drop <= 100, f"cascade.max_drop is {drop:g}; give points above 0, such as 0.5, to 100")
    most = 0.0 if config.max_teacher_drop is None else config.max_teacher_drop
    require(most >= 0, f"max_teacher_drop is {most:g}; give points, 0 or more, or null for no bound")
    check_target(config, require)
    check_terms(config, require)
    check_augment(config, require)
    check_compression(config, require)
    check_models(config, require)
    for i, assisted in enumerate(config.assisted):
        with about(f"assistant[{i}], as a student"):
            check_models(assisted, require)
    require(config.threads is None or config.threads > 0, f"threads is {config.threads}; give at least 1")
    for key in ("threads", "seconds", "watts_per_core"):
        value = getattr(config.measure, key)
        require(value > 0, f"measure.{key} is {value}; give more than 0")
    for key in ("outputs", "exports"):
        require(bool(getattr(config, key)), f"{key} is empty; name a folder")
    bad = [c for c in config.name if not (c.isalnum() or c in "-_.+=,")]
    require(
        bool(config.name) and not bad and not config.name.startswith("."),
        f"name is '{config.name}'; it names a folder: use letters, digits, - _ . + only",
    )


def check_data(config: Config, require: Callable[[bool, str], None]) -> None:
    """Ranges of splits, lengths and what is made of the texts."""
    require(config.data.recombined >= 0, f"data.recombined is {config.data.recombined}; give 0 or more")
    require(
        not config.data.recombined or not isinstance(config.teacher, ProbabilitiesTeacher),
        "data.recombined makes pairs that no file of probabilities knows; leave it out, or give a model as teacher",
    )
    for key, least in (("labelled", 1), ("transfer_limit", 0)):
        value = getattr(config.data, key)
        require(value is None or value >= least, f"data.{key} is {value}; give at least {least}, or null for all")
    limit = None if config.data.stream is None else config.data.stream.limit
    require(limit is None or limit > 0, f"data.stream.limit is {limit}; give at least 1, or null for all")
    for share in ("validation_share", "test_share"):
        value = getattr(config.data, share)
        require(0 <= value < 1, f"data.{share} is {value}; it is a share, from 0 to below 1")
    require(
        config.data.max_length is None or config.data.max_length >= 3,
        f"data.max_length is {config.data.max_length}; give at least 3",
    )
    stride = config.data.stride
    require(
        stride is None or 0 <= stride < (config.data.max_length or math.inf),
        f"data.stride is {stride}; windows share that many tokens: give 0 or more, and less than data.max_length",
    )


def check_export(config: Config, require: Callable[[bool, str], None]) -> None:
    """Variants, and what they must keep."""
    for name in config.export.variants:
        require(name in VARIANT_NAMES, f"export.variants has '{name}'{nearest(name, VARIANT_NAMES)}")
    require("fp32" in config.export.variants, "export.variants lacks fp32, which the others are compared with; add it")
    shortlist = config.export.shortlist
    require(shortlist >= 0, f"export.shortlist is {shortlist}; give 0 for none, or a number of tokens, such as 50")
    require(
        not shortlist or len(config.export.variants) > 1,
        f"export.shortlist is {shortlist}, but export.variants has no quantized variant, of which one with a shortlist "
        "is made; add int8",
    )
    require(
        config.export.tolerance > 0, f"export.tolerance is {config.export.tolerance}; give more than 0, such as 1e-4"
    )
    require(config.export.max_drop >= 0, f"export.max_drop is {config.export.max_drop:g}; give points, 0 or more")
    least_agreement = config.export.min_agreement
    require(
        least_agreement is None or 0 <= least_agreement <= 1,
        f"export.min_agreement is {least_agreement}; it is a share, from 0 to 1, or null where it is not asked",
    )
    low, high = OPSETS[config.export.exporter]
    require(
        low <= config.export.opset <= high,
        f"export.opset is {config.export.opset}; the exporter {config.export.exporter} writes {low} to {high}",
    )


def check_target(config: Config, require: Callable[[bool, str], None]) -> None:
    """Limits that are there, and can be held against a figure."""
    if config.target is None:
        return
    limits = config.target.limits
    require(bool(limits), "target is empty; give drop, size_mb, latency_ms, memory_mb, or some of them")
    for key, limit in limits.items():
        least = "0 or more" if key == "drop" else "more than 0"
        holds = 0 <= limit < math.inf and (limit > 0 or key == "drop")
        require(holds, f"target.{key} is {limit:g}; give {least}")
    for key in ("latency_ms", "memory_mb"):
        require(
            key not in limits or config.measure.enabled,
            f"target.{key} is {limits.get(key, 0):g}, but measure.enabled is false, so nobody would know whether it is "
            "met; set measure.enabled=true, or leave it out",
        )
    require(
        config.cascade is None,
        "target chooses one model for the bundle, and cascade.max_drop asks for two; leave one of them out",
    )
