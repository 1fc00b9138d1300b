"""The contract every task keeps.

A task is one file: everything that other rooms must know of it is an attribute or a method of its class, and no other
room tells tasks apart by name.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from distill.errors import UserError, nearest, shown
from distill.metrics import Metric
from distill.results import TaskInWords
from distill.tasks.cells import Fail, renamed
from distill.text import Encoded, Example, Label, Reading

Logits = NDArray[np.float32]
Targets = NDArray[np.int64] | NDArray[np.float32]

AGREEMENT = "agreement"
"""The metric where nothing is labelled: the task's own, with the teacher's answers in place of labels."""

NO_LABEL = -100
"""Stands where a unit has no label; every term leaves it out. Targets that are numbers hold NaN there."""

Kind = Literal["categorical", "bernoulli", "span", "number", "vector", "token"]
"""What the logits of a unit mean, and so how a loss reads them: one of C classes; C independent yes-or-no answers; one
of an example's units for the start and one for the end of a span; a number; a direction in space; the next token, of
all those of the vocabulary."""


class Answer(Protocol):
    """What ``predict`` gives for one text."""

    def as_dict(self) -> dict[str, Any]:
        """The answer as plain JSON values."""

    def as_line(self) -> str:
        """The answer on one line of a terminal."""


@dataclass(frozen=True)
class Windows:
    """How a text that is longer than the maximum is read."""

    stride: int
    """Tokens that neighbouring windows share."""
    pooling: Literal["mean", "max"] = "mean"
    """How the logits of windows become those of a text, where the whole text is the unit. Words are taken from the
    window in which they have most context on both sides."""


class Task(ABC):
    """A task, over a fixed list of labels where it has labels.

    An example has *units*, the things that are answered: one for a whole text, one a word for its words. Logits of an
    example are always [U, C]: U units, C numbers each. Training, the soft-label store, terms and post-processing all
    speak of units, so that none of them knows the task.

    The data is read by the class alone, before the labels are known: what concerns rows and cells are class attributes
    and static methods.
    """

    name: ClassVar[str]
    """As ``task.name`` in a recipe and in a bundle."""
    kind: ClassVar[Kind] = "categorical"
    outputs: ClassVar[tuple[str, ...]] = ("logits",)
    """Names of the graph's outputs."""
    read: ClassVar[tuple[str, ...]] = ("logits",)
    """Those that logits are made of; several are stacked on a last axis."""
    words: ClassVar[bool] = False
    """Units are words; the model answers at each token."""
    tagged: ClassVar[bool] = False
    """Texts are given as lists of words."""
    labelled: ClassVar[bool] = True
    """Answers are among a list of labels."""
    own_label: ClassVar[bool] = False
    """A text is its own label: no column of labels is read."""
    writes: ClassVar[bool] = False
    """A model writes text: its graphs are of the roles ``decoder`` and, where it reads another text, ``encoder``."""

    label_noun: ClassVar[str] = "label"
    """What a message calls the content of the label column."""
    one_label: ClassVar[bool] = False
    """Each example has exactly one of the labels: one with a single example can neither be learnt nor split."""
    empty_label: ClassVar[str] = ""
    """Why rows whose label is empty are left out; where this is empty, they are examples like any other."""
    pair_holds: ClassVar[str] = ""
    """What stands in the second column of texts, where there must be one."""
    label_free: ClassVar[bool] = False
    """Learnt on single texts, from what the teacher says of them; measured on pairs that have a label."""

    head: ClassVar[str] = "SequenceClassification"
    """Of transformers' auto class ``AutoModelFor…``; empty for the bare encoder, ``AutoModel``."""
    problem_type: ClassVar[str | None] = None
    """What transformers' configurations call the task, where one head serves several; None: the head says it."""

    agreement_is: ClassVar[str] = "same answer as the teacher"
    """What agreement compares, in words."""
    agreement_unit: ClassVar[Literal["%", "× 100"]] = "%"
    """``× 100`` where agreement is no share of the answers."""
    floor_is: ClassVar[str] = "TF-IDF and a linear model"
    """What the arm ``linear`` is, in words."""
    no_floor: ClassVar[str] = ""
    """Why there is no arm ``linear``; empty where there is one."""
    hub_tag: ClassVar[str] = ""
    """The hub's name (``pipeline_tag``) for what a model of the task does; empty where it has none."""
    long_texts: ClassVar[str] = "texts"
    """What is read in windows where it is long."""

    def __init__(
        self,
        labels: tuple[str, ...],
        metric: str = "",
        windows: Windows | None = None,
        thresholds: tuple[float, ...] = (),
    ) -> None:
        self.labels = labels
        self.index = {label: i for i, label in enumerate(labels)}
        self.windows = windows
        self.thresholds = thresholds
        """Logits above which a label is given, for tasks that choose them on validation; empty before."""
        metrics = {m.name: m for m in self._metrics()}
        if metric == AGREEMENT:
            first = next(iter(metrics.values()))
            metrics[AGREEMENT] = replace(first, name=AGREEMENT, title="agreement with the teacher")
        if metric and metric not in metrics:
            raise UserError(f"{self.name} has no metric '{metric}'{nearest(metric, metrics)}")
        self.metric = metrics[metric] if metric else next(iter(metrics.values()))
        """The primary metric."""
        self.metrics = tuple(metrics.values())

    @property
    def counted(self) -> tuple[str, ...]:
        """How its metrics were counted, where that is to be known to compare them with others'."""
        return ()

    @property
    def next_token(self) -> "Task":
        """The task of predicting the tokens of what is to be written, where a model is asked to write; else itself."""
        return self

    @property
    def floor_metric(self) -> Metric:
        """What a teacher is compared by with :meth:`constant`."""
        return self.metric

    @property
    def predicts_tokens(self) -> bool:
        """Whether logits are what a model is asked for, in a task whose models write; else it is asked to write."""
        return True

    @property
    def width(self) -> int:
        """C, the number of a model's outputs for a unit."""
        return len(self.labels)

    @property
    def output_names(self) -> tuple[str, ...]:
        """What a model's configuration calls the C numbers of a unit; empty where they have no names."""
        return self.labels

    @abstractmethod
    def _metrics(self) -> tuple[Metric, ...]:
        """All metrics of the task, its own primary one first."""

    @staticmethod
    @abstractmethod
    def label_of(value: Any, column: str, fail: Fail) -> Label:
        """What a cell of the label ``column`` says; :mod:`distill.tasks.cells` reads the usual kinds.

        Raises the UserError that ``fail`` makes, which names the row, for a cell that says nothing.
        """

    @staticmethod
    def renamed(label: Label, label_map: Mapping[str, str]) -> Label:
        """The label with the names that ``data.label_map`` gives."""
        return renamed(label, label_map)

    @staticmethod
    def misfit(example: Example, text: str, label: str) -> str:
        """Why the label does not fit the text, for an error that names the row; empty where it does. ``text`` and
        ``label`` are the names of their columns."""
        return ""

    @abstractmethod
    def question(self, value: Any) -> Example:
        """What a caller gave (a text, a pair, a JSON object) as an example. Raises UserError where it is none."""

    def encode(self, reading: Reading, examples: Sequence[Example]) -> list[Encoded]:
        """Ids of each example, in windows where the task reads them."""
        return reading.encode(examples, None if self.windows is None else self.windows.stride)

    def units(self, logits: Logits, encoded: Sequence[Encoded]) -> list[Logits]:
        """Cuts the model's output for the windows of a batch, in order, into one [U, C] array an example.

        Here for a whole text: [R, C], pooled over the R_e windows of each example to [1, C].
        """
        cut, row = [], 0
        for e in encoded:
            own = logits[row : row + e.windows]
            row += e.windows
            pooled = own.max(axis=0) if self.windows and self.windows.pooling == "max" else own.mean(axis=0)
            cut.append(pooled[None].astype(np.float32))
        return cut

    def predicted(self, encoded: Sequence[Encoded]) -> Iterator[tuple[int, int]]:
        """For each row of a batch the positions [first, last) whose next token is a unit; where a model writes."""
        raise TypeError(f"in {self.name} no model writes")

    @abstractmethod
    def targets(self, example: Example, count: int | None = None) -> Targets:
        """What a model should answer, ``NO_LABEL`` or NaN where an example has no label; of the first ``count`` units
        if given. Class indices [U] for ``categorical``, the units [2] of start and end for ``span``, numbers [U, C]
        else."""

    @abstractmethod
    def predictions(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[Any]:
        """What the metrics compare with :meth:`gold`."""

    @abstractmethod
    def gold(self, examples: Sequence[Example]) -> list[Any]:
        """The labels, as the metrics take them."""

    @abstractmethod
    def answers(self, units: Sequence[Logits], examples: Sequence[Example]) -> list[Answer]:
        """What a person sees."""

    @abstractmethod
    def constant(self, gold: Sequence[Any]) -> list[Any]:
        """The best predictions that do not look at the text: the floor that a teacher must beat."""

    def counts(self, predictions: Sequence[Any], gold: Sequence[Any]) -> tuple[int, int] | None:
        """Number of right answers and of all answers; None where an answer is not simply right or wrong."""
        return None

    def labels_of(self, predictions: Sequence[Any]) -> list[Label]:
        """Predictions as the data would write them. Raises UserError where the task has no such labels."""
        raise UserError(f"{self.name} needs labels; give data with a label column")

    def agreement(self, one: Sequence[Any], other: Sequence[Any]) -> float:
        """How far two models give the same answers, a fraction of 1: here the share of equal ones.

        Raises ValueError where there is nothing to compare, or not the same number on both sides.
        """
        equal, total = self.counts(one, other) or (
            sum(bool(np.array_equal(a, b)) for a, b in zip(one, other, strict=True)),
            len(one),
        )
        if not total:
            raise ValueError("no answers to compare")
        return equal / total

    def fit(self, units: Sequence[Logits], examples: Sequence[Example]) -> Self:
        """The task with what it chooses on validation for one model; itself where it chooses nothing."""
        return self

    def with_thresholds(self, thresholds: Sequence[float]) -> Self:
        """The same task with thresholds of its own."""
        return type(self)(self.labels, self.metric.name, self.windows, tuple(map(float, thresholds)))

    def section(self) -> dict[str, Any]:
        """The task's section of ``bundle.json``."""
        section: dict[str, Any] = {"name": self.name, "labels": list(self.labels), "metric": self.metric.name}
        if self.windows is not None:
            section["windows"] = {"stride": self.windows.stride, "pooling": self.windows.pooling}
        if self.thresholds:
            section["thresholds"] = list(self.thresholds)
        return section

    def sample(self, paired: bool) -> Any:
        """A question as :meth:`question` takes it, to show how the model is used; ``paired`` where the data has pairs
        of texts."""
        return {"text": "first text", "text_pair": "second text"} if paired else "text"

    def plain_code(self, paired: bool) -> str:
        """Python for the model card, which answers the :meth:`sample` without this package; empty where there is none.

        The card has read ``bundle`` (``bundle.json``) and ``tokenizer`` before, and has ``run(encoding, *outputs)``,
        which gives an array an output, without the batch axis.
        """
        return ""

    def shared_tokens(self, max_length: int) -> int | None:
        """Tokens that neighbouring windows of a long text share; None where long texts are cut."""
        return None if self.windows is None else self.windows.stride

    def in_words(self, paired: bool, max_length: int) -> TaskInWords:
        """What a report says of the task; ``max_length`` in tokens."""
        return TaskInWords(
            agreement=self.agreement_is,
            agreement_unit=self.agreement_unit,
            floor=self.floor_is,
            hub_tag=self.hub_tag,
            sample=json.dumps(self.sample(paired)),
            plain_code=self.plain_code(paired),
            long_texts=self.long_texts,
            shared_tokens=self.shared_tokens(max_length),
        )


def text_question(value: Any) -> Example:
    """A text, a pair (list of two texts), or an object with ``text`` and perhaps ``text_pair``, as an example."""
    if isinstance(value, str):
        return Example(value)
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(v, str) for v in value):
        return Example(value[0], value[1])
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        pair = value.get("text_pair")
        if pair is None or isinstance(pair, str):
            return Example(value["text"], pair)
    raise UserError(f'expected a text, a pair of texts or {{"text": …, "text_pair": …}}, got {shown(value)}')


def plain_encoding(paired: bool) -> str:
    """The line of :meth:`Task.plain_code` that encodes a text or a pair of texts."""
    texts = '"first text", "second text"' if paired else '"text"'
    return f"encoding = tokenizer.encode({texts})\n"


def softmax(logits: Logits, axis: int = -1) -> NDArray[np.float64]:
    """Softmax over an axis, in double precision."""
    shifted = logits.astype(np.float64) - logits.max(axis=axis, keepdims=True)
    exponential = np.exp(shifted)
    result: NDArray[np.float64] = exponential / exponential.sum(axis=axis, keepdims=True)
    return result


def sigmoid(logits: Logits) -> NDArray[np.float64]:
    """1 / (1 + e^-x), in double precision, without overflow."""
    result: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64)))
    return result


def gives_one_label(task: Task | type[Task]) -> bool:
    """Whether a text gets one label with a probability, by which a model is sure or not: what a cascade needs."""
    return task.one_label and task.kind == "categorical"
