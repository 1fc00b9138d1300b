"""What the values of a training must keep: its budget, its objective, and the chains of steps before and behind it."""

import math
from collections.abc import Callable

from distill.config.models import LayersStudent
from distill.config.schema import Config
from distill.config.steps import (
    LowRankStep,
    MaskedLmStep,
    MaskStep,
    NgramStep,
    PruneStep,
    QuantizationAwareStep,
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
from distill.config.training import TrainConfig
from distill.results import FLOORS


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
