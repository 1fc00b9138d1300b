"""From plain values to the schema's dataclasses, with errors that name the key and the nearest right one."""

import contextlib
import dataclasses
import math
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar, Union

from distill.config.schema import (
    Architecture,
    Config,
    EnsembleConfig,
    LayersStudent,
    LowRankStep,
    MaskedLmStep,
    MaskStep,
    NgramStep,
    PretrainedTeacher,
    ProbabilitiesTeacher,
    PruneStep,
    QuantizationAwareStep,
    RecurrentArchitecture,
    RecurrentStudent,
    RecurrentTeacher,
    StaticArchitecture,
    StaticStudent,
    TrainConfig,
    TrainedTokenizer,
    TransformerStudent,
    TransformerTeacher,
    WordStep,
)
from distill.config.terms import (
    DecoupledKlTerm,
    Divergence,
    HardTerm,
    JsdTerm,
    MseTerm,
    Points,
    RelationsTerm,
    SkewedKlTerm,
)
from distill.errors import UserError, about, nearest
from distill.results import FLOORS

C = TypeVar("C")

VARIANT_NAMES = ("fp32", "int8", "int4", "int8_weights", "fp16", "int8_static", "int8_vnni")
OPSETS = {"legacy": (14, 20), "dynamo": (18, 23)}
"""First and last that an exporter writes."""

YAML_WORDS = "; YAML reads yes, no, on, off, true, false and null as no text: write 'no', with quotes"


def build_config(values: dict[str, Any]) -> Config:
    """A whole recipe as its dataclasses. Raises UserError for an unknown key, choice or type, and for values that
    contradict each other."""
    config = build(Config, values, "")
    check(config)
    return config


def build(kind: type[C], values: Any, where: str) -> C:
    """``values`` as the dataclass ``kind``; ``where`` is the path of keys that leads there, for the message."""
    return typing.cast(C, _convert(kind, values, where))


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass(typing.cast(Any, kind), value, where)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        choices = [a for a in arguments if a is not type(None)]
        if len(choices) == 1:
            return _convert(choices[0], value, where)
        return _choice(choices, value, where)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            raise UserError(f"{where} is {value!r}{nearest(str(value), map(str, arguments))}")
        return value
    if origin is tuple:
        items = value if isinstance(value, (list, tuple)) else [value]
        if arguments[-1] is not Ellipsis and len(items) != len(arguments):
            raise UserError(f"{where} is {value!r}; expected {len(arguments)} values in brackets")
        return tuple(_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(items))
    if origin is dict:
        if not isinstance(value, dict):
            raise UserError(f"{where} is {value!r}; expected a mapping such as {{a: b}}")
        for key in value:
            if isinstance(key, bool) or key is None:
                raise UserError(f"{where} has the key {key!r}{YAML_WORDS}")
        return {str(k): _convert(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    return _scalar(kind, value, where)


def _scalar(kind: type, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, (int, str)) and not isinstance(value, bool):  # YAML reads 5e-5 as a text
        with contextlib.suppress(ValueError, OverflowError):
            value = float(value)
    if kind is float and isinstance(value, float) and math.isnan(value):
        raise UserError(f"{where} is {value}; expected a number")
    if kind is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
        word = YAML_WORDS if kind is str and isinstance(value, bool) else ""
        raise UserError(f"{where} is {value!r}; expected {names.get(kind, kind.__name__)}{word}")
    return value


def _choice(choices: list[Any], value: Any, where: str) -> Any:
    """The dataclass among ``choices`` whose ``name`` is the value's."""
    by_name = {typing.get_args(typing.get_type_hints(c)["name"])[0]: c for c in choices}
    if not isinstance(value, dict) or "name" not in value:
        raise UserError(f"{where} is {value!r}; expected a mapping with a name, one of {', '.join(by_name)}")
    if not isinstance(value["name"], str) or value["name"] not in by_name:
        raise UserError(f"{where}.name is {value['name']!r}{nearest(str(value['name']), by_name)}")
    return _dataclass(by_name[value["name"]], value, where)


def _dataclass(kind: Any, value: Any, where: str, default: Any = dataclasses.MISSING) -> Any:
    """What ``value`` does not say is as in ``default``, where the field that it stands for has one."""
    if not isinstance(value, dict):
        raise UserError(f"{where or 'the recipe'} is {value!r}; expected a mapping")
    hints = typing.get_type_hints(kind)
    for key in value:
        if key not in hints:
            path = f"{where}.{key}" if where else str(key)
            raise UserError(f"unknown key '{path}'{nearest(str(key), hints)}")
    found = {}
    for field in dataclasses.fields(kind):
        path = f"{where}.{field.name}" if where else field.name
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if field.name not in value:
            if required and default is dataclasses.MISSING:
                raise UserError(f"'{path}' is missing; set it in the recipe")
            continue
        if hints[field.name] is type(field.default) and dataclasses.is_dataclass(field.default):
            found[field.name] = _dataclass(hints[field.name], value[field.name], path, field.default)
        else:
            found[field.name] = _convert(hints[field.name], value[field.name], path)
    return kind(**found) if default is dataclasses.MISSING else dataclasses.replace(default, **found)


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


def check_ensemble(ensemble: EnsembleConfig, require: Callable[[bool, str], None]) -> None:
    """Ranges of further teachers, and of what they weigh."""
    count = 1 + len(ensemble.teachers)
    for i, one in enumerate(ensemble.teachers):
        where = f"ensemble.teachers[{i}]"
        check_train(one.train, f"{where}.train", require)
        require(one.tries > 0, f"{where}.tries is {one.tries}; give at least 1")
        require(
            not one.trust_remote_code,
            f"{where}.trust_remote_code is true, but code is run of the first teacher alone; make it that one",
        )
    require(
        len(ensemble.weights) in (0, count),
        f"ensemble.weights is {list(ensemble.weights)}, but there are {count} teachers, the first included; give one "
        "number for each, or none",
    )
    for weight in ensemble.weights:
        require(0 < weight < math.inf, f"ensemble.weights has {weight}; give more than 0")


def check_train(train: TrainConfig, where: str, require: Callable[[bool, str], None]) -> None:
    """Ranges of a training."""
    require(train.steps > 0, f"{where}.steps is {train.steps}; give at least 1")
    require(train.evaluations > 0, f"{where}.evaluations is {train.evaluations}; give at least 1")
    require(train.batch_size > 0, f"{where}.batch_size is {train.batch_size}; give at least 1")
    require(train.tokens > 0, f"{where}.tokens is {train.tokens}; give at least 1")
    require(bool(train.learning_rates), f"{where}.learning_rates is empty; give at least one")
    for rate in train.learning_rates:
        require(0 < rate < 1, f"{where}.learning_rates has {rate}; give values between 0 and 1, such as 5e-5")
    require(0 <= train.warmup < 1, f"{where}.warmup is {train.warmup}; it is a share of the steps, from 0 to below 1")
    require(train.clip > 0, f"{where}.clip is {train.clip}; give more than 0")
    require(
        train.ema is None or 0 < train.ema < 1,
        f"{where}.ema is {train.ema}; it is a decay between 0 and 1, such as 0.999, or null for no average",
    )
    for key in ("weight_decay", "patience", "checkpoint_seconds"):
        require(getattr(train, key) >= 0, f"{where}.{key} is {getattr(train, key)}; give 0 or more")


def check_untrained(config: Config, require: Callable[[bool, str], None]) -> None:
    """A student that is taken as it starts, for what is done with it next."""
    student, arms = config.student, [arm for arm in config.arms if arm not in FLOORS]
    require(
        isinstance(student, LayersStudent) and student.start == "teacher",
        "train.steps is 0; give at least 1, as only layers of the fine-tuned teacher (student=whole) know the task "
        "untrained",
    )
    require(
        len(arms) == 1 and not config.assistant,
        f"train.steps is 0; give at least 1, or one arm: untrained, all of {arms} are the same model; set arms to that "
        "from whose signal it recovers when it is compressed, such as arms=[linear,soft]",
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
    require("fp32" in config.export.variants, "export.variants lacks fp32, which the others are compared with; add it")
    for name in config.export.variants:
        require(name in VARIANT_NAMES, f"export.variants has '{name}'{nearest(name, VARIANT_NAMES)}")
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


def check_terms(config: Config, require: Callable[[bool, str], None]) -> None:
    """Weights, shares and schedules of the objective."""
    objective = config.objective
    require(bool(objective.terms), "objective.terms is empty; give at least one term")
    for i, term in enumerate(objective.terms):
        where = f"objective.terms[{i}]"
        require(0 <= term.weight < math.inf, f"{where}.weight is {term.weight}; give 0 or more")
        check_points(term.schedule, f"{where}.schedule", require)
        if isinstance(term, HardTerm):
            require(
                0 <= term.smoothing < 1,
                f"{where}.smoothing is {term.smoothing}; it is a share, from 0 to below 1, such as 0.1",
            )
        if isinstance(term, Divergence):
            require(term.temperature > 0, f"{where}.temperature is {term.temperature}; give more than 0, such as 2")
        if isinstance(term, JsdTerm):
            require(0 < term.beta < 1, f"{where}.beta is {term.beta}; give a number between 0 and 1")
        if isinstance(term, SkewedKlTerm):
            require(0 < term.skew < 1, f"{where}.skew is {term.skew}; it is a share, above 0 and below 1, such as 0.1")
        if isinstance(term, DecoupledKlTerm):
            for key in ("alpha", "beta"):
                value = getattr(term, key)
                require(0 <= value < math.inf, f"{where}.{key} is {value}; give 0 or more")
        if isinstance(term, MseTerm):
            check_points(term.growth, f"{where}.growth", require)
        if isinstance(term, RelationsTerm):
            require(bool(term.of), f"{where}.of is empty; give queries, keys, values, or some of them")
            require(term.heads is None or term.heads > 0, f"{where}.heads is {term.heads}; give at least 1")
    check_points(objective.replacing, "objective.replacing", require)
    for _, chance in objective.replacing:
        require(chance <= 1, f"objective.replacing has the chance {chance}; give at most 1")
    most = objective.states_gb
    require(
        0 <= most < math.inf,
        f"objective.states_gb is {most}; give the GB that may be kept on the disk, or 0 for none",
    )
    written = objective.on_policy
    require(0 < written <= 1, f"objective.on_policy is {written}; it is a share of the steps, above 0 and up to 1")
    require(any(term.weight > 0 for term in objective.terms), "objective.terms has only weights of 0; raise one")


def check_points(points: Points, where: str, require: Callable[[bool, str], None]) -> None:
    """Shares of the steps that rise, and factors that are no less than 0."""
    shares = [share for share, _ in points]
    require(
        all(0 <= share <= 1 for share in shares) and shares == sorted(shares),
        f"{where} is at {shares}; the first of each two numbers is a share of the steps, rising from 0 to 1",
    )
    for _, factor in points:
        require(0 <= factor < math.inf, f"{where} has the factor {factor}; give 0 or more")


def check_augment(config: Config, require: Callable[[bool, str], None]) -> None:
    """Ranges of how texts are made."""
    factor = config.augment.factor
    require(factor > 0, f"augment.factor is {factor}; give at least 1, or augment=none")
    for i, step in enumerate(config.augment.steps):
        where = f"augment.steps[{i}]"
        if isinstance(step, MaskStep | WordStep | MaskedLmStep):
            require(0 < step.share <= 1, f"{where}.share is {step.share}; it is a share of the words, such as 0.1")
        if isinstance(step, WordStep):
            require(step.neighbours > 0, f"{where}.neighbours is {step.neighbours}; give at least 1")
        if isinstance(step, MaskedLmStep):
            require(step.candidates > 0, f"{where}.candidates is {step.candidates}; give at least 1")
        if isinstance(step, NgramStep):
            require(
                0 < step.shortest <= step.longest,
                f"{where}.shortest is {step.shortest} and longest is {step.longest}; give numbers of words, 1 or more, "
                "the smaller one first",
            )
            require(0 < step.chance <= 1, f"{where}.chance is {step.chance}; it is a probability, above 0 and up to 1")


def check_compression(config: Config, require: Callable[[bool, str], None]) -> None:
    """Ranges of what is done with the chosen model, and an order in which each step knows what it finds."""
    steps = config.compression.steps
    check_train(config.compression.train, "compression.train", require)
    for i, step in enumerate(steps):
        where = f"compression.steps[{i}]"
        shares = {key: getattr(step, key, None) for key in ("width_share", "feed_forward_share", "embedding_share")}
        for key, share in shares.items():
            require(
                share is None or 0 < share <= 1,
                f"{where}.{key} is {share}; it is a share, above 0 and up to 1, such as 0.5",
            )
        if isinstance(step, QuantizationAwareStep):
            require(i == len(steps) - 1, f"{where} is 'quantization_aware', whose roundings are learnt last; move it")
        if isinstance(step, LowRankStep):
            require(
                step.feed_forward_share < 1 or step.embedding_share < 1,
                f"{where} is 'low_rank' with shares of 1, which leaves all as it is; lower one, such as to 0.5",
            )
            require(
                not any(isinstance(later, PruneStep | LowRankStep) for later in steps[i + 1 :]),
                f"{where} is 'low_rank', whose factors are neither pruned nor factorised again; prune before it, and "
                "factorise once",
            )
        if isinstance(step, PruneStep):
            check_prune(step, where, require)


def check_prune(step: PruneStep, where: str, require: Callable[[bool, str], None]) -> None:
    """What is kept, said once."""
    shares = (step.width_share, step.feed_forward_share)
    targets = {"parameters": step.parameters, "multiplications": step.multiplications}
    given = {key: share for key, share in targets.items() if share is not None}
    require(step.layers >= 0, f"{where}.layers is {step.layers}; give how many are kept, or 0 for all")
    for key, share in given.items():
        require(0 < share < 1, f"{where}.{key} is {share}; it is a share, above 0 and below 1, such as 0.5, or null")
        require(
            shares == (1, 1),
            f"{where}.{key} is {share}, which says what is kept of heads and units, and so do width_share and "
            "feed_forward_share; give it or them",
        )
    require(len(given) < 2, f"{where} names a share of the parameters and one of the multiplications; give one of them")
    require(
        given != {} or step.layers > 0 or shares != (1, 1),
        f"{where} is 'prune', but leaves nothing out; set parameters, such as 0.5, or multiplications, layers, "
        "width_share or feed_forward_share",
    )


def check_models(config: Config, require: Callable[[bool, str], None]) -> None:
    """Sizes of student, teacher and tokenizer."""
    student = config.student
    models: dict[str, Any] = {"student": student, "teacher": config.teacher}
    for where, model in models.items():
        if isinstance(model, (TransformerStudent, TransformerTeacher)):
            check_transformer(model.architecture, f"{where}.architecture", require)
        elif isinstance(model, (RecurrentStudent, RecurrentTeacher)):
            check_sizes(
                model.architecture,
                ("layers", "embedding_size", "hidden_size"),
                f"{where}.architecture",
                require,
            )
        elif isinstance(model, StaticStudent):
            check_sizes(model.architecture, ("embedding_size", "hidden_size"), f"{where}.architecture", require)
    if "pretrained" in config.arms:
        require(
            isinstance(student, LayersStudent) and isinstance(config.teacher, PretrainedTeacher),
            "arms has 'pretrained', which starts from layers of a pretrained teacher; choose student=layers and a "
            "teacher that is a checkpoint",
        )
        require(
            isinstance(student, LayersStudent) and student.start == "checkpoint",
            "arms has 'pretrained', whose students start from layers of the teacher's checkpoint, while student.start "
            "is 'teacher': the other arms would start from layers that know the task already; set "
            "student.start=checkpoint",
        )
    if isinstance(student, LayersStudent):
        check_layers_student(student, config.arms, require)
    minimum = student.vocabulary.min_count
    require(minimum >= 1, f"student.vocabulary.min_count is {minimum}; give at least 1")
    if isinstance(config.tokenizer, TrainedTokenizer):
        size = config.tokenizer.vocabulary_size
        require(size >= 10, f"tokenizer.vocabulary_size is {size}; give at least 10, such as 8000")


def check_layers_student(student: LayersStudent, arms: Sequence[str], require: Callable[[bool, str], None]) -> None:
    """What a student of the teacher's layers keeps of them, and how it is pretrained."""
    pretraining = student.pretraining
    require(
        0 < pretraining.masked < 1,
        f"student.pretraining.masked is {pretraining.masked}; it is a share of the tokens, such as 0.15",
    )
    for key in ("temperature", "epochs", "batch_size", "learning_rate", "teacher_epochs", "teacher_learning_rate"):
        value = getattr(pretraining, key)
        require(0 < value < math.inf, f"student.pretraining.{key} is {value}; give more than 0")
    for key in ("kl", "mlm", "cosine"):
        value = getattr(pretraining, key)
        require(0 <= value < math.inf, f"student.pretraining.{key} is {value}; it is a weight: give 0 or more")
    require(
        pretraining.kl + pretraining.mlm + pretraining.cosine > 0,
        "student.pretraining has only weights of 0; raise kl, mlm or cosine",
    )
    for key, of_what in (("feed_forward_share", "units"), ("width_share", "heads")):
        share = getattr(student, key)
        require(
            0 < share <= 1,
            f"student.{key} is {share}; it is a share of the {of_what}, above 0 and up to 1, such as 0.5",
        )
        require(
            share == 1 or "pretrained" not in arms,
            f"student.{key} is {share}, which is chosen by the task, but arms has 'pretrained', whose students "
            "learn before they see the task; set it to 1, or leave the arm out",
        )
    require(
        student.count >= -1,
        f"student.count is {student.count}; give at least 1, or 0 for half of the teacher's, or -1 for all of them",
    )
    require(
        all(i >= 0 for i in student.layers) and len(set(student.layers)) == len(student.layers),
        f"student.layers is {list(student.layers)}; give different numbers, counted from 0",
    )


def check_transformer(sizes: Architecture, where: str, require: Callable[[bool, str], None]) -> None:
    """Sizes that fit each other."""
    check_sizes(sizes, ("layers", "hidden_size", "heads", "intermediate_size"), where, require)
    require(
        sizes.hidden_size % sizes.heads == 0,
        f"{where}.hidden_size is {sizes.hidden_size} and heads is {sizes.heads}; hidden_size must be a multiple of "
        "heads",
    )
    require(
        sizes.positions != "rotary" or sizes.hidden_size // sizes.heads % 2 == 0,
        f"{where}.hidden_size is {sizes.hidden_size} and heads is {sizes.heads}; rotary positions turn pairs of "
        "dimensions, so hidden_size / heads must be even",
    )
    size = sizes.embedding_size
    require(size >= 0, f"{where}.embedding_size is {size}; give at least 1, or 0 for the hidden size")
    spread = sizes.initializer_range
    require(spread > 0, f"{where}.initializer_range is {spread}; give a standard deviation above 0, such as 0.02")


def check_sizes(
    sizes: Architecture | RecurrentArchitecture | StaticArchitecture,
    keys: tuple[str, ...],
    where: str,
    require: Callable[[bool, str], None],
) -> None:
    """Counts of at least 1, and a share that is one."""
    for key in keys:
        value = getattr(sizes, key)
        require(value > 0, f"{where}.{key} is {value}; give at least 1")
    require(0 <= sizes.dropout < 1, f"{where}.dropout is {sizes.dropout}; it is a share, from 0 to below 1")
