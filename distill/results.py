"""Frozen result types of a run, with their provenance, and their way to JSON and back.

Everything that a report shows is in a :class:`Report`; rooms that measure or evaluate return the types below, the
room that reports reads them and computes none.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from distill.errors import shown

SCHEMA_VERSION = 1

How = Literal["measured", "estimated", "unavailable"]
FLOORS = ("linear", "static")
"""Arms that are no way of training the student: small models of another kind, which it has to be worth more than."""
SEARCH = "search.json"
"""What a search found, in the folder of the run that it ended with."""


@dataclass(frozen=True)
class Figure:
    """A quantity and how it was obtained. ``value`` is None exactly when ``how`` is ``unavailable``."""

    value: float | None
    unit: str
    how: How
    method: str
    """The counter that was read, the model and constants of an estimate, or why there is none."""

    def __post_init__(self) -> None:
        if (self.value is None) != (self.how == "unavailable"):
            raise ValueError(f"a figure is None exactly when unavailable, got {self.value!r} ({self.how})")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"a figure is finite, got {self.value} {self.unit}")

    def ratio_to(self, other: Figure) -> float:
        """``self / other``; a ValueError where one is measured and the other estimated, or either is missing."""
        if self.value is None or other.value is None:
            raise ValueError("no ratio: a figure is unavailable")
        if self.how != other.how:
            raise ValueError(f"no ratio of a figure that is {self.how} to one that is {other.how}")
        if self.unit != other.unit:
            raise ValueError(f"no ratio of {self.unit} to {other.unit}")
        return self.value / other.value


@dataclass(frozen=True)
class Estimate:
    """A point estimate with its 95 % interval and the name of the method that made the interval."""

    value: float
    low: float
    high: float
    method: str


@dataclass(frozen=True)
class Scale:
    """How people read the scores of a metric. Scores are better the higher they are, so that one that is better the
    lower it is stands with a minus, here and in JSON; people read it without."""

    times: float = 100
    """What a score is multiplied by; below 0 where lower is better."""
    digits: int = 1
    unit: str = "%"
    """Of a score; empty where the name of the metric says it."""
    steps: str = "points"
    """Unit of a difference of scores."""

    @property
    def lower_is_better(self) -> bool:
        """Whether scores are read without their minus."""
        return self.times < 0

    @property
    def gains(self) -> Scale:
        """Of what is gained or lost, and of widths: above 0 stays above 0."""
        return dataclasses.replace(self, times=abs(self.times))

    @property
    def drops(self) -> Scale:
        """:attr:`gains` with a digit more: of what a file may lose."""
        return dataclasses.replace(self.gains, digits=self.digits + 1)

    def read(self, score: float) -> float:
        """A score, or a difference of scores, as people read it."""
        return self.times * score + 0.0  # no minus before a zero

    def ends(self, estimate: Estimate) -> tuple[float, float]:
        """The interval as people read it, the lower end first."""
        low, high = sorted((self.read(estimate.low), self.read(estimate.high)))
        return low, high


PERCENT = Scale()
SCALES = {
    "pearson": Scale(unit="× 100"),
    "spearman": Scale(unit="× 100"),
    "out_of_scope_auroc": Scale(unit="× 100"),
    "bleu": Scale(unit="", steps="BLEU"),
    "chrf": Scale(unit="", steps="chrF"),
    "bits_per_byte": Scale(-1, 3, "", "bits per byte"),
    "perplexity": Scale(-1, 1, "", "in perplexity"),
}
"""Of metrics that are no shares of 1."""


def within(figure: float, limit: float) -> bool:
    """Whether a figure is at most its limit, but for rounding: 15 of 750 answers are 2 points, and 2.0000000000000018
    in floating point."""
    return figure <= limit + 1e-9


def scale_of(metric: str) -> Scale:
    """The scale of a metric, by its name."""
    return SCALES.get(metric, PERCENT)


@dataclass(frozen=True)
class CurvePoint:
    """One evaluation during training."""

    step: int
    train_loss: float
    validation: float


@dataclass(frozen=True)
class SeedResult:
    """One training of an arm: scores are fractions of 1, or as :class:`Scale` says of their metric."""

    seed: int
    validation: float
    test: float
    best_step: int
    steps: int
    seconds: float
    curve: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """One training of a search: a learning rate, with the validation score of its best step."""

    learning_rate: float
    validation: float
    what: str = ""
    """In words: what was different about it besides the learning rate."""
    best_step: int = 0
    steps: int = 0
    curve: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True)
class ArmResult:
    """One way of training, over its seeds, on test. ``linear`` and the teacher are arms of one seed."""

    name: str
    differs_in: str
    """In words: what is different about this arm."""
    texts: int
    """Number of texts trained on."""
    parameters: int | None
    candidates: tuple[Candidate, ...]
    learning_rate: float | None
    seeds: tuple[SeedResult, ...]
    score: Estimate
    """The primary metric on test, mean over seeds."""
    gap_recovered: Estimate | None
    """(arm - linear) / (teacher - linear); None where the teacher is not above linear, and for these two."""
    agreement: float | None
    """Share of test answers equal to the teacher's, mean over seeds; None where there is no teacher to compare."""
    calibration_error: float | None
    """Expected calibration error on test, mean over seeds."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Further metrics on test, mean over seeds."""
    budget: int | None = None
    """Steps that each of its trainings was given; None where there are none."""
    agreement_learnt: float | None = None
    """Share of answers equal to those that taught it, on texts it learnt from, mean over seeds; None where it read no
    soft labels."""


@dataclass(frozen=True)
class Contrast:
    """A paired comparison of two arms on the same test texts."""

    arm: str
    against: str
    primary: bool
    difference: Estimate
    """Score of ``arm`` minus score of ``against`` (fractions of 1)."""
    p_value: float
    test: str
    """Name of the test that gave ``p_value``."""
    verdict: str
    """In words; "no difference shown" is one."""
    smallest_shown: float | None = None
    """The smallest difference that these texts and seeds would show with a probability of 80 % (a fraction of 1)."""


@dataclass(frozen=True)
class Parity:
    """fp32 ONNX against torch, over a grid of shapes and from text to answer."""

    passed: bool
    max_abs_difference: float
    tolerance: float
    cases: int
    answers_equal: bool
    detail: str


@dataclass(frozen=True)
class Gate:
    """A quantized variant against fp32 on validation. Scores are fractions of 1."""

    passed: bool
    drop: Estimate
    """Score of fp32 minus score of the variant."""
    max_drop: float
    agreement: float
    """Share of validation answers equal to fp32's."""
    reason: str
    """In words: why it passed or fell."""
    token_agreement: float | None = None
    """Of a model that writes: share of the tokens of validation at which, behind the true ones, it finds the same one
    most likely as fp32 does. None where that is not asked."""
    min_agreement: float | None = None
    """The least of it that is allowed."""

    @property
    def keeps_score(self) -> bool:
        """Whether no more of the score is lost than allowed."""
        return within(self.drop.value, self.max_drop)

    @property
    def keeps_tokens(self) -> bool:
        """Whether no more tokens are other ones than allowed."""
        return self.token_agreement is None or self.min_agreement is None or self.token_agreement >= self.min_agreement


@dataclass(frozen=True)
class Measurement:
    """One model file at work in a fresh process. ``threads`` holds for all of it."""

    threads: int
    runtime: str
    """For instance ``onnxruntime 1.32.0, CPUExecutionProvider``."""
    file_size: Figure
    """MB (1e6 bytes) of the model file."""
    latency_p50: Figure
    """ms at batch 1, at the texts' real lengths, tokenization not included."""
    latency_p95: Figure
    latency_128_p50: Figure
    """ms at batch 1 and 128 tokens."""
    latency_128_p95: Figure
    throughput: Figure
    """texts/s at batch 32."""
    memory_peak: Figure
    """MB, peak resident set of the process."""
    memory_after_load: Figure
    memory_before_load: Figure
    energy: Figure
    """J per 1,000 texts."""
    cpu_flags: tuple[str, ...] = ()
    """Flags of the processor that matter to int8."""
    memory_peak_no_arena: Figure | None = None
    """MB, as ``memory_peak``, in a second process that runs batches of 32 with onnxruntime's memory arena off."""
    first_token: Figure | None = None
    """ms from a prompt to the first token that is written behind it, at batch 1; this and the following are of a model
    that writes alone."""
    writing_rate: Figure | None = None
    """tokens/s after the first, at batch 1."""
    cache_growth: Figure | None = None
    """Bytes that a model keeps of each token, at batch 1."""


@dataclass(frozen=True)
class VariantResult:
    """One set of ONNX files, of the teacher or of the exported student."""

    model: Literal["teacher", "student"]
    variant: str
    shipped: bool
    """In the bundle: of the student, or the one of the teacher that met a target which no student met."""
    parity: Parity | None
    gate: Gate | None
    score: Estimate | None
    """Test score through the runtime, with an interval over texts; None where not evaluated."""
    measurement: Measurement | None
    file_bytes: int = 0
    needs: tuple[str, ...] = ()
    """Flags of processors of which it needs one; none where it runs everywhere."""


@dataclass(frozen=True)
class Offer:
    """A file that can be shipped, and what it costs; NaN or infinite where that is not known."""

    model: str
    """``teacher`` or ``student``; in a search the rung of the ladder."""
    variant: str
    drop: Estimate
    """Points (hundredths of a score) that are lost to the teacher on validation."""
    size_mb: float
    latency_ms: float
    """Median of one text at a time."""
    memory_mb: float

    @property
    def name(self) -> str:
        """``student int8``"""
        return f"{self.model} {self.variant}"

    @property
    def figures(self) -> dict[str, float]:
        """By the names of a target's limits; infinite where not known."""
        found = {
            "drop": self.drop.value,
            "size_mb": self.size_mb,
            "latency_ms": self.latency_ms,
            "memory_mb": self.memory_mb,
        }
        return {name: value if math.isfinite(value) else math.inf for name, value in found.items()}


@dataclass(frozen=True)
class TargetResult:
    """What was asked for, and how the file that was chosen stands to it."""

    limits: dict[str, float]
    """The most that is allowed: ``drop``, ``size_mb``, ``latency_ms``, ``memory_mb``, or some of them."""
    offers: tuple[Offer, ...]
    chosen: str
    """Name of the offer that is taken: the smallest or fastest that meets all limits, else the nearest."""
    missed: dict[str, float]
    """Of each limit that it does not keep, by how much it is above (NaN where it could not be measured); empty where
    the target is met."""
    shown: bool
    """Whether the upper end of the drop's interval is within its limit, too; True where none is asked for."""
    front: tuple[str, ...]
    """Offers than which no other is better, or as good, in drop, size and latency at once; the smallest first."""
    floors: dict[str, float] = field(default_factory=dict)
    """Points that each of the floors loses which keeps the limit of the drop; empty where none was asked for."""

    @property
    def taken(self) -> Offer:
        """The chosen one."""
        return next(offer for offer in self.offers if offer.name == self.chosen)


@dataclass(frozen=True)
class Rung:
    """One kind of student in a search."""

    name: str
    trained: Literal["full", "short", "failed"]
    """``short``: for a part of its steps, and then cut off; ``failed``: not at all."""
    reason: str = ""
    """Why it was cut off, or could not be trained."""
    offers: tuple[Offer, ...] = ()
    """Of its last training."""
    training_seconds: float = 0.0


@dataclass(frozen=True)
class Search:
    """What a search tried and chose."""

    name: str
    metric: str
    target: TargetResult
    """Over the teacher's files and those of all rungs that were trained fully."""
    rungs: tuple[Rung, ...]
    seconds: float
    """Of this search; what an earlier one had computed took no time."""
    training_seconds: float
    """Of all trainings of students, whenever they were made."""


@dataclass(frozen=True)
class AttentionMap:
    """How much weight each token of a text (a row) gives to each that it looks at (a column), in one layer: the mean
    over its heads. A row adds up to 1."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Inside:
    """What was seen inside of a model."""

    model: Literal["teacher", "student"]
    attention: tuple[AttentionMap, ...]
    """Of each layer, on one test text; empty where the model has no attention."""
    probes: tuple[Estimate, ...]
    """How well a linear classifier tells the labels of test texts from the states of each layer, the embeddings first;
    empty where the task has no classes or the model does not give its states."""


@dataclass(frozen=True)
class StageCost:
    """Time and energy of a stage of training."""

    stage: str
    seconds: float
    energy: Figure
    cached: bool = False
    """True where the figures are those of the run that computed the stage."""


@dataclass(frozen=True)
class CompressionResult:
    """One step of what was done with the chosen model before it was exported; scores are those of the primary metric on
    validation."""

    name: str
    what: str
    """In words: what is left, or how it was trained."""
    parameters_before: int
    parameters_after: int
    before: float
    """Score before the step."""
    cut: float
    """Score behind it, before the model was trained on."""
    recovered: float
    """Score of the model that was trained on, or of what the step left, where no training was better."""
    learning_rate: float | None
    """The best on validation; None where no training was."""


@dataclass(frozen=True)
class CrossFitting:
    """Soft labels out of fold, and how well they agree with the data's: scores of the primary metric."""

    folds: int
    out_of_fold: float
    """On the labelled training texts, each labelled by the one teacher that had not learnt it."""
    in_fold: float
    """On the same texts, labelled by the teacher that had learnt all of them."""
    validation: float
    """Of the mean of the folds' teachers, which labels all other texts."""
    teacher_validation: float
    """Of the teacher that had learnt all texts."""


@dataclass(frozen=True)
class Ensemble:
    """Several teachers whose probabilities are mixed; scores are those of the primary metric on validation."""

    sources: tuple[str, ...]
    """Where each comes from, the first one first."""
    weights: tuple[float, ...]
    """Their shares, which add up to 1."""
    by_confidence: bool
    """Whether each answer's weight is multiplied by the probability of what its teacher finds likeliest."""
    scores: tuple[float, ...]
    """Of each."""
    validation: float
    """Of the mixture."""


@dataclass(frozen=True)
class Cascade:
    """Two models in one bundle: the student answers where it is sure, else the teacher. Shares, scores (of right
    answers) and drops are fractions of 1."""

    small: str
    """The student's variant."""
    larger: str
    """The teacher's."""
    threshold: float
    """A text whose highest probability by the student is below it is asked of the teacher."""
    max_drop: float
    """What may be lost against the larger model."""
    drop: float
    """Score of the larger model minus that of the cascade on validation."""
    bound: float
    """What is lost on other texts at most, as ``method`` says."""
    method: str
    validation_calls: float
    """Share of the texts of validation that are asked of the teacher."""
    calls: Estimate
    """The same on test; and all that follows."""
    small_score: Estimate
    larger_score: Estimate
    score: Estimate
    difference: Estimate
    """Score of the cascade minus that of the larger model."""
    latency: Figure
    """ms at batch 1, expected of a text."""
    energy: Figure
    """J per 1,000 texts."""
    size: Figure
    """MB of both."""


@dataclass(frozen=True)
class FlippedLabel:
    """What becomes of the test texts that the teacher gave a label."""

    label: str
    before: int
    """Texts that the teacher gave it."""
    after: int
    """Texts that the student gives it."""
    flips: int
    """Of those that the teacher gave it, how many the student gives another one."""
    to: dict[str, int]
    """These, by the label that the student gives; the most frequent first."""
    right_before: int
    """Of the same, how many the teacher had right; where no text is labelled, all."""
    right_after: int
    """How many the student has right."""


@dataclass(frozen=True)
class CarriedThreshold:
    """For who acts only on answers of at least some probability: the threshold that lets as many through as before."""

    before: float
    after: float | None
    """Of the student, chosen on validation; None where the teacher is that sure of no text there."""
    passed_before: float
    """Share of the texts of test that pass; and so on."""
    passed_after: float
    precision_before: float | None
    """Share of right answers among these; None where there are none."""
    precision_after: float | None


@dataclass(frozen=True)
class SwitchOver:
    """What changes for who has the teacher in service and puts the bundle in its place."""

    variant: str
    """The default one of the bundle; of a cascade, the student's."""
    texts: int
    """Of test."""
    flips: int
    right_before: int
    right_after: int
    labels: tuple[FlippedLabel, ...]
    """Those with the most flips first."""
    thresholds: tuple[CarriedThreshold, ...]
    model: str = "student"
    """Or ``cascade``; or ``teacher``, where a target chose a file of it."""


@dataclass(frozen=True)
class DataSummary:
    """What the data was, after cleaning."""

    source: str
    licence: str
    labelled: int
    transfer: int
    """Texts without labels the student may learn on."""
    validation: int
    test: int
    majority_share: float | None
    """Share of the most frequent label in test; None where the task has none."""
    truncated: dict[str, int] = field(default_factory=dict)
    """Texts longer than the maximum length, by split."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Rows left out, by reason."""
    max_length: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """Versions, machine and settings that the results hold for."""

    created: str
    """UTC, ISO 8601."""
    versions: dict[str, str]
    machine: dict[str, str]
    settings: dict[str, Any]
    """The whole composed configuration."""


@dataclass(frozen=True)
class TaskInWords:
    """What a report says of its task. The defaults are what holds for a report that was written without it."""

    agreement: str = "same answer as the teacher"
    """What agreement compares."""
    agreement_unit: str = "%"
    floor: str = "TF-IDF and a linear model"
    """What the arm ``linear`` is."""
    hub_tag: str = ""
    """The hub's ``pipeline_tag``; empty where it has none."""
    sample: str = '"text"'
    """A question to the model, as JSON."""
    plain_code: str = ""
    """Python that answers the sample without this package; empty where there is none."""
    long_texts: str = "texts"
    """What is read in windows where it is long."""
    shared_tokens: int | None = None
    """Tokens that neighbouring windows share; None where long texts are cut."""


@dataclass(frozen=True)
class Report:
    """Everything one run found out."""

    schema_version: int
    name: str
    recipe: str
    task: str
    metric: str
    """Name of the primary metric."""
    labels: tuple[str, ...]
    data: DataSummary
    teacher_source: str
    teacher_licence: str
    arms: tuple[ArmResult, ...]
    """``linear``, ``teacher`` and the students' arms, in this order."""
    contrasts: tuple[Contrast, ...]
    exported_arm: str
    exported_seed: int
    variants: tuple[VariantResult, ...]
    costs: tuple[StageCost, ...]
    warnings: tuple[str, ...]
    provenance: Provenance
    samples: tuple[dict[str, str], ...] = ()
    """Texts with answers; empty unless the recipe says ``report.show_texts: true``."""
    task_in_words: TaskInWords = TaskInWords()
    inside: tuple[Inside, ...] = ()
    """Teacher and exported student; empty unless the recipe says ``report.look_inside: true``."""
    cross_fitting: CrossFitting | None = None
    """None where students learn from the teacher itself."""
    ensemble: Ensemble | None = None
    """None where there is one teacher."""
    cascade: Cascade | None = None
    """None where the bundle holds the student alone."""
    switch_over: SwitchOver | None = None
    """None where answers are not one label a text, or no student is shipped."""
    target: TargetResult | None = None
    """None where none is asked for, or no variant passed."""
    search: Search | None = None
    """None where this run is not what a search chose."""
    compression: tuple[CompressionResult, ...] = ()
    """The steps between the training of the student and its export; empty where there are none."""

    @property
    def scale(self) -> Scale:
        """How people read the scores of the primary metric."""
        return scale_of(self.metric)


R = TypeVar("R")


def to_json(result: Any) -> str:
    """A dataclass of this module as JSON text. NaN and infinities become null."""
    return json.dumps(_plain(dataclasses.asdict(result)), indent=2, ensure_ascii=False) + "\n"


def from_json(kind: type[R], text: str) -> R:
    """The inverse of :func:`to_json`. Raises ValueError where ``text`` does not fit ``kind``."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("its values lie too deep in each other") from error
    return from_plain(kind, value)


def from_plain(kind: type[R], value: Any) -> R:
    """A value of JSON as a dataclass. Raises ValueError where it does not fit ``kind``."""
    return typing.cast(R, _decode(kind, value, kind.__name__))


def write_aside(path: Path, data: str | bytes) -> None:
    """Writes a file under another name and renames it, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if isinstance(data, str):
            aside.write_text(data, encoding="utf-8")
        else:
            aside.write_bytes(data)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if hasattr(value, "item"):  # a numpy scalar
        return _plain(value.item())
    return value


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _decode(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _decode(next(a for a in arguments if a is not type(None)), value, where)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{where}: {shown(value)} is none of {arguments}")
        return value
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f"{where}: expected an object, got {shown(value)}")
        hints = typing.get_type_hints(kind)
        unknown = set(value) - set(hints)
        if unknown:
            raise ValueError(f"{where}: unknown keys {sorted(unknown)}")
        missing = [f.name for f in dataclasses.fields(kind) if f.name not in value and _required(f)]
        if missing:
            raise ValueError(f"{where}: missing keys {missing}")
        return typing.cast(Any, kind)(**{k: _decode(hints[k], v, f"{where}.{k}") for k, v in value.items()})
    if origin in (tuple, list, dict) and not isinstance(value, dict if origin is dict else list):
        raise ValueError(f"{where}: expected {'an object' if origin is dict else 'a list'}, got {shown(value)}")
    if origin in (tuple, list):
        return origin(_decode(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict:
        return {k: _decode(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if kind is float:
        try:
            return math.nan if value is None else float(value)
        except (TypeError, OverflowError) as error:
            raise ValueError(f"{where}: expected a number, got {shown(value)}") from error
    if kind in (int, str, bool) and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise ValueError(f"{where}: expected {kind.__name__}, got {shown(value)}")
    return value
